"""The connections of this process to one server, and when all of them have to be made again.

After a fail-over the old primary goes on answering, as a replica: reads from it are stale, and what
is published there reaches nobody, without an error. The first READONLY on any connection says so,
and ends the others: pools, clients for threads, the lines of the channel layer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit
from weakref import WeakMethod

import hiredis
from redis.asyncio.connection import AbstractConnection as AsyncAbstractConnection
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import SSLConnection as AsyncSSLConnection
from redis.asyncio.connection import UnixDomainSocketConnection as AsyncUnixConnection
from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    ReadOnlyError,
    TimeoutError,
)

from sockets.redis.epochs import Epochs
from sockets.redis.errors import perhaps_done

logger = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds between two ends of all links, where the server still takes no writes."""

LOOK_EVERY = 0.25
"""Seconds between two questions to the sentinels who the primary is, while it is used."""

OVER = -1
"""The generation of a connection that has to be made again whatever the others do."""

WRONG_SERVER = (ReadOnlyError, BusyLoadingError, MasterDownError)
_CUT = (ConnectionError, TimeoutError, OSError)


class Links:
    """Of this process to one server; safe in any thread.

    `generation`: a connection of an earlier one is made again before its next use. `epochs`: what
    its sentinels have said.
    """

    def __init__(self) -> None:
        self.epochs = Epochs()
        self.generation = 0
        self._primary: tuple[str, int] | None = None  # as the sentinels named it last
        self._looked_at = -float("inf")
        self._ended_at = -float("inf")
        self._is_due = False  # they end once more, AGAIN after the last time
        self._lock = threading.Lock()
        self._listeners: list[WeakMethod[Callable[[str], None]]] = []

    def begin_anew(self) -> None:
        """Let go of what threads held that are not in this process."""
        self._lock = threading.Lock()
        self._is_due = False
        self.epochs.begin_anew()

    def listen(self, dropped: Callable[[str], None]) -> None:
        """Call this bound method, in any thread, when all links have to be made again."""
        with self._lock:
            self._listeners = [known for known in self._listeners if known() is not None]
            self._listeners.append(WeakMethod(dropped))

    def may_look(self) -> bool:
        """Whether the sentinels are to be asked now; they are once in LOOK_EVERY seconds."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY:
            return False
        self._looked_at = now
        return True

    def found(self, primary: tuple[str, int]) -> None:
        """Take note of the primary that the sentinels name; all links to another one end."""
        with self._lock:
            before, self._primary = self._primary, primary
            self._looked_at = time.monotonic()
        if before not in (None, primary):
            self.end("the sentinels name another primary", self.generation)

    def end(self, why: str, generation: int) -> None:
        """End all connections of this generation: one has found that they must be made anew.

        Where it was made only after the last time, so may the others have been, and to the same
        server: those that nothing would ever be said to, the lines of the layer, among them.
        """
        with self._lock:
            if generation != self.generation or self._is_due:
                return
            wait = self._ended_at + AGAIN - time.monotonic()
            self._is_due = wait > 0
        if wait > 0:
            later = threading.Timer(wait, self._end, (why, generation))
            later.daemon = True
            later.start()
        else:
            self._end(why, generation)

    def _end(self, why: str, generation: int) -> None:
        with self._lock:
            self._is_due = False
            if generation != self.generation:
                return  # another thread was quicker
            self._ended_at = time.monotonic()
            self.generation += 1
            listeners = [known() for known in self._listeners]
        logger.warning("Redis is not the one to ask (%s): connecting anew, everywhere", why)
        for dropped in listeners:
            if dropped is not None:
                dropped(why)


_links: dict[str, Links] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    """Forget the parent's: a thread of it may have held a lock, or had links to end in a moment.
    Whoever has a client of before uses them on."""
    global _links, _lock
    for links in _links.values():
        links.begin_anew()
    _links, _lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def links_to(server: str) -> Links:
    """Return the links to a server, named as `server_of` and `server_of_host` do."""
    with _lock:
        return _links.setdefault(server, Links())


def server_of(url: str) -> str:
    """Return what of a URL tells servers apart: no password, no database."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].lower()
    if parts.scheme == "redis+sentinel":
        service = parse_qs(parts.query).get("service", ["mymaster"])[0]
        return f"{service}@{','.join(sorted(hosts.split(',')))}"
    if parts.scheme == "unix":
        return parts.path
    if parts.scheme == "redis+cluster":
        return ",".join(sorted(hosts.split(",")))
    return hosts if ":" in hosts else f"{hosts}:6379"


def server_of_host(host: dict[str, Any]) -> str:
    """Do as `server_of` for a host as channels-redis writes one."""
    address = host.get("address")
    if isinstance(address, str):
        return server_of(address)
    if "sentinels" in host:
        hosts = sorted(f"{name}:{port}" for name, port in host["sentinels"])
        return f"{host.get('master_name', 'mymaster')}@{','.join(hosts)}"
    if isinstance(address, tuple | list):
        host = dict(zip(("host", "port"), address, strict=False))
    return f"{host.get('host', 'localhost')}:{host.get('port', 6379)}"


def writer_of(connection: AsyncAbstractConnection) -> asyncio.StreamWriter:
    """Return what writes to a connection. Raises ConnectionError where it is not connected."""
    if connection._writer is None:
        raise ConnectionError("the connection was closed")
    return connection._writer


class Linked(AsyncAbstractConnection):
    """A connection that is made again when its links have ended, and that knows what it lost."""

    _reads_as: Any  # whose place in the order of classes `read_response` goes on from

    def __init__(self, *, links: Links, **options: Any) -> None:
        super().__init__(**options)
        self._links = links
        self._generation = links.generation
        self._greets = False

    async def _connect(self) -> None:
        # Not after it: links that end meanwhile mean the server that it is being made to.
        self._generation = self._links.generation
        await super()._connect()  # type: ignore[safe-super]  # one above it has a body

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        self._greets = True  # what is lost now was no command of ours
        try:
            await super().on_connect_check_health(check_health)
        finally:
            self._greets = False

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        if not self._greets:
            self.used()
        if self.is_connected and not self._greets and self.is_over():
            await self.disconnect(nowait=True)
        if not self.is_connected:
            # Not as redis-py does it here, which goes to the address of last time.
            await self.connect()
        await super().send_packed_command(command, check_health)

    def used(self) -> None:
        """A command of ours is about to be written."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return a command in RESP, made in C: what redis-py does for threads only."""
        words = (*args[0].encode().split(), *args[1:]) if isinstance(args[0], str) else args
        try:
            return [hiredis.pack_command(words)]
        except TypeError:
            return super().pack_command(*args)  # it says what is wrong with them

    def is_over(self) -> bool:
        """Return whether it has to be made again before its next use."""
        return self._generation != self._links.generation or self._is_closing()

    def _is_closing(self) -> bool:
        return self._writer is None or self._writer.transport.is_closing()

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        # Whoever reset the connection may have done it a moment ago. uvloop's transport would say
        # so by a RuntimeError, and a connection that another task has closed has no writer.
        if self._is_closing():
            raise ConnectionError("the connection was closed before the command was written")
        assert self._writer is not None
        try:
            self._writer.writelines(command)
            await self._writer.drain()
        except BaseException:
            self._note_loss()
            raise

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            # Past redis-py's own for Sentinel, which hides READONLY behind another error.
            above: Any = super(self._reads_as, self)
            return await above.read_response(*args, **options)
        except WRONG_SERVER as error:
            self.leave(type(error).__name__)
            raise
        except BaseException as error:
            if isinstance(error, _CUT) or not isinstance(error, Exception):
                self._note_loss()
            raise

    def leave(self, why: str) -> None:
        """Make it again before its next use, and all others: this is not the server to ask. Not
        now: there are more answers to read."""
        generation, self._generation = self._generation, OVER
        self._links.end(why, generation)

    def taken_over(self) -> tuple[asyncio.StreamWriter, hiredis.Reader]:
        """Return what writes to it, and a parser of answers that makes redis-py's errors of those
        that are errors."""
        parser = hiredis.Reader(protocolError=InvalidResponse, replyError=self._parser.parse_error)
        return writer_of(self), parser

    def _note_loss(self) -> None:
        if not self._greets:
            perhaps_done()


Linked._reads_as = Linked


class LinkedConnection(Linked, AsyncConnection):
    """Over TCP."""


class LinkedSSLConnection(Linked, AsyncSSLConnection):
    """Over TLS."""


class LinkedUnixConnection(Linked, AsyncUnixConnection):
    """Over a Unix socket."""


class SyncLinked(AbstractConnection):
    """`Linked` for threads."""

    _reads_as: Any

    def __init__(self, *, links: Links, **options: Any) -> None:
        super().__init__(**options)
        self._links = links
        self._generation = links.generation
        self._greets = False

    def _connect(self) -> Any:
        self._generation = self._links.generation
        return super()._connect()  # type: ignore[safe-super]  # one above it has a body

    def on_connect_check_health(self, check_health: bool = True) -> None:
        self._greets = True
        try:
            super().on_connect_check_health(check_health)
        finally:
            self._greets = False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        sock: Any = self._sock
        if sock is not None and not self._greets and self._generation != self._links.generation:
            self.disconnect()
            sock = None
        if sock is None:
            self.connect()
        try:
            super().send_packed_command(command, check_health)
        except BaseException:
            self._note_loss()
            raise

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            above: Any = super(self._reads_as, self)
            return above.read_response(*args, **options)
        except WRONG_SERVER as error:
            self._leave(type(error).__name__)
            raise
        except BaseException as error:
            if isinstance(error, _CUT) or not isinstance(error, Exception):
                self._note_loss()
            raise

    def _leave(self, why: str) -> None:
        # Not now: in a pipeline there are more answers to read.
        generation, self._generation = self._generation, OVER
        self._links.end(why, generation)

    def _note_loss(self) -> None:
        if not self._greets:
            perhaps_done()


SyncLinked._reads_as = SyncLinked


class SyncLinkedConnection(SyncLinked, Connection):
    """Over TCP."""


class SyncLinkedSSLConnection(SyncLinked, SSLConnection):
    """Over TLS."""


class SyncLinkedUnixConnection(SyncLinked, UnixDomainSocketConnection):
    """Over a Unix socket."""


def sync_class(links: Links) -> type[SyncLinkedConnection]:
    """Return `SyncLinkedConnection` with its links; a Cluster's client drops our options."""

    class Bound(SyncLinkedConnection):
        def __init__(self, **options: Any) -> None:
            super().__init__(links=links, **options)

    return Bound


ASYNC: dict[type, type] = {
    AsyncConnection: LinkedConnection,
    AsyncSSLConnection: LinkedSSLConnection,
    AsyncUnixConnection: LinkedUnixConnection,
}
SYNC: dict[type, type] = {
    Connection: SyncLinkedConnection,
    SSLConnection: SyncLinkedSSLConnection,
    UnixDomainSocketConnection: SyncLinkedUnixConnection,
}
"""redis-py's classes, as a URL chooses them, and ours."""

SYNC_OF: dict[type, type] = {
    AsyncConnection: SyncLinkedConnection,
    AsyncSSLConnection: SyncLinkedSSLConnection,
    AsyncUnixConnection: SyncLinkedUnixConnection,
}
"""What threads have in the place of redis-py's classes for event loops."""
