"""Tasks: one piece of work to exactly one live worker of a pool (protocol.md section 4)."""
