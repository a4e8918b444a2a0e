"""One connection of the Redis layer, made again for ever.

redis-py connects (TLS, authentication, Sentinel); from then on hiredis reads many messages at a
time, and commands are written as they are, without a round trip for each.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import hiredis
from redis.exceptions import RedisError

from sockets.base import metrics
from sockets.redis.links import Links, writer_of
from sockets.redis.tap import Tap

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 2.0
"""Seconds for one attempt, and that a message waits for a connection."""

BACKOFF = (0.05, 1.0)
"""Seconds between two attempts, the first and at most; each is shortened at random."""


class Line:
    """One connection. `on_up`, `on_reply` and `on_down` must not await.

    It is made anew when `links` end: what is published to a replica reaches nobody, without an
    error. `down_because`: why the last attempt failed; None before the first, and while it is up.
    """

    def __init__(
        self,
        pool: Any,
        links: Links,
        name: str,
        *,
        on_up: Callable[[], None],
        on_reply: Callable[[Any], None],
        on_down: Callable[[str], None],
    ) -> None:
        self.up = False
        self.down_because: str | None = None
        self.down_at = 0.0
        self.heard_at = 0.0
        self._pool = pool
        self._links = links
        self._name = name
        self._on_up = on_up
        self._on_reply = on_reply
        self._on_down = on_down
        self._writer: asyncio.StreamWriter | None = None
        self._dropped = ""  # why this connection was cut, by us and not by Redis
        self._unwritten: list[bytes] = []  # until the end of this turn of the loop
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())
        links.listen(self._on_links_ended)

    def patience(self) -> float:
        """Seconds that waiting for a connection is worth it: none when it has been away long."""
        if self.down_because is None:
            return CONNECT_TIMEOUT
        return max(0.0, self.down_at + CONNECT_TIMEOUT - asyncio.get_running_loop().time())

    def write(self, data: bytes) -> bool:
        """Write while it is up. False: the peer has just cut it, and nothing was written.

        What a turn of the loop has left is written in one piece, at its end.
        """
        assert self._writer is not None
        if self._writer.is_closing():
            return False
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten.append(data)
        return True

    def _flush(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        if self._writer is not None and not self._writer.is_closing():  # else uvloop would raise
            self._writer.write(b"".join(unwritten))

    def drop(self, why: str) -> None:
        """Cut the connection; another one follows."""
        if self._writer is not None and not self._writer.is_closing():
            logger.warning("Redis, %s: %s; connecting again", self._name, why)
            self._dropped = why
            self._writer.transport.abort()

    def _on_links_ended(self, why: str) -> None:
        """Drop the line; called in any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.drop, f"another connection says {why}")

    async def close(self) -> None:
        """Close for good."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        delay, longest = BACKOFF
        while True:
            began, why = self._loop.time(), "Redis closed the connection"
            try:
                await self._serve()
            except (RedisError, OSError, TimeoutError, hiredis.ProtocolError) as error:
                why = f"{type(error).__name__}: {error}".rstrip(": ")
            except Exception as error:  # an answer to nothing, say: it is connected again as well
                why = f"{type(error).__name__}: {error}".rstrip(": ")
                if why != self.down_because:
                    logger.exception("Redis, %s: an error that is none of Redis'", self._name)
            dropped, self._dropped = self._dropped, ""
            if self.down_because is None:
                if not dropped:  # that is in the log already
                    logger.warning("Redis, %s: %s; trying on", self._name, why)
                self.down_at = self._loop.time()
                if self.down_at - began > longest:  # what is cut at once is not made at once again
                    delay = BACKOFF[0]
            self.down_because = why = dropped or why
            self._on_down(why)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, longest)

    async def _serve(self) -> None:
        connection = self._pool.make_connection()
        generation = self._links.generation
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()
            if generation != self._links.generation:
                raise ConnectionError("it is not the server to ask any more")
            self._writer = writer_of(connection)
            parser = hiredis.Reader()

            def heard(data: bytes) -> None:
                self.heard_at = self._loop.time()
                parser.feed(data)
                while (reply := parser.gets()) is not False:
                    self._on_reply(reply)

            tap = Tap(self._writer, heard)
            if self.down_because is not None:
                metrics.LAYER_RECONNECTS.inc()
                logger.info("Redis, %s: connected again", self._name)
            self.up, self.down_because = True, None
            self.heard_at = self._loop.time()  # it has answered whatever connecting asks
            self._on_up()
            await tap.ended
        finally:
            self.up = False
            self._writer = None
            await connection.disconnect(nowait=True)


def pack(*words: bytes) -> bytes:
    """Return a command in RESP."""
    return b"".join(_packed(words))


def _packed(words: tuple[bytes, ...]) -> Iterable[bytes]:
    yield b"*%d\r\n" % len(words)
    for word in words:
        yield b"$%d\r\n" % len(word)
        yield word
        yield b"\r\n"
