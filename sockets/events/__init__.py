"""Tells Django's receivers and the API server what happens."""
