"""What this node has handed to which session, and when: the newest decisions, for receipts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

SIZE = 10_000
"""Decisions that a node remembers; what became of an older one is unknown."""


_Noted = tuple[str, int, float, Sequence[str], Sequence[str]]
"""Epoch, offset, when, and the ids of sessions that got it, and of those that were left out."""


class DeliveryLog:
    """The newest decisions of this node. Belongs to one event loop.

    Written with every message and read when somebody asks: so it is walked to find one.
    """

    def __init__(self, size: int = SIZE, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._count = 0  # decisions: one for each session
        self._noted: deque[_Noted] = deque()  # by message

    def note(
        self, epoch: str, offset: int, sent: Sequence[str], excluded: Sequence[str] = ()
    ) -> None:
        """Note which sessions a message was handed to, and which were left out because they had
        caused it."""
        self._noted.append((epoch, offset, self._clock(), sent, excluded))
        self._count += len(sent) + len(excluded)
        while self._count > self._size:
            *_, sent, excluded = self._noted.popleft()
            self._count -= len(sent) + len(excluded)

    def find(self, session: str, epoch: str, offset: int) -> tuple[float, bool] | None:
        """Return when that was, and whether the session was left out; None: not remembered."""
        for of, at, when, sent, excluded in reversed(self._noted):
            if at == offset and of == epoch:
                if session in sent:
                    return when, False
                if session in excluded:
                    return when, True
        return None
