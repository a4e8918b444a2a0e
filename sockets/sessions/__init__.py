"""A session from its opening to its end, and what becomes known of its user."""
