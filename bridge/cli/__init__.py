"""The `segue` command: a file for each of its commands, and what only they need."""
