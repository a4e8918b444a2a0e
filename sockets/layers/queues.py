"""The queues of the channels that this process receives from: bounded, and gone when unused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.exceptions import ChannelFull

from sockets.base import metrics

logger = logging.getLogger(__name__)

Message = dict[str, Any]


class _Queue:
    """`receivers`: those who wait for a message now."""

    __slots__ = ("logged", "messages", "receivers")

    def __init__(self, capacity: int) -> None:
        self.messages: asyncio.Queue[tuple[float, Message]] = asyncio.Queue(capacity)
        self.receivers = 0
        self.logged: set[str] = set()  # why messages of it were dropped


class Queues:
    """Belongs to `loop`. None: to nobody yet; then its user sees to it that one thread is in it
    at a time.

    A consumer that ends does not say so. A queue that no receiver has waited on for `expiry`
    seconds goes, with its messages, and by `leave` with its groups and its subscription; a timer
    of the loop sees to it, which runs only while there is such a queue. `leave` answers whether
    that is worth a warning although nothing waited in the queue.
    """

    def __init__(
        self,
        leave: Callable[[str], bool],
        capacity: Callable[[str], int],
        expiry: float,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._leave = leave
        self._capacity = capacity
        self._expiry = expiry
        self._clock = clock
        self._queues: dict[str, _Queue] = {}
        self._unattended: dict[str, float] = {}  # since when; the longest first
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, channel: str) -> bool:
        return channel in self._queues

    def __len__(self) -> int:
        return len(self._queues)

    def open(self, channel: str) -> None:
        """Have a queue for `channel`."""
        self._forget_unattended()
        self._queue(channel)

    def discard(self, channel: str) -> bool:
        """Forget it if it is empty and nobody waits; returns whether there is none now."""
        queue = self._queues.get(channel)
        if queue is not None and (queue.receivers or not queue.messages.empty()):
            return False
        self._queues.pop(channel, None)
        self._unattended.pop(channel, None)
        return True

    async def get(self, channel: str) -> Message:
        """Return the next message that is younger than `expiry`; cancelling loses nothing."""
        self._forget_unattended()
        queue = self._queue(channel)
        queue.receivers += 1
        self._unattended.pop(channel, None)
        try:
            while True:
                came_at, message = await queue.messages.get()
                if self._clock() - came_at < self._expiry:
                    return message
                self._count_drop(channel, queue, "it had waited for too long")
        finally:
            queue.receivers -= 1
            if not queue.receivers and self._queues.get(channel) is queue:
                self._leave_unattended(channel)

    def put(self, channel: str, message: Message) -> None:
        """Raises ChannelFull."""
        self._forget_unattended()
        try:
            self._queue(channel).messages.put_nowait((self._clock(), message))
        except asyncio.QueueFull:
            raise ChannelFull(channel) from None

    def offer(self, channel: str, message: Message) -> None:
        """Put a message whose sender waits for nothing: a full queue misses it.

        That is counted, and logged once. A channel without a queue has just been given up.
        """
        self._forget_unattended()
        queue = self._queues.get(channel)
        if queue is None:
            return
        try:
            self.put(channel, message)
        except ChannelFull:
            self._count_drop(channel, queue, "as many as it takes wait already")

    def clear(self) -> None:
        """Forget everything; who waits now waits for ever."""
        self._queues.clear()
        self._stop_looking()

    def empty(self) -> list[str]:
        """Forget all messages, and the queues that nobody waits on; returns those that are left."""
        self._queues = {name: queue for name, queue in self._queues.items() if queue.receivers}
        for queue in self._queues.values():
            while not queue.messages.empty():
                queue.messages.get_nowait()
            queue.logged.clear()
        self._stop_looking()
        return list(self._queues)

    def _stop_looking(self) -> None:
        self._unattended.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def move(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Belong to `loop` from now on: the one before has no receivers, or no more."""
        before, self._queues = self._queues, {}
        self.clear()
        self._loop = loop
        for channel, queue in before.items():
            moved = self._queue(channel)  # an asyncio.Queue stays with the loop that it has met
            while not queue.messages.empty():
                moved.messages.put_nowait(queue.messages.get_nowait())

    def _queue(self, channel: str) -> _Queue:
        queue = self._queues.get(channel)
        if queue is None:
            queue = self._queues[channel] = _Queue(self._capacity(channel))
            self._leave_unattended(channel)
        return queue

    def _leave_unattended(self, channel: str) -> None:
        self._unattended[channel] = self._clock()
        if self._timer is None:
            self._set_timer(self._expiry)

    def _set_timer(self, delay: float) -> None:
        # A receiver that ends as garbage may outlive its loop.
        if self._loop is not None and not self._loop.is_closed():
            self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._forget_unattended()
        oldest = next(iter(self._unattended.values()), None)
        if oldest is not None:
            # Not for each queue by itself, when they were left one soon after the other.
            delay = max(oldest + self._expiry - self._clock(), self._expiry / 8)
            self._set_timer(delay)

    def _forget_unattended(self) -> None:
        last = self._clock() - self._expiry
        while self._unattended:
            channel, since = next(iter(self._unattended.items()))
            if since > last:
                return
            del self._unattended[channel]
            waiting = self._queues.pop(channel).messages.qsize()
            metrics.dropped_layer.inc(waiting)
            if self._leave(channel) or waiting:
                logger.warning(
                    "channel %s: nobody has waited for a message of it for %g s, so that its queue "
                    "(messages lost: %d) and its groups are given up; its consumer has ended, or "
                    "its handler is at work for longer than the layer's option expiry",
                    channel,
                    self._expiry,
                    waiting,
                )

    def _count_drop(self, channel: str, queue: _Queue, why: str) -> None:
        metrics.dropped_layer.inc()
        if why not in queue.logged:
            queue.logged.add(why)
            logger.warning(
                "channel %s: a message is dropped, %s; further ones of this channel are counted "
                "only (gateway_dropped_total)",
                channel,
                why,
            )


def require_dict(message: object) -> None:
    """Raises TypeError."""
    if not isinstance(message, dict):
        raise TypeError(f"a channel layer message is a dict, not {type(message).__name__}")
