"""Turns at what can be done only so often at once: one address waits for its own share first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """`most` at work in all, `share` of them of one address; the others wait, in their order.

    An address waits for a turn of its own before it waits among all: it never has more than
    `share` in that queue. Belongs to one event loop.
    """

    def __init__(self, most: int, share: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._most = most
        self._share = share
        self._own: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, address: str, timeout: float) -> AsyncIterator[None]:
        """Have a turn. Raises TimeoutError after so many seconds without one."""
        share = self._share if address else self._most
        own, users = self._own.get(address) or (asyncio.Semaphore(share), 0)
        self._own[address] = own, users + 1
        try:
            async with asyncio.timeout(timeout) as limit, own, self._all:
                limit.reschedule(None)
                yield
        finally:
            own, users = self._own[address]
            if users > 1:
                self._own[address] = own, users - 1
            else:
                del self._own[address]
