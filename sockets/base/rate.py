"""Token buckets: a burst at once, then a steady rate a second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Bucket:
    """A token bucket. `rate`: tokens a second; `burst`: how many it holds. Times are monotonic
    seconds."""

    __slots__ = ("__weakref__", "_burst", "_last", "_rate", "_tokens")

    def __init__(self, now: float, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._last = now

    def take(self, now: float) -> bool:
        """Take a token. Returns whether there was one."""
        # A clock that stands still, or goes back, gives nothing and takes nothing.
        passed = max(0.0, now - self._last)
        self._last = max(now, self._last)
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def charge(self, tokens: float) -> None:
        """Take tokens afterwards, even more than there are."""
        self._tokens -= tokens

    def wait(self) -> float:
        """Return the seconds until there is a token."""
        return max(0.0, (1 - self._tokens) / self._rate)


class Seldom:
    """Lets one through in `seconds`, for a log that strangers could fill.

    Any thread, and without a lock, which a fork could leave locked: two threads of one moment may
    both be let through.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = -float("inf")
        self._held_back = 0

    def passes(self, now: float) -> int | None:
        """Return how many were held back since the one before; None: this one is too. `now`:
        monotonic seconds."""
        if now < self._next:
            self._held_back += 1
            return None
        self._next = now + self._seconds
        held_back, self._held_back = self._held_back, 0
        return held_back


class Buckets:
    """A bucket for each key, at most `most`; beyond that the one used longest ago is forgotten."""

    def __init__(self, *, rate: float, burst: float, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """Take a token of this key. Returns 0, or the seconds until there is one."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(now, rate=self._rate, burst=self._burst)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return 0.0 if bucket.take(now) else max(bucket.wait(), 1e-3)

    def give_back(self, key: Hashable) -> None:
        """Give a token back: what it was for did not come to be."""
        if (bucket := self._buckets.get(key)) is not None:
            bucket.charge(-1)
