"""Both connections of the Redis layer to one host, and the watch that finds them half open."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sockets.exceptions import GatewayUnavailable
from sockets.layers.publisher import Publisher
from sockets.layers.subscriber import Subscriber
from sockets.redis import close_sentinels
from sockets.redis.links import Links


class Link:
    """Both lines to one host, and the watch over them.

    Every `interval` seconds the listening line is pinged, and a canary goes through the bus: a
    message to this process itself. A line that says nothing for `timeout` seconds is half open.
    """

    def __init__(
        self,
        pool: Any,
        links: Links,
        prefix: str,
        *,
        on_message: Callable[[str, bytes], None],
        on_ready: Callable[[bool], None],
        interval: float,
        timeout: float,
    ) -> None:
        self._pool = pool
        self._canary = f"{prefix}__canary__{secrets.token_hex(8)}"
        self._asked_at: float | None = None
        self._sung_at: float | None = None
        self._song: asyncio.Future[None] | None = None
        self._heard_canary = False
        self._deliver = on_message
        self._interval = interval
        self._timeout = timeout
        self.publisher = Publisher(pool, links)
        self.subscriber = Subscriber(pool, self._on_message, on_ready, links)
        self.subscriber.subscribe(self._canary)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def _on_message(self, channel: str, data: bytes) -> None:
        if channel == self._canary:
            self._heard_canary = True
        else:
            self._deliver(channel, data)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        tick = min(self._interval, self._timeout) / 4
        while True:
            before = loop.time()
            await asyncio.sleep(tick)
            now = loop.time()
            if now - before > tick + self._timeout / 2:
                # It was this process that was away: what has arrived meanwhile is not read yet.
                self._asked_at = self._sung_at = None
                continue
            self._look(now)

    def _look(self, now: float) -> None:
        self.publisher.check(now)
        if self.subscriber.line.up:  # it may become half open before all is confirmed, too
            self._look_at_listening(now)
        else:
            self._asked_at = None
        # Where nothing can be published, a canary that does not come says nothing of listening.
        if self.subscriber.ready and self.publisher.line.up:
            self._look_at_canary(now)
        else:
            self._sung_at = None

    def _look_at_listening(self, now: float) -> None:
        line, asked_at = self.subscriber.line, self._asked_at
        if asked_at is None or (line.heard_at >= asked_at and now - asked_at >= self._interval):
            self._asked_at = now
            self.subscriber.ping()
        elif line.heard_at < asked_at and now - asked_at >= self._timeout:
            self._asked_at = None
            line.drop("it says nothing")

    def _look_at_canary(self, now: float) -> None:
        line, sung_at = self.publisher.line, self._sung_at
        heard = self._heard_canary or self._is_refused()
        if sung_at is None or (heard and now - sung_at >= self._interval):
            self._heard_canary = False
            self._song = self._sing()
            # Too much is on its way: that it does not come says nothing, and soon it can be sung.
            self._sung_at = None if self._song is None else now
        elif self._song is not None and not self._song.done() and now - sung_at >= self._timeout:
            self._sung_at = None
            line.drop("it says nothing")
        elif self._is_refused():
            pass  # a connection made anew would be refused as well; readiness says so
        elif not self._heard_canary and now - sung_at >= 3 * self._timeout:
            # Both lines live, but what is published does not come: are they on two servers?
            self._sung_at = None
            for one in (line, self.subscriber.line):
                one.drop("messages do not come through")

    def _is_refused(self) -> bool:
        """Return whether Redis refused to publish the last canary."""
        song = self._song
        return (
            song is not None
            and song.done()
            and not song.cancelled()
            and song.exception() is not None
        )

    def _sing(self) -> asyncio.Future[None] | None:
        try:
            song = self.publisher.publish(self._canary, b"")
        except GatewayUnavailable:
            return None
        song.add_done_callback(_seen)
        return song

    async def close(self) -> None:
        """Close for good."""
        self._watching.cancel()
        await asyncio.wait({self._watching})
        await self.subscriber.close()
        await self.publisher.close()
        await close_sentinels(self._pool)


def _seen(future: asyncio.Future[None]) -> None:
    """Nobody waits for the canary: what became of it is no news."""
    with suppress(asyncio.CancelledError):
        future.exception()
