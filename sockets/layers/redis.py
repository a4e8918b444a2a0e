"""The channel layer of Redis mode: channels-redis' pub/sub layer, made fit for a gateway.

What goes over the wire is the stock layer's, both ways: a project that has only that one configured
reaches our users, and we reach its consumers. What is new: sinks and one decoding a process, queues
with a bound, joins that Redis has confirmed, a call after a gap, publishing in batches.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from channels.layers import BaseChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import decode_hosts
from django.core.exceptions import ImproperlyConfigured
from redis.exceptions import RedisError

from sockets.base import metrics
from sockets.exceptions import GatewayUnavailable
from sockets.layers.fanout import Fanout, Sink
from sockets.layers.link import Link
from sockets.layers.options import require_known, require_options, require_prefix
from sockets.layers.queues import Queues, require_dict
from sockets.layers.wire import Wire
from sockets.redis import layer_pool

logger = logging.getLogger(__name__)

JOIN_TIMEOUT = 5.0
"""Seconds that Redis gets to confirm that we listen."""


class RedisChannelLayer(RedisPubSubChannelLayer):
    """One for all loops of the process; each loop has connections of its own.

    `hosts` as channels-redis takes them, and `redis+sentinel://` URLs; several are shards.
    `capacity`, `channel_capacity`, `expiry` as of MemoryChannelLayer. A wrong option raises
    ImproperlyConfigured here, not at the first message. `canary_interval` and
    `canary_timeout`: seconds, together the time in which a half-open connection is found.
    """

    def __init__(
        self,
        *,
        hosts: list[Any] | None = None,
        prefix: str = "asgi",
        symmetric_encryption_keys: list[str] | None = None,
        serializer_format: str = "msgpack",
        **options: Any,
    ) -> None:
        require_known(options, RedisLoopLayer)
        require_options(**{name: value for name, value in options.items() if name != "clock"})
        require_prefix(prefix)
        super().__init__(
            symmetric_encryption_keys=symmetric_encryption_keys,
            serializer_format=serializer_format,
        )
        self.hosts = _read_hosts(hosts)
        self._options = options
        self.wire = Wire(prefix, len(self.hosts), self._serializer)

    def _get_layer(self) -> RedisLoopLayer:
        loop = asyncio.get_running_loop()
        layer: RedisLoopLayer | None = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = RedisLoopLayer(self.hosts, self.wire, **self._options)
            _close_with(loop, self._layers)
        return layer


class RedisLoopLayer(BaseChannelLayer):
    """The layer of one event loop."""

    extensions = ("groups", "flush")

    def __init__(
        self,
        hosts: list[dict[str, Any]],
        wire: Wire,
        *,
        expiry: float = 60,
        capacity: int = 100,
        channel_capacity: dict[Any, int] | None = None,
        canary_interval: float = 1.5,
        canary_timeout: float = 2.0,
        join_timeout: float = JOIN_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)  # type: ignore[arg-type]  # or a float
        self.channel_capacity: Any = self.compile_capacities(channel_capacity or {})
        self.wire = wire
        self._hosts = hosts
        self._canary: dict[str, Any] = {"interval": canary_interval, "timeout": canary_timeout}
        self._join_timeout = join_timeout
        self._fanout = Fanout()
        self._groups: dict[str, str] = {}  # by Redis channel
        loop = asyncio.get_running_loop()
        self._queues = Queues(self._give_up, self.get_capacity, expiry, clock, loop)
        self._mark = secrets.token_hex(8)  # of the channels that are made here
        self._gap_listeners: list[Callable[[], None]] = []
        self._links: list[Link] = []
        self._gap = False

    # --- channels

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a name that nobody else has, and that is listened to."""
        channel = f"{prefix.rstrip('.')}.{self._mark}.{secrets.token_hex(8)}"
        await self._open_channel(channel)
        return channel

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send to whoever receives from `channel`, anywhere; a full queue is counted there."""
        require_dict(message)
        self.require_valid_channel_name(channel)
        # Who is there, and how full its queue is, only its own process knows.
        data = self.wire.encode_checked(message)
        await self._link(channel).publisher.publish(channel, data)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message; cancelling loses nothing."""
        self.require_valid_channel_name(channel)
        await self._open_channel(channel)
        return await self._queues.get(channel)

    async def _open_channel(self, channel: str) -> None:
        self._queues.open(channel)
        if self._link(channel).subscriber.wants(channel):
            return  # Redis may be away: the queue is read, and the subscription comes back
        try:
            await self._confirmed(channel)
        except BaseException:
            # One that has joined a group meanwhile stays, and is listened to as soon as may be.
            if not self._fanout.is_member(channel) and self._queues.discard(channel):
                self._link(channel).subscriber.unsubscribe(channel)
            raise

    # --- groups

    async def group_add(self, group: str, channel: str) -> None:
        """Add `channel` to `group`; it gets messages from when this returns. RuntimeError: it is
        another process', or another event loop's."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if channel not in self._queues:
            if not self._is_made_here(channel):
                raise RuntimeError(
                    f"group_add: this event loop does not receive from channel {channel!r}; a "
                    "consumer adds its own self.channel_name"
                )
            await self._open_channel(channel)  # it was given up while its handler was at work
        add = functools.partial(self._fanout.add_channel, group, channel)
        discard = functools.partial(self._fanout.discard_channel, group, channel)
        await self._join(group, add, discard)

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._fanout.discard_channel(group, channel)
        self._leave_if_empty(group)

    async def group_add_sink(self, group: str, sink: Sink) -> None:
        """Call `sink` with each message of `group` from when this returns."""
        add = functools.partial(self._fanout.add_sink, group, sink)
        discard = functools.partial(self._fanout.discard_sink, group, sink)
        await self._join(group, add, discard)

    async def group_discard_sink(self, group: str, sink: Sink) -> None:
        self.require_valid_group_name(group)
        self._fanout.discard_sink(group, sink)
        self._leave_if_empty(group)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send to every receiver of `group`, in all processes. Raises GatewayUnavailable."""
        require_dict(message)
        self.require_valid_group_name(group)
        channel = self.wire.group_channel(group)
        data = self.wire.encode_checked(message)
        await self._link(channel).publisher.publish(channel, data)

    def send_local(self, group: str, message: dict[str, Any]) -> None:
        """Send to the receivers of `group` in this process, past Redis."""
        self._on_message(self.wire.group_channel(group), self.wire.encode(message))

    async def _join(self, group: str, add: Callable[[], None], discard: Callable[[], None]) -> None:
        """Add a member at once, so that a join that overtakes a leave keeps the subscription."""
        self.require_valid_group_name(group)
        channel = self.wire.group_channel(group)
        self._groups[channel] = group
        add()
        try:
            await self._confirmed(channel)
        except BaseException:
            discard()
            self._leave_if_empty(group)
            raise

    def _leave_if_empty(self, group: str) -> None:
        channel = self.wire.group_channel(group)
        if group not in self._fanout and self._groups.pop(channel, None) is not None:
            self._link(channel).subscriber.unsubscribe(channel)

    async def _confirmed(self, channel: str) -> None:
        subscriber = self._link(channel).subscriber
        waiting = subscriber.subscribe(channel)
        if waiting is None:
            return
        # A line that is down may be up again in a moment; who comes later need not wait for it.
        patience = self._join_timeout if subscriber.line.up else subscriber.line.patience()
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(waiting)
        except TimeoutError:
            raise GatewayUnavailable("Redis does not confirm a subscription") from None

    # --- state

    @property
    def connected(self) -> bool:
        """Whether every host is listened to, for every group, and can be published to."""
        return self._is_listening() and all(link.publisher.line.up for link in self._links)

    def add_gap_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` when messages may have been lost, and all groups are confirmed again."""
        self._gap_listeners.append(listener)

    def discard_gap_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""
        self._gap_listeners = [one for one in self._gap_listeners if one != listener]

    async def flush(self) -> None:
        """Forget everything and close the connections; the next call begins anew. Who waits for a
        message is listened for again when this returns, or as soon as Redis is there."""
        waited_on = self._queues.empty()
        await self._disconnect()
        opening = [self._open_channel(name) for name in waited_on if name in self._queues]
        await asyncio.gather(*opening, return_exceptions=True)

    async def close(self) -> None:
        """Forget everything and close the connections."""
        self._queues.clear()
        await self._disconnect()

    async def _disconnect(self) -> None:
        self._fanout.clear()
        self._groups.clear()
        links, self._links = self._links, []
        for link in links:
            await link.close()

    # --- inside

    def _link(self, channel: str) -> Link:
        if not self._links:
            self._links = [
                Link(
                    *layer_pool(host),
                    self.wire.prefix,
                    on_message=self._on_message,
                    on_ready=self._on_ready,
                    **self._canary,
                )
                for host in self._hosts
            ]
        return self._links[self.wire.shard(channel)]

    def _is_listening(self) -> bool:
        return bool(self._links) and all(link.subscriber.ready for link in self._links)

    def _on_ready(self, again: bool) -> None:
        # One host's gap may have to wait for another host, even for its first connection.
        self._gap |= again
        if self._gap and self._is_listening():
            self._gap = False
            for listener in self._gap_listeners:
                _guarded(listener)

    def _on_message(self, channel: str, data: bytes) -> None:
        """Deliver a message; one bad message or receiver never stops the others."""
        group = self._groups.get(channel)
        try:
            if group is None:
                if channel in self._queues:  # else: on its way when its last receiver left
                    self._put(channel, data)
                return
            self._fanout.to_sinks(group, self.wire.decode(data))
            for receiver in self._fanout.channels(group):
                self._put(receiver, data)
        except Exception:
            metrics.LAYER_ERRORS.inc()
            logger.exception("a message on %s cannot be read", channel)

    def _is_made_here(self, channel: str) -> bool:
        return f".{self._mark}." in channel

    def _give_up(self, channel: str) -> bool:
        """Nobody reads it any more: out of its groups, and those that it leaves empty. A channel
        that has its name from the project is worth a warning: senders do not know of its end."""
        self._link(channel).subscriber.unsubscribe(channel)
        groups = self._fanout.forget_channel(channel)
        for group in groups:
            self._leave_if_empty(group)
        return bool(groups) or not self._is_made_here(channel)

    def _put(self, channel: str, data: bytes) -> None:
        self._queues.offer(channel, self.wire.decode(data))  # each receiver its own copy


def _close_with(loop: asyncio.AbstractEventLoop, layers: dict[Any, RedisLoopLayer]) -> None:
    """Close the layer of `loop` when that closes, as the stock layer does."""
    close = loop.close

    def close_both() -> None:
        layer = layers.pop(loop, None)
        if layer is not None:
            loop.run_until_complete(layer.close())
        loop.close = close  # type: ignore[method-assign]
        close()

    loop.close = close_both  # type: ignore[method-assign]


def _read_hosts(hosts: Any) -> list[dict[str, Any]]:
    """Read hosts as channels-redis does. Raises ImproperlyConfigured, which names no secret."""
    try:
        found: list[dict[str, Any]] = decode_hosts(hosts)
        for host in found:
            layer_pool(host)
    except (AttributeError, LookupError, TypeError, ValueError, RedisError) as error:
        raise ImproperlyConfigured(
            f"CHANNEL_LAYERS: hosts cannot be read ({type(error).__name__}); it is a list of URLs "
            "such as 'redis://localhost:6379/0', of (host, port) or of dictionaries with 'address'"
        ) from None
    return found


def _guarded(listener: Callable[[], None]) -> None:
    """Call a listener; one that fails must not end the reading of the connection."""
    try:
        listener()
    except Exception:
        metrics.LAYER_ERRORS.inc()
        logger.exception("a gap listener failed; the others go on")
