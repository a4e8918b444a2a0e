"""The way into the Redis layer: one subscription for each group, however many listen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import hiredis

from sockets.base import metrics
from sockets.layers.line import Line, pack
from sockets.redis.links import Links

SUBSCRIBE_BATCH = 1_000
"""Channels in one SUBSCRIBE after a reconnection."""


class Subscriber:
    """Listens to channels, one SUBSCRIBE each, and to all of them again after a reconnection.

    `on_ready`: all channels are confirmed, at first (False) or again (True: some messages may have
    been lost).
    """

    def __init__(
        self,
        pool: Any,
        on_message: Callable[[str, bytes], None],
        on_ready: Callable[[bool], None],
        links: Links | None = None,
    ) -> None:
        self._wanted: dict[str, bool] = {}  # whether it is in force
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._unconfirmed: Counter[str] = Counter()  # SUBSCRIBEs on their way
        self._restoring: set[str] = set()
        self._is_first = True
        self._on_message = on_message
        self._on_ready = on_ready
        self.line = Line(
            pool,
            links or Links(),
            "listening",
            on_up=self._on_up,
            on_reply=self._on_reply,
            on_down=self._on_down,
        )

    @property
    def ready(self) -> bool:
        """Whether every channel that is wanted is listened to, apart from the newest."""
        return self.line.up and not self._restoring

    def subscribe(self, channel: str) -> asyncio.Future[None] | None:
        """Listen. None: that is so already; else done when Redis has confirmed it."""
        if self._wanted.get(channel):
            return None
        if channel not in self._wanted:
            self._wanted[channel] = False
            self._waiting[channel] = asyncio.get_running_loop().create_future()
            if self.line.up:
                self._send([channel])
        return self._waiting[channel]

    def wants(self, channel: str) -> bool:
        """Return whether a channel is subscribed to, or will be as soon as Redis is there."""
        return channel in self._wanted

    def unsubscribe(self, channel: str) -> None:
        """Listen no more; those who still wait for a confirmation wait no longer."""
        if self._wanted.pop(channel, None) is None:
            return
        self._confirm(channel)
        self._restored(channel)
        if self.line.up:
            self.line.write(pack(b"UNSUBSCRIBE", channel.encode()))

    def ping(self) -> None:
        """Make Redis answer, whatever happens on the channels."""
        if self.line.up:
            self.line.write(pack(b"PING"))

    async def close(self) -> None:
        """Close for good."""
        await self.line.close()
        for channel in list(self._waiting):
            self._confirm(channel)
        self._wanted.clear()

    def _send(self, channels: list[str]) -> None:
        self._unconfirmed.update(channels)
        self.line.write(pack(b"SUBSCRIBE", *(channel.encode() for channel in channels)))

    def _on_up(self) -> None:
        self._unconfirmed.clear()
        channels = list(self._wanted)
        self._restoring = set(channels)
        for start in range(0, len(channels), SUBSCRIBE_BATCH):
            self._send(channels[start : start + SUBSCRIBE_BATCH])
        if not channels:
            self._all_restored()

    def _on_down(self, _: str) -> None:
        self._restoring.clear()
        for channel in self._wanted:
            if self._wanted[channel]:
                self._wanted[channel] = False
                self._waiting[channel] = asyncio.get_running_loop().create_future()

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self.line.drop(f"Redis refuses: {reply}")
            return
        kind = reply[0]
        if kind == b"message":
            self._on_message(reply[1].decode(), reply[2])
        elif kind == b"subscribe":
            channel = reply[1].decode()
            self._unconfirmed[channel] -= 1
            # Joined, left, joined again: the last confirmation counts.
            if self._unconfirmed[channel] <= 0:
                del self._unconfirmed[channel]
                if channel in self._wanted:
                    self._wanted[channel] = True
                    self._confirm(channel)
                self._restored(channel)

    def _confirm(self, channel: str) -> None:
        future = self._waiting.pop(channel, None)
        if future is not None and not future.done():
            future.set_result(None)

    def _restored(self, channel: str) -> None:
        if self._restoring:
            self._restoring.discard(channel)
            if not self._restoring:
                self._all_restored()

    def _all_restored(self) -> None:
        again, self._is_first = not self._is_first, False
        if again:
            metrics.LAYER_GAPS.inc()
        self._on_ready(again)
