"""What sits beside the DAW: OSC in, requests to the server, answers back to the timeline."""
