"""How long a test waits for what must come. No clock tells a fault from a slow machine."""

PATIENCE = 60.0
"""Seconds; a test that ends by it has failed.

What would bring the same in spite of a fault (a time-out, the next ping or renewal) has to come
later than this in the test, or the test waits less.
"""
