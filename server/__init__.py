"""The life of a request: from HTTP to the worker that owns the model, and back as a clip."""
