"""The vocabulary every room shares, and what ships with Segue: presets, excerpts, models."""
