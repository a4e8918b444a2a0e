"""The gateway's own server: daphne, hardened by subclassing. Nothing here is imported by Django."""
