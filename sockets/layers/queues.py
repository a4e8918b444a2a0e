"""The queues of the channels that this process receives from: bounded, and gone when unused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.exceptions import ChannelFull

logger = logging.getLogger(__name__)

Message = dict[str, Any]


class _Queue:
    """`waiting`: receivers; `touched`: when the last of them got something or gave up."""

    __slots__ = ("messages", "touched", "waiting")

    def __init__(self, capacity: int, now: float) -> None:
        self.messages: asyncio.Queue[tuple[float, Message]] = asyncio.Queue(capacity)
        self.waiting = 0
        self.touched = now


class Queues:
    """Belongs to one event loop.

    A consumer that ends does not say so: a queue that nobody has waited on for `expiry` seconds
    goes, quietly if it is empty, else when it is full, with a warning and by `bury`, which takes it
    out of its groups.
    """

    def __init__(
        self,
        bury: Callable[[str], None],
        capacity: Callable[[str], int],
        expiry: float,
        clock: Callable[[], float],
    ) -> None:
        self._bury = bury
        self._capacity = capacity
        self._expiry = expiry
        self._clock = clock
        self._queues: dict[str, _Queue] = {}
        self._look_at = 0.0

    def open(self, channel: str) -> list[str]:
        """Have a queue for `channel`; returns the channels whose unused queues went."""
        self._queue(channel)
        return self._forget_unused()

    def __contains__(self, channel: str) -> bool:
        return channel in self._queues

    def discard(self, channel: str) -> bool:
        """It could not be opened; False: it is in use, and stays."""
        queue = self._queues.get(channel)
        if queue is not None and (queue.waiting or not queue.messages.empty()):
            return False
        self._queues.pop(channel, None)
        return True

    async def get(self, channel: str) -> Message:
        """The next message; cancelling loses nothing."""
        queue = self._queue(channel)
        queue.waiting += 1
        try:
            _, message = await queue.messages.get()
        finally:
            queue.waiting -= 1
            queue.touched = self._clock()
        return message

    def put(self, channel: str, message: Message) -> None:
        """Raises ChannelFull."""
        queue = self._queue(channel)
        try:
            queue.messages.put_nowait((self._clock(), message))
        except asyncio.QueueFull:
            self._bury_if_dead(channel, queue)
            raise ChannelFull(channel) from None

    def clear(self) -> None:
        """Forget everything."""
        self._queues.clear()

    def _queue(self, channel: str) -> _Queue:
        queue = self._queues.get(channel)
        if queue is None:
            queue = self._queues[channel] = _Queue(self._capacity(channel), self._clock())
        return queue

    def _forget_unused(self) -> list[str]:
        now = self._clock()
        if now < self._look_at:
            return []
        self._look_at = now + self._expiry / 4
        unused = [
            channel
            for channel, queue in self._queues.items()
            if not queue.waiting and queue.messages.empty() and now - queue.touched >= self._expiry
        ]
        for channel in unused:
            del self._queues[channel]
        return unused

    def _bury_if_dead(self, channel: str, queue: _Queue) -> None:
        oldest = queue.messages._queue[0][0]  # type: ignore[attr-defined]
        if not queue.waiting and self._clock() - oldest >= self._expiry:
            logger.warning("channel %s was not read for %g s: removed", channel, self._expiry)
            del self._queues[channel]
            self._bury(channel)


def require_dict(message: object) -> None:
    """Raises TypeError."""
    if not isinstance(message, dict):
        raise TypeError(f"a channel layer message is a dict, not {type(message).__name__}")
