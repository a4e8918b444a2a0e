"""A token bucket: so many at once, so many a second for ever."""

from __future__ import annotations


class Bucket:
    """`rate`: tokens a second; `burst`: how many it holds. Times are monotonic seconds."""

    __slots__ = ("_burst", "_last", "_rate", "_tokens")

    def __init__(self, now: float, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._last = now

    def take(self, now: float) -> bool:
        """Whether there was a token."""
        # A clock that stands still, or goes back, gives nothing and takes nothing.
        passed = max(0.0, now - self._last)
        self._last = max(now, self._last)
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self) -> float:
        """Seconds until there is one."""
        return max(0.0, (1 - self._tokens) / self._rate)
