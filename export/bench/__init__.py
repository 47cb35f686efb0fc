"""What a clip costs on this machine, where the time goes, and how far that is from the floor."""
