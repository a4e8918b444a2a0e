"""One gateway process: its composition root, its heartbeat, its end."""
