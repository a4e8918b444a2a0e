"""Leaves a server alone that fails, and never for what one stranger's questions bring about.

    could not be reached, 502-504    the server fails
    nothing in time                  it fails if several addresses see it; else it is the question
    any other answer                 it works, whatever it says

While it is left alone, one question a second sees whether it is back. Whoever's own try fails
waits longer each time, so that the next try is somebody else's: one stranger whose questions
always fail keeps nobody out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

FAILURES: Final = 5
"""In a row, and the server is left alone."""

SEVERAL: Final = 3
"""Addresses that must have waited in vain before that counts."""

MIN_PAUSE, MAX_PAUSE = 1.0, 30.0
"""Seconds between two tries of all; of one address, doubled each time."""

MAX_TRIED: Final = 1_000
"""Addresses whose tries are known."""


class Breaker:
    """Knows whether the server is left alone. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._silences = 0
        self._unheard: set[str] = set()  # addresses that got no answer; at most SEVERAL
        self._is_open = False
        self._next_try = 0.0
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many; not before

    def may_ask(self, address: str) -> bool:
        """Whether to ask now, for this address. Whoever may ask must report how it went."""
        if not self._is_open:
            return True
        now = self._clock()
        tries, not_before = self._tries.get(address, (0, 0.0))
        if now < max(self._next_try, not_before):
            return False
        self._next_try = now + MIN_PAUSE
        self._tries[address] = tries + 1, now + MAX_PAUSE  # one at a time of one address
        self._tries.move_to_end(address)
        if len(self._tries) > MAX_TRIED:
            self._tries.popitem(last=False)
        return True

    def answered(self) -> bool:
        """Report an answer, whatever it was. Returns whether the server had been left alone."""
        was_open, self._is_open = self._is_open, False
        self._failures = self._silences = 0
        self._unheard.clear()
        self._tries.clear()
        return was_open

    def failed(self, address: str) -> bool:
        """Report that the server could not be reached, or says so. Returns whether it is left alone
        from now on."""
        self._failures += 1
        return self._opens(address)

    def was_silent(self, address: str) -> bool:
        """Report that there was no answer. Returns whether the server is left alone from now on."""
        self._silences += 1
        if len(self._unheard) < SEVERAL:
            self._unheard.add(address)
        return self._opens(address)

    def _opens(self, address: str) -> bool:
        now = self._clock()
        if self._is_open:
            tries, _ = self._tries.get(address, (0, 0.0))
            if tries:
                pause = min(MIN_PAUSE * 2 ** min(tries, 30), MAX_PAUSE)
                self._tries[address] = tries, now + pause
            return False
        counted = self._failures
        if len(self._unheard) >= SEVERAL:
            counted += self._silences
        self._is_open = counted >= FAILURES
        self._next_try = now + MIN_PAUSE
        return self._is_open
