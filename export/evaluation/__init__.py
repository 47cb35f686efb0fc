"""What a model can do, measured on held-out music: `segue evaluate model`."""
