"""A real-time WebSocket gateway for Django: see docs/architecture.md for the house."""

__version__ = "0.2.0"
"""Of the package: the wheel, the nodes and the HTTP API have it from here."""
