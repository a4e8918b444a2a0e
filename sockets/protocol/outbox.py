"""The one way out of a session: what every outbox promises, whatever server is underneath.

After accept every frame of a session leaves through its outbox, so order holds.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from sockets.protocol.frames import Frame

MAX_REASON = 123
"""Bytes that a close frame has for its reason (RFC 6455 section 5.5.1)."""


def cut_reason(reason: str) -> str:
    """Return at most 123 bytes of a reason as UTF-8, not cut inside a character."""
    return reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore")


class Write(Enum):
    """What became of a frame."""

    OK = "ok"
    FULL = "full"  # refused: more than the limit waits already; `on_drain` will be called
    CLOSED = "closed"  # refused: the socket is closing or gone


class Outbox(Protocol):
    """A bounded queue of frames in front of one socket. Never blocks, never awaits."""

    on_drain: Callable[[], None] | None
    """Called once when there is space again after a FULL, and when the socket is gone."""

    on_stall: Callable[[], None] | None
    """Called when bytes are left over that the socket has not taken, and none were before."""

    on_pong: Callable[[], bool] | None
    """Called by a server that knows a pong when it sees one, instead of handing it on; False: it
    should hand it on."""

    def write(self, frame: Frame) -> Write:
        """Hand over one frame; at FULL nothing was taken."""

    def close(self, code: int, reason: str) -> None:
        """Close after what is queued; a second call is a no-op. Any code of RFC 6455 or ours."""

    def abort(self) -> None:
        """Cut the connection without a closing handshake."""

    def flow(self) -> tuple[int, int]:
        """Return bytes waiting and bytes drained so far; the second stays when a reader stalls."""
