"""The channel layer of memory mode: one process, no services, bounded and visible.

A real Channels layer (stock consumers work on it), with what the stock one lacks: sinks, constant
cost per `group_send`, an overflow that is counted, and safety across threads: a call from another
thread or loop is carried to the loop that the receivers live on.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from channels.layers import BaseChannelLayer

from sockets.layers.fanout import Fanout, Sink
from sockets.layers.options import require_options
from sockets.layers.queues import Queues, require_dict
from sockets.layers.wire import copy_of, require_deliverable

HOME_TIMEOUT: Final = 5.0
"""Seconds that a call from another loop waits for a receivers' loop that is not running."""

HOME_LOOK: Final = 0.05
"""Seconds between two looks at what that loop does."""


class MemoryChannelLayer(BaseChannelLayer):
    """Channels' layer API plus `group_add_sink` and `group_discard_sink`.

    `capacity`: messages that may wait in one channel; `channel_capacity`: the same by name or
    pattern. `expiry`: seconds after which a message is delivered no more, and after which a channel
    that nobody waits on is given up, with its messages and groups.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        expiry: float = 60,
        capacity: int = 100,
        channel_capacity: dict[Any, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_options(expiry=expiry, capacity=capacity, channel_capacity=channel_capacity)
        super().__init__(expiry=expiry, capacity=capacity)  # type: ignore[arg-type]  # or a float
        self.channel_capacity: Any = self.compile_capacities(channel_capacity or {})
        self._fanout = Fanout()
        self._queues = Queues(self._leave, self.get_capacity, expiry, clock, None)
        self._home: asyncio.AbstractEventLoop | None = None
        self._homeless = threading.Lock()  # without a home, every caller acts in its own thread

    # --- channels

    async def new_channel(self, prefix: str = "specific") -> str:
        """Return a name that nobody else has."""
        return f"{prefix.rstrip('.')}.memory!{secrets.token_hex(8)}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Raises ChannelFull when `capacity` messages wait, TypeError for a bad name or message."""
        require_dict(message)
        self.require_valid_channel_name(channel)
        require_deliverable(message)
        message = copy_of(message)  # now: what is wrong with it is the sender's to hear
        await self._at_home(lambda: self._queues.put(channel, message))

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message; cancelling loses nothing. RuntimeError: the receivers of this
        layer live on another event loop."""
        self.require_valid_channel_name(channel)
        if self._settle() is not asyncio.get_running_loop():
            raise RuntimeError(
                "receive: the receivers of this channel layer live on another event loop, which is "
                "open. Receive there, or close that loop first; in Redis mode each loop may receive"
            )
        try:
            return await self._queues.get(channel)
        finally:
            self._forget_unused(channel)

    # --- groups

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._settle()
        await self._at_home(lambda: self._add(group, channel))

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._at_home(lambda: self._discard(group, channel))

    async def group_add_sink(self, group: str, sink: Sink) -> None:
        """Call `sink` with each message of `group` from when this returns."""
        self.require_valid_group_name(group)
        self._settle()
        await self._at_home(lambda: self._fanout.add_sink(group, sink))

    async def group_discard_sink(self, group: str, sink: Sink) -> None:
        self.require_valid_group_name(group)
        await self._at_home(lambda: self._fanout.discard_sink(group, sink))

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send to every sink and channel of `group`; a full channel misses it, which is counted."""
        require_dict(message)
        self.require_valid_group_name(group)
        require_deliverable(message)
        message = copy_of(message)
        await self._at_home(lambda: self._publish(group, message))

    def send_local(self, group: str, message: dict[str, Any]) -> None:
        """Do as `group_send`, on the receivers' own loop: all of them are in this process."""
        self._publish(group, message)

    @property
    def connected(self) -> bool:
        """Always: there is nobody else to hear from."""
        return True

    def add_gap_listener(self, listener: Callable[[], None]) -> None:
        """Nothing is lost here without being counted, so it is never called."""

    def discard_gap_listener(self, listener: Callable[[], None]) -> None:
        """It is never called anyway."""

    async def flush(self) -> None:
        """Forget all messages and groups. Who waits for a message gets the next one."""
        await self._at_home(self._clear)

    async def close(self) -> None:
        """Nothing is open; for symmetry with the Redis layer."""

    # --- inside: runs on the home loop, never awaits

    def _publish(self, group: str, message: dict[str, Any]) -> None:
        self._fanout.to_sinks(group, message)
        for channel in self._fanout.channels(group):
            self._queues.offer(channel, copy_of(message))

    def _add(self, group: str, channel: str) -> None:
        self._queues.open(channel)  # so that it leaves the group when nobody waits on it
        self._fanout.add_channel(group, channel)

    def _discard(self, group: str, channel: str) -> None:
        self._fanout.discard_channel(group, channel)
        self._forget_unused(channel)

    def _forget_unused(self, channel: str) -> None:
        """Remove queues that are of no use: a consumer that ends leaves its own."""
        if not self._fanout.is_member(channel):
            self._queues.discard(channel)

    def _leave(self, channel: str) -> bool:
        return bool(self._fanout.forget_channel(channel))

    def _clear(self) -> None:
        self._queues.empty()
        self._fanout.clear()

    def _settle(self) -> asyncio.AbstractEventLoop | None:
        """Make the running loop the home, where a receiver lives, unless another one is alive.

        Returns the home.
        """
        with self._homeless:
            if not self._has_home():
                self._home = asyncio.get_running_loop()
                self._queues.move(self._home)
            return self._home

    def _has_home(self) -> bool:
        return self._home is not None and not self._home.is_closed()

    async def _at_home(self, action: Callable[[], None]) -> None:
        """Run `action` on the receivers' loop; here, if there is none. Raises RuntimeError when
        that loop is open and does not run for HOME_TIMEOUT: `action` is not run then, nor later."""
        while True:
            home = self._home
            if home is asyncio.get_running_loop():
                action()
                return
            if home is None or home.is_closed():
                if self._act_homeless(action):
                    return
            elif await _carried(home, action):
                return

    def _act_homeless(self, action: Callable[[], None]) -> bool:
        """Run it in this thread, one at a time. False: there is a home now."""
        with self._homeless:
            if self._has_home():
                return False
            if self._home is not None:
                self._home = None
                self._queues.move(None)  # its receivers have ended with it
            action()
            return True


async def _carried(home: asyncio.AbstractEventLoop, action: Callable[[], None]) -> bool:
    """Run it on `home`. False: that closed before; the action has not been run and will not be."""
    done: Future[None] = Future()
    try:
        home.call_soon_threadsafe(_run, action, done)
    except RuntimeError:
        return False
    waiting = asyncio.wrap_future(done)
    try:
        until = time.monotonic() + HOME_TIMEOUT
        while not (await asyncio.wait({waiting}, timeout=HOME_LOOK))[0]:
            if home.is_closed() and done.cancel():
                return False
            if home.is_running():
                until = time.monotonic() + HOME_TIMEOUT
            elif time.monotonic() >= until and done.cancel():
                raise RuntimeError(
                    "the event loop that the receivers of this channel layer live on is open and "
                    f"has not run for {HOME_TIMEOUT:g} s: nothing was done. Run that loop, or "
                    "close it"
                )
    finally:
        done.cancel()  # no effect on one that is done; else the caller has given up
    waiting.result()
    return True


def _run(action: Callable[[], None], done: Future[None]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        action()
    except BaseException as error:
        done.set_exception(error)
    else:
        done.set_result(None)
