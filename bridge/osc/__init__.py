"""OSC: the table of addresses, the session that speaks it, and the ports that carry it."""
