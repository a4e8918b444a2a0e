"""A real-time WebSocket gateway for Django: see docs/architecture.md for the house."""

__version__ = "0.1.0"
