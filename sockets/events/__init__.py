"""Announces what happens to Django's receivers and to the API server."""
