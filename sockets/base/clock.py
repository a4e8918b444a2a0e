"""Clocks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

Now = Callable[[], Awaitable[float]]
"""Asks the state store what time it is. May raise GatewayUnavailable."""

_START = time.time() - time.monotonic()


def steady_time() -> float:
    """Return seconds since the epoch by a clock that nobody sets, so that a change of the machine's
    clock ends nothing early."""
    return _START + time.monotonic()


class StoreClock:
    """The state store's time as this node knows it; this machine's until the store was heard.

    For what is shown beside the store's own moments. What is *decided* by time is decided by the
    store. It is behind the store's by as long as an answer was on its way, and never ahead.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._offset = wall() - clock()

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self._offset + self._clock()

    def heard(self, now: float, asked: float) -> None:
        """Take the store's time `now`, which answers a question asked at `asked` by this node's own
        clock."""
        latest, earliest = now - asked, now - self._clock()
        if not earliest <= self._offset <= latest:  # else what is known is as good, or better
            self._offset = earliest
