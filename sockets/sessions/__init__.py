"""A session from its opening to its end, and the presence of its user."""
