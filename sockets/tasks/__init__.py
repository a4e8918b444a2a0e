"""Tasks: one piece of work to exactly one live worker of a pool (PROTOCOL section 4)."""
