"""One answer for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar

T = TypeVar("T")

MOST: Final = 32
"""Answers that are kept."""


REST: Final = 20.0
"""How much longer than it took to make it an answer is kept at least: what pages ask for each
second takes a twentieth of a loop's time, however much there is to be walked through."""


class Shared:
    """Keeps answers for a moment; of several that are to be made, one is at a time. Belongs to one
    event loop. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()  # until when
        self._turn = asyncio.Lock()

    async def get(self, key: Hashable, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        """Return the answer under this key, made no longer ago than so many seconds, or than REST
        times as long as it took."""
        async with self._turn:
            until, kept = self._kept.get(key, (-float("inf"), None))
            began = self._clock()
            if began < until:
                found: T = kept
                return found
            found = await make()
            now = self._clock()
            self._kept[key] = now + max(seconds, REST * (now - began)), found
            self._kept.move_to_end(key)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
            return found
