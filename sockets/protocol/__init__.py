"""The protocol `gateway.v1`, sans-I/O: bytes and clock readings in, decisions and frames out.

Nothing here awaits, sleeps, reads a setting or knows Django: a test needs no event loop.
"""
