"""One request from audio file to audio file: the only way into the model."""
