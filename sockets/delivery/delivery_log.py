"""What this node has handed to which session, and when: the newest decisions, for receipts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

SIZE = 10_000
"""Decisions that a node remembers; what became of an older one is unknown."""


class DeliveryLog:
    """The newest decisions of this node. Belongs to one event loop."""

    def __init__(self, size: int = SIZE, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._order: deque[tuple[str, str, int]] = deque()
        self._noted: dict[tuple[str, str, int], tuple[float, bool]] = {}

    def note(self, session: str, epoch: str, offset: int, *, excluded: bool = False) -> None:
        """Note that a session was handed a message, or was left out because it had caused it."""
        if len(self._order) == self._size:
            del self._noted[self._order.popleft()]
        key = (session, epoch, offset)
        self._order.append(key)
        self._noted[key] = (self._clock(), excluded)

    def find(self, session: str, epoch: str, offset: int) -> tuple[float, bool] | None:
        """Return when that was, and whether the session was left out; None: not remembered."""
        return self._noted.get((session, epoch, offset))
