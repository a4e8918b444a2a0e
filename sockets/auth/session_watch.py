"""Looks now and then whether the Django sessions of live sockets still count.

For those of whom no date says when they end: they are in a cache, a file or the cookie itself. One
task for all of a node, which asks once for all sockets that have the same session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from sockets.codes import CloseCode

logger = logging.getLogger(__name__)

EVERY: Final = 60.0
"""Seconds between two looks."""

SLICE: Final = 50
"""Sessions that are asked about in one turn of a thread."""

ENDED: Final = "the session has ended: sign in again"

Owners = Callable[[Sequence[str]], Awaitable[dict[str, str | None]]]
"""Says whose these sessions are; None: nobody's. It leaves out what it cannot say now."""


class Socket(Protocol):
    """A live socket, as far as it matters here."""

    @property
    def closed(self) -> bool:
        """Whether it is gone."""

    def close(self, code: int, reason: str) -> None:
        """Close it."""


class SessionWatch:
    """Belongs to one event loop. A socket that is gone is forgotten by itself."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._live: WeakKeyDictionary[Socket, tuple[str, str]] = WeakKeyDictionary()

    def watch(self, socket: Socket, key: str, user: str) -> None:
        """Look from now on whether this session is still this user's, or close the socket."""
        self._live[socket] = key, user

    def forget(self, socket: Socket) -> None:
        """Look no more: the socket has another proof."""
        self._live.pop(socket, None)

    async def run(self) -> None:
        """Look, for ever. A look that fails is logged, and the next one follows."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except Exception:
                logger.exception("sessions were not looked at; the next look is in %g s", EVERY)

    async def look(self) -> None:
        """Ask about each session once, and close the sockets of those that count no more."""
        keys = list({key for socket, (key, _) in self._live.items() if not socket.closed})
        for start in range(0, len(keys), SLICE):
            some = keys[start : start + SLICE]
            owners = await self._owners(some)
            self._close_those_of_others(owners)
            if not owners:
                return  # what knows them is away

    def _close_those_of_others(self, owners: dict[str, str | None]) -> None:
        for socket, (key, user) in list(self._live.items()):
            if key in owners and owners[key] != user and not socket.closed:
                socket.close(CloseCode.TOKEN_EXPIRED, ENDED)
                self.forget(socket)
