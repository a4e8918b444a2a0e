"""Django signals of the gateway."""

from __future__ import annotations

from django.dispatch import Signal

client_message = Signal()
"""A client's `send`: `user` (id), `client` (its ULID), `event` (str), `data` (decoded JSON).

Receivers run in a thread of the gateway's own, in order for one client. What they raise is logged.
"""

# The end of a task, each with `task` (sockets.types.Task): one of these is sent, once. Receivers
# run in a thread of the gateway's own, before the user is told; what they raise is logged.
task_done = Signal()
task_failed = Signal()
task_released = Signal()
task_lost = Signal()
task_cancelled = Signal()
