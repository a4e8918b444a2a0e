"""Connections to the primary that the sentinels name, and how a process hears of another one.

After a fail-over an old primary that lives goes on taking writes until Sentinel demotes it, which
is about ten seconds later: what it acknowledges meanwhile is lost, without an error. So while a
process uses its connections it asks the sentinels again each LOOK_EVERY seconds, beside its work;
where they name another server, all its connections are cut and made anew, calls on their way too.
A process that does nothing asks nothing, and has nothing to lose.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from typing import Any

from redis.asyncio.sentinel import SentinelManagedConnection as AsyncSentinelConnection
from redis.exceptions import RedisError
from redis.sentinel import SentinelManagedConnection

from sockets.redis.links import OVER, Linked, SyncLinked

logger = logging.getLogger(__name__)

_looks: dict[asyncio.Task[None], object] = {}
"""Questions on their way, and the `Sentinel` that is asked: a loop alone would forget them."""

_AWAY = (RedisError, OSError, ReferenceError)  # the last: the pool has gone meanwhile


async def close_sentinels(pool: Any) -> None:
    """Close the Sentinels of a pool, which does not close what it asked for the master."""
    if (manager := getattr(pool, "sentinel_manager", None)) is None:
        return
    asked = [look for look, whom in _looks.items() if whom is manager]
    for look in asked:
        look.cancel()  # its loop may end before one that says nothing has had its time
    await asyncio.gather(*asked, return_exceptions=True)
    for sentinel in manager.sentinels:
        await sentinel.aclose()


class LinkedSentinelConnection(Linked, AsyncSentinelConnection):
    """For one event loop."""

    _reads_as = AsyncSentinelConnection
    _loop: asyncio.AbstractEventLoop | None = None

    async def connect_to(self, address: tuple[str, int]) -> None:
        self._links.found(address)
        await super().connect_to(address)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._links.listen(self._on_links_ended)

    def used(self) -> None:
        """Ask the sentinels now and then whether it still goes to the primary."""
        if self._links.may_look():
            look = asyncio.create_task(self._look())
            _looks[look] = self.connection_pool.sentinel_manager
            look.add_done_callback(_looks.pop)

    async def _look(self) -> None:
        with suppress(*_AWAY):
            self._links.found(await self.connection_pool.get_master_address())

    def _on_links_ended(self, why: str) -> None:
        """Called in any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        # One that has found out itself has more answers to read, and makes itself anew.
        if self._generation not in (OVER, self._links.generation) and self._writer is not None:
            self._writer.transport.abort()


class SyncLinkedSentinelConnection(SyncLinked, SentinelManagedConnection):
    """For threads."""

    _reads_as = SentinelManagedConnection
    _listens = False

    def connect_to(self, address: tuple[str, int]) -> None:
        self._links.found(address)
        super().connect_to(address)
        if not self._listens:
            self._listens = True
            self._links.listen(self._on_links_ended)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self._greets and self._links.may_look():
            threading.Thread(target=self._look, name="gateway-sentinel", daemon=True).start()
        super().send_packed_command(command, check_health)

    def _look(self) -> None:
        with suppress(*_AWAY):
            self._links.found(self.connection_pool.get_master_address())

    def _on_links_ended(self, why: str) -> None:
        """Called in any thread: whoever reads from it hears that it is over."""
        sock: Any = self._sock
        if sock is not None and self._generation not in (OVER, self._links.generation):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
