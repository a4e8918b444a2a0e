"""The channel layer of memory mode: one process, no services, bounded and visible.

A real Channels layer (stock consumers work on it), with what the stock one lacks: sinks, constant
cost per `group_send`, an overflow that is counted, and safety across threads: a call from another
thread or loop is carried to the loop that the receivers live on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from sockets import metrics
from sockets.layers.fanout import Fanout, Sink
from sockets.layers.wire import copy_of, require_deliverable

logger = logging.getLogger(__name__)


class MemoryChannelLayer(BaseChannelLayer):
    """Channels' layer API plus `group_add_sink` and `group_discard_sink`.

    `capacity`: messages that may wait in one channel. `expiry`: a channel that is full and has
    not been read for so many seconds is taken for dead and leaves its groups, with a warning.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        expiry: int = 60,
        capacity: int = 100,
        channel_capacity: dict[Any, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.channel_capacity: Any = self.compile_capacities(channel_capacity or {})
        self._clock = clock
        self._fanout = Fanout()
        self._queues: dict[str, asyncio.Queue[tuple[float, dict[str, Any]]]] = {}
        self._home: asyncio.AbstractEventLoop | None = None

    # --- channels

    async def new_channel(self, prefix: str = "specific") -> str:
        """A name that nobody else has."""
        return f"{prefix.rstrip('.')}.memory!{secrets.token_hex(8)}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Raises ChannelFull when `capacity` messages wait, TypeError for a bad name or message."""
        _require_dict(message)
        self.require_valid_channel_name(channel)
        message = copy_of(
            message
        )  # as it is now, and what is wrong with it is the sender's to hear
        await self._at_home(lambda: self._put(channel, message))

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message; cancelling loses nothing."""
        self.require_valid_channel_name(channel)
        self._settle()
        queue = self._queue(channel)
        try:
            _, message = await queue.get()
        finally:
            # A consumer that ends does not say so: its queue goes when nothing is in it.
            if queue.empty() and self._queues.get(channel) is queue and not _awaited(queue):
                del self._queues[channel]
        return message

    # --- groups

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._settle()
        await self._at_home(lambda: self._fanout.add_channel(group, channel))

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._at_home(lambda: self._fanout.discard_channel(group, channel))

    async def group_add_sink(self, group: str, sink: Sink) -> None:
        """Call `sink` with each message of `group` from when this returns."""
        self.require_valid_group_name(group)
        self._settle()
        await self._at_home(lambda: self._fanout.add_sink(group, sink))

    async def group_discard_sink(self, group: str, sink: Sink) -> None:
        self.require_valid_group_name(group)
        await self._at_home(lambda: self._fanout.discard_sink(group, sink))

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """To every sink and channel of `group`; a full channel misses it, which is counted."""
        _require_dict(message)
        self.require_valid_group_name(group)
        require_deliverable(message)
        message = copy_of(message)
        await self._at_home(lambda: self._publish(group, message))

    def send_local(self, group: str, message: dict[str, Any]) -> None:
        """`group_send`, on the receivers' own loop: all of them are in this process."""
        self._publish(group, message)

    @property
    def connected(self) -> bool:
        """Always: there is nobody else to hear from."""
        return True

    def add_gap_listener(self, listener: Callable[[], None]) -> None:
        """Nothing is lost here without being counted, so it is never called."""

    async def flush(self) -> None:
        """Forget all messages and groups."""
        await self._at_home(self._clear)

    async def close(self) -> None:
        """Nothing is open; for symmetry with the Redis layer."""

    # --- inside: runs on the home loop, never awaits

    def _publish(self, group: str, message: dict[str, Any]) -> None:
        self._fanout.to_sinks(group, message)
        for channel in self._fanout.channels(group):
            try:
                self._put(channel, message)
            except ChannelFull:
                metrics.dropped_layer.inc()
                self._bury_if_dead(channel)

    def _put(self, channel: str, message: dict[str, Any]) -> None:
        try:
            self._queue(channel).put_nowait((self._clock(), copy_of(message)))
        except asyncio.QueueFull:
            raise ChannelFull(channel) from None

    def _queue(self, channel: str) -> asyncio.Queue[tuple[float, dict[str, Any]]]:
        queue = self._queues.get(channel)
        if queue is None:
            queue = self._queues[channel] = asyncio.Queue(self.get_capacity(channel))
        return queue

    def _bury_if_dead(self, channel: str) -> None:
        oldest = self._queues[channel]._queue[0][0]  # type: ignore[attr-defined]
        if self._clock() - oldest >= self.expiry:
            logger.warning("channel %s was not read for %s s: removed", channel, self.expiry)
            del self._queues[channel]
            self._fanout.forget_channel(channel)

    def _clear(self) -> None:
        self._queues.clear()
        self._fanout.clear()

    def _settle(self) -> None:
        """A receiver lives here: make the running loop the home, unless another one is alive."""
        if self._home is None or self._home.is_closed():
            self._home = asyncio.get_running_loop()

    async def _at_home(self, action: Callable[[], None]) -> None:
        home = self._home
        if home is None or home.is_closed() or home is asyncio.get_running_loop():
            action()
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_call(action), home))


async def _call(action: Callable[[], None]) -> None:
    action()


def _awaited(queue: asyncio.Queue[Any]) -> bool:
    """Whether another `receive` waits on this queue (then it must stay the channel's queue)."""
    return any(not waiter.done() for waiter in queue._getters)  # type: ignore[attr-defined]


def _require_dict(message: object) -> None:
    if not isinstance(message, dict):
        raise TypeError(f"a channel layer message is a dict, not {type(message).__name__}")
