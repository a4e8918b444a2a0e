"""The names of groups: Channels allows 99 characters of `[A-Za-z0-9._-]`, user ids any."""

from __future__ import annotations

import re
from hashlib import sha256
from uuid import UUID

from sockets.base.arguments import require_user_id

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

CLIENTS = "gateway.clients"
"""Every client session of every node: broadcasts."""


def user_group(user_id: str | int | UUID) -> str:
    """Return the group of a user's sessions: `u.<id>`, or `x.<sha256>` if the id is no plain name.

    Public contract (protocol.md section 5): `group_send(user_group(id), {"type": "user.notify",
    …})`. Raises InvalidMessage.
    """
    return _named(require_user_id(user_id), plain="u", hashed="x")


def worker_group(user_id: str) -> str:
    """Return the group of the workers attached to a user: they get what its clients `send`."""
    return _named(user_id, plain="w", hashed="y")


def node_group(node: str) -> str:
    """Return the group of one node: requests that only it can carry out."""
    return _named(node, plain="gateway.node", hashed="gateway.nodex")


def _named(name: str, *, plain: str, hashed: str) -> str:
    if _PLAIN.match(name):
        return f"{plain}.{name}"
    return f"{hashed}.{sha256(name.encode()).hexdigest()}"
