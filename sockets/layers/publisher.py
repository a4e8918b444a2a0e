"""The way out of the Redis layer: what one turn of the loop brings is one write."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import hiredis

from sockets.base import metrics
from sockets.exceptions import GatewayUnavailable
from sockets.layers.line import CONNECT_TIMEOUT, Line, pack
from sockets.redis.links import Links

PUBLISH_TIMEOUT = 5.0
"""Seconds that Redis gets to confirm a message."""

MAX_PUBLISHING = 10_000
"""Messages on their way to one host; more are refused."""

MAX_PUBLISHING_BYTES = 16 * 1024 * 1024


class Publisher:
    """Publishes what one turn of the loop brings in one write. Belongs to one event loop."""

    def __init__(self, pool: Any, links: Links | None = None) -> None:
        self._queued: deque[tuple[bytes, asyncio.Future[None], float]] = deque()
        self._sent: deque[tuple[int, asyncio.Future[None], float]] = deque()
        self._bytes = 0
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self.line = Line(
            pool,
            links or Links(),
            "publishing",
            on_up=self._flush,
            on_reply=self._on_reply,
            on_down=self._on_down,
        )

    def publish(self, channel: str, data: bytes) -> asyncio.Future[None]:
        """Done when Redis has it; fails with GatewayUnavailable. Raises that if it cannot begin."""
        line, now = self.line, self._loop.time()
        if not line.up and not line.patience():
            raise GatewayUnavailable(f"Redis cannot be reached ({line.down_because})")
        command = pack(b"PUBLISH", channel.encode(), data)
        if (
            len(self._queued) + len(self._sent) >= MAX_PUBLISHING
            or self._bytes + len(command) > MAX_PUBLISHING_BYTES
        ):
            raise GatewayUnavailable("Redis is too slow for what is published")
        future = self._loop.create_future()
        self._queued.append((command, future, now))
        self._bytes += len(command)
        if line.up and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return future

    def check(self, now: float) -> None:
        """Give up what takes too long."""
        if self._queued and now - self._queued[0][2] > CONNECT_TIMEOUT and not self.line.up:
            self._fail_queued()
        if self._sent and now - self._sent[0][2] > PUBLISH_TIMEOUT:
            self.line.drop("no answer to a message")

    def _flush(self) -> None:
        self._scheduled = False
        if not self.line.up or not self._queued:
            return
        now = self._loop.time()
        if not self.line.write(b"".join(command for command, _, _ in self._queued)):
            return  # they wait for the next connection
        self._sent.extend((len(command), future, now) for command, future, _ in self._queued)
        self._queued.clear()

    def _on_reply(self, reply: Any) -> None:
        size, future, _ = self._sent.popleft()
        self._bytes -= size
        if future.done():
            return  # its caller has gone
        if isinstance(reply, hiredis.ReplyError):
            metrics.LAYER_UNSENT.inc()
            future.set_exception(GatewayUnavailable(f"Redis refuses: {reply}"))
        else:
            future.set_result(None)

    def _on_down(self, why: str) -> None:
        while self._sent:
            size, future, _ = self._sent.popleft()
            self._bytes -= size
            _fail(future, GatewayUnavailable(f"Redis went away ({why})", outcome="unknown"))

    def _fail_queued(self) -> None:
        why = self.line.down_because or "no connection yet"
        while self._queued:
            command, future, _ = self._queued.popleft()
            self._bytes -= len(command)
            _fail(future, GatewayUnavailable(f"Redis cannot be reached ({why})"))

    async def close(self) -> None:
        """Close for good."""
        await self.line.close()
        self._on_down("closed")
        self._fail_queued()


def _fail(future: asyncio.Future[None], error: GatewayUnavailable) -> None:
    metrics.LAYER_UNSENT.inc()
    if not future.done():
        future.set_exception(error)
