"""Strict readers of environment variables."""
