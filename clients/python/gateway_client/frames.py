"""What goes over a worker's socket, without any I/O: frames, close codes, pauses.

The forms are those of `gateway.v1` (docs/reference/protocol.md section 4). Members and types that
are not known are skipped: a newer gateway may say more.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
from msgspec import Struct

LATER = ("unavailable", "rate_limited")
"""Error codes that say: not handled, send it again."""

DISCONNECTED = 4504
"""The close code of whoever was sent away by an operator or the application."""


class FrameError(Struct, frozen=True):
    """Why a request was refused: `code` for programs, `message` for people."""

    code: str
    message: str = ""


class Limits(Struct, frozen=True):
    """Bytes that a frame of ours, and a notification or a result, may have."""

    frame: int
    message: int


class Frame(Struct, frozen=True):
    """Any frame from the gateway; what its type does not have is left as it is here."""

    type: str
    ref: str | int | None = None
    ok: bool = False
    error: FrameError | None = None
    task: str = ""
    offer: str = ""
    pool: str = ""
    user: str | None = None
    event: str = ""
    data: Any = None
    timeout: float = 0.0
    reason: str = ""
    node: str = ""
    tasks: tuple[str, ...] = ()
    quiet: bool = False
    limits: Limits | None = None
    reconnect_after: float = 0.0
    id: str | None = None
    epoch: str | None = None
    offset: int | None = None
    duplicate: bool = False

    @property
    def refusal(self) -> str:
        """The code of the error of a reply; "" if there is none."""
        return self.error.code if self.error else ""


_decoder = msgspec.json.Decoder(Frame)


def decode(text: str | bytes) -> Frame | None:
    """Return a frame; None for what is none, which is skipped."""
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        return None


def encode(type: str, **members: Any) -> str:
    """Return a frame as text. `data` is Raw: JSON that was written before."""
    return msgspec.json.encode({"type": type, **members}).decode()


def may_return(code: int) -> bool:
    """Whether a worker that was closed with this code comes back.

    4500 to 4999 are a verdict; whatever else is a lost line, for proxies close with 1000 and 1008.
    """
    return not 4500 <= code < 5000


class Backoff:
    """The pauses between connections, in seconds: doubled from the first to the longest, each cut
    by up to a half at random; short again after a connection that was stable."""

    first, longest, stable = 0.25, 5.0, 5.0

    def __init__(self) -> None:
        self._next = self.first

    def pause(self, lived: float) -> float:
        """Return the next pause. `lived`: how long the connection before it was there."""
        if lived > self.stable:
            self._next = self.first
        longest, self._next = self._next, min(self.longest, self._next * 2)
        return longest * random.uniform(0.5, 1.0)
