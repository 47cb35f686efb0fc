"""`segue watch`: a folder whose audio files become clips."""
