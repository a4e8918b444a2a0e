"""How long a test waits for what must come. No clock tells a fault from a slow machine."""

PATIENCE = 60.0
"""Seconds; a test that ends by it has failed."""
