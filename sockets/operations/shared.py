"""One answer for all who ask the same at the same time, and an end to what asking may cost."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar

T = TypeVar("T")

MOST: Final = 32
"""Answers that are kept."""

KEEP: Final = 20.0
"""How much longer than it took to make it an answer is kept at least: what pages ask for each
second takes a twentieth of a loop's time, however much there is to be walked through."""

MAX_WAITING: Final = 16
"""Questions that wait for their turn; more are not answered."""

MAX_REST: Final = 0.5
"""Seconds of a pause between two answers at most."""


class TooManyQuestions(Exception):
    """More are asked than this process should answer."""


class Shared:
    """Keeps answers for a moment. Of several that are to be made one is at a time, and after it
    comes a pause as long as that took. Belongs to one event loop. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()  # until when
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._rests_until = -float("inf")

    async def get(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        """Return the answer under this key, made no longer ago than so many seconds, or than KEEP
        times as long as it took. Raises TooManyQuestions."""
        if self._is_kept(key):
            return self._kept_for(key, make)
        if self._waiting >= MAX_WAITING:
            raise TooManyQuestions
        self._waiting += 1
        try:
            async with self._turn:
                if self._is_kept(key):  # it was made meanwhile
                    return self._kept_for(key, make)
                return await self._make(key, seconds, make)
        finally:
            self._waiting -= 1

    def forget(self, key: Hashable) -> None:
        """Have the next who asks get an answer that is made anew."""
        self._kept.pop(key, None)

    def _is_kept(self, key: Hashable) -> bool:
        return key in self._kept and self._clock() < self._kept[key][0]

    def _kept_for(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        found: T = self._kept[key][1]  # whoever asked under this key made one of this type
        return found

    async def _make(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        if (rest := self._rests_until - self._clock()) > 0:
            await asyncio.sleep(min(rest, MAX_REST))
        began = self._clock()
        found = await make()
        now = self._clock()
        took = now - began
        self._rests_until = now + took
        self._kept[key] = now + max(seconds, KEEP * took), found
        self._kept.move_to_end(key)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return found
