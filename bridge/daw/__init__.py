"""What Segue puts into DAWs: their scripts, and how these get there."""
