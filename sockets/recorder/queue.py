"""What waits for the database: one entry per session, oldest first, bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from sockets.base import metrics
from sockets.types import SessionInfo


@dataclass(frozen=True, slots=True)
class Close:
    """The end of a session."""

    at: float
    code: int
    reason: str


@dataclass(slots=True)
class Entry:
    """What is to be written about one session; without `info` its row is there already."""

    id: str
    info: SessionInfo | None
    close: Close | None


class Queue:
    """Safe from any thread; no method blocks longer than it takes to move one batch.

    `dropped` counts the sessions about which something will not be written, for any cause.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.dropped = 0
        self.has_gap = False  # something was dropped; whoever makes up for it takes it back
        self._overflown = 0
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._in_flight = 0
        self._lock = threading.Lock()

    @property
    def pending(self) -> int:
        """Sessions about which something is still to be written, the batch at work included."""
        with self._lock:
            return len(self._entries) + self._in_flight

    def opened(self, info: SessionInfo) -> None:
        """Forgets an earlier close: the last word counts."""
        with self._lock:
            self._entries[info.id] = Entry(info.id, info, None)
            self._trim()

    def closed(self, session_id: str, close: Close) -> None:
        """Joins the open that still waits, if it does."""
        with self._lock:
            entry = self._entries.get(session_id)
            if entry is not None:
                entry.close = close
            else:
                self._entries[session_id] = Entry(session_id, None, close)
                self._trim()

    def take(self, most: int) -> list[Entry]:
        """Take the oldest entries, which belong to the caller until `done` or `put_back`."""
        with self._lock:
            self._in_flight = min(most, len(self._entries))
            return [self._entries.popitem(last=False)[1] for _ in range(self._in_flight)]

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put back what was taken and not written: to the front, joined with newer entries."""
        with self._lock:
            for entry in reversed(entries):
                newer = self._entries.get(entry.id)
                if newer is None:
                    self._entries[entry.id] = entry
                elif newer.info is None:
                    newer.info = entry.info
                self._entries.move_to_end(entry.id, last=False)
            self._in_flight = 0
            self._trim()

    def done(self) -> None:
        """Settle what was taken."""
        with self._lock:
            self._in_flight = 0

    def drop(self) -> None:
        """Give up one of the taken entries."""
        with self._lock:
            self._count_dropped()

    def overflown(self) -> int:
        """Return how many entries were dropped for lack of space since the last call."""
        with self._lock:
            count, self._overflown = self._overflown, 0
            return count

    def _trim(self) -> None:
        while len(self._entries) > self.size:
            self._entries.popitem(last=False)
            self._overflown += 1
            self._count_dropped()

    def _count_dropped(self) -> None:
        self.dropped += 1
        self.has_gap = True
        metrics.dropped_recorder.inc()
