"""Playing Segue: a MIDI controller in, takes and requests out, and clips to listen to."""
