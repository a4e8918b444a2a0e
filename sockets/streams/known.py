"""What a process knows of its users' streams, so that it notices a store that went back in time.

A server that comes back with an older append-only file, or a replica that lagged and took over,
has forgotten messages that were acknowledged, and gives their offsets to other messages. Nothing
in the store shows that; only whoever knew a newer position can.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Self

from msgspec import Struct

from sockets.types import Page, Position

MEMORY = 20_000
"""Users whose positions a process remembers, beside those who are connected to it."""

_START = b'{"id":"'


class Known(Struct, frozen=True):
    """The newest known position of a stream.

    `mark`: how the message at that offset begins, which holds its id; b"" where that is not known.
    """

    position: Position
    mark: bytes = b""

    @classmethod
    def by(cls, page: Page) -> Self:
        """Return the head of a page's stream."""
        return cls(Position(page.epoch, page.head), page.newest)


def mark_of(body: bytes) -> bytes:
    """Return the start of a message's JSON, up to the end of its id; b"" for any other JSON."""
    if not body.startswith(_START):
        return b""
    end = body.find(b'"', len(_START))
    return body[: end + 1] if end > 0 else b""


def newest(one: Known | None, other: Known | None) -> Known | None:
    """Return the later of two in the same epoch, or the first of two in different ones."""
    if one is None or other is None:
        return one or other
    if one.position.epoch != other.position.epoch or one.position.offset > other.position.offset:
        return one
    if one.position.offset < other.position.offset:
        return other
    return one if one.mark else other


LATE = 10.0
"""Seconds within which an answer of a former epoch may still arrive."""


class Latest:
    """The newest known position of one stream. Late answers of the epoch before change nothing.

    `clock`: monotonic seconds.
    """

    __slots__ = ("_clock", "_former", "_since", "known")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.known: Known | None = None
        self._former = ""
        self._since = -float("inf")

    def take(self, new: Known) -> None:
        """Take in what has just been learned."""
        old = self.known
        if old is not None and old.position.epoch != new.position.epoch:
            if new.position.epoch == self._former and self._clock() - self._since < LATE:
                return
            self._former, self._since = old.position.epoch, self._clock()
        self.known = newest(new, old)


class KnownPositions:
    """The newest known position of each user, of the `size` latest. Safe in threads."""

    def __init__(self, size: int = MEMORY) -> None:
        self._size = size
        self._latest: OrderedDict[str, Latest] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, user: str) -> Known | None:
        """Return what is known of the user's stream; None where nothing is remembered."""
        latest = self._latest.get(user)
        return None if latest is None else latest.known

    def note(self, user: str, known: Known) -> None:
        """Remember what was learned now. An earlier offset of the same epoch changes nothing."""
        with self._lock:
            latest = self._latest.get(user)
            if latest is None:
                latest = self._latest[user] = Latest()
                if len(self._latest) > self._size:
                    self._latest.popitem(last=False)
            else:
                self._latest.move_to_end(user)
            latest.take(known)
