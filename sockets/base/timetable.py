"""What is looked at when: nothing has to walk through all that there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import ceil, floor, inf
from typing import Final, Generic, TypeVar

T = TypeVar("T")

AHEAD: Final = 60.0
"""Seconds for which a thing is listed at most: it may be gone long before its moment, and is listed
on until then."""

NOT_LISTED: Final = -1
"""The slot of what nothing is due for."""


class Timetable(Generic[T]):
    """Things by the moment at which something may be due for them. Belongs to one event loop.

    Each slot of `interval` seconds has those that are due in it. What is listed anew has an entry
    too many: whoever lists it remembers which slot counts, and passes over the other. `clock`:
    monotonic seconds. `wall`: seconds since the epoch.
    """

    def __init__(
        self,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.interval = interval
        self.clock, self.wall = clock, wall
        self._stood_still = 0.0
        self._slots: dict[int, list[T]] = {}
        self._next = floor(clock() / interval) + 1

    def now(self) -> float:
        """Return the seconds of a clock that stands still while this process does: what peers sent
        meanwhile may wait to be read, so that time is held against none of them."""
        return self.clock() - self._stood_still

    def stood_still(self, seconds: float) -> None:
        """Note that this process did, for so long."""
        self._stood_still += seconds

    def list(self, thing: T, at: float, slot: int = NOT_LISTED) -> int:
        """Look at a thing as soon as `at` is over, and by AHEAD at the latest; infinity: never.

        `slot`: where its entry is that counts. Returns where that is now.
        """
        if at == inf:
            return NOT_LISTED
        at = min(at, self.now() + AHEAD)
        wanted = max(ceil(at / self.interval), self._next)
        if wanted != slot:
            self._slots.setdefault(wanted, []).append(thing)
        return wanted

    def due(self) -> Iterator[tuple[int, T]]:
        """Take out what is due by now, with its slot."""
        until = floor(self.now() / self.interval)
        while self._next <= until:
            slot = self._next
            self._next += 1
            for thing in self._slots.pop(slot, ()):
                yield slot, thing
