"""Django signals of the gateway."""

from __future__ import annotations

from django.dispatch import Signal

client_message = Signal()
"""A client's `send`: `user` (id), `client` (its ULID), `event` (str), `data` (decoded JSON).

Receivers run in a thread of the gateway's own, in order for one client. What they raise is logged.
"""
