"""Django signals of the gateway."""

from __future__ import annotations

from django.dispatch import Signal

client_message = Signal()
"""A client's `send`: `user` (id), `client` (its ULID), `event` (str), `data` (decoded JSON),
`meta` (what its token, or the API server, says for server code only).

Receivers run in a thread of the gateway's own, one message of a user at a time and in order for one
client. What they raise is logged.
"""

# The end of a task, each with `task` (sockets.types.Task): one of these is sent, once. Receivers
# run in a thread of the gateway's own, before the user is notified; what they raise is logged.
task_done = Signal()
task_failed = Signal()
task_released = Signal()
task_lost = Signal()
task_cancelled = Signal()

# Who comes and goes. Receivers run in a thread of the gateway's own, in order for one user, on the
# node that decided it; what they raise is logged.

user_online = Signal()
"""The first session of a user: `change` (sockets.types.PresenceChange), with `user`, `at`, and an
`id` by which a repetition is known: announced at least once, also when a node dies in between."""

user_offline = Signal()
"""The last session is gone for longer than PRESENCE_GRACE: `change`, as of `user_online`."""

session_opened = Signal()
"""A client or worker is welcome: `session` (sockets.types.SessionInfo)."""

session_closed = Signal()
"""It is gone: `session`; `cause` ("client", "replaced", "lost" …), `code`, `reason` of the close.
A session whose process died is announced by another node, as `lost`."""
