"""The way in: append to the stream, then publish through the channel layer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sockets.base import metrics
from sockets.base.arguments import require_user_ids
from sockets.conf import Conf
from sockets.delivery.compose import Composer, Outgoing, for_each, in_order, receipt, unpublished
from sockets.exceptions import GatewayUnavailable
from sockets.layers.base import Layer
from sockets.presence.base import Presence
from sockets.streams.base import Appended, Streams
from sockets.types import Notification, Receipt

logger = logging.getLogger(__name__)


class Notifier:
    """Notifications in. Belongs to one event loop, the node's or another.

    Raises InvalidMessage, MessageTooLarge, GatewayUnavailable. `id` is that of the message, where
    the caller has to know it before the outcome.
    """

    def __init__(
        self,
        *,
        conf: Conf,
        layer: Layer,
        streams: Streams,
        presence: Presence,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._composer = Composer(conf.max_message_size, clock)
        self._layer = layer
        self._streams = streams
        self._presence = presence

    async def send(
        self, notification: Notification, *, id: str | None = None, own_key: str | None = None
    ) -> Receipt:
        """Notify the user that it names. `own_key`: as of `NewEntry`."""
        one = self._composer.one(notification, id=id, own_key=own_key)
        if not one.durable:
            return await self._passing(one)
        return await self._kept(one, await self._streams.append(one.user, one.entry))

    async def send_many(
        self, users: Iterable[str], notification: Notification, *, id: str | None = None
    ) -> list[Receipt]:
        """Notify many users of the same, written once; nothing is sent if an argument is wrong."""
        named = require_user_ids(users)
        many = self._composer.many(named, notification, id=id)
        return for_each(named, many, await self._send(many))

    async def send_batch(
        self, notifications: Sequence[Notification], idempotency_key: str | None = None
    ) -> list[Receipt]:
        """Notify many users, each of its own; nothing is sent if one of them is wrong.

        `idempotency_key` stands for all durable ones without one of their own, each by its place.
        """
        return await self._send(self._composer.batch(notifications, idempotency_key))

    async def broadcast(self, notification: Notification) -> Receipt:
        """Notify every client of every node, now or never: it is not kept for anybody."""
        id, (group, message) = self._composer.broadcast(notification)
        await self._publish(group, message)
        metrics.notifications[False].inc()
        return Receipt(id, None, None)

    async def _send(self, many: Sequence[Outgoing]) -> list[Receipt]:
        durable = [one for one in many if one.durable]
        done = await self._streams.append_many([(one.user, one.entry) for one in durable])
        kept = [await self._kept(*pair) for pair in zip(durable, done, strict=True)]
        return in_order(many, kept, [await self._passing(one) for one in many if not one.durable])

    async def _kept(self, one: Outgoing, done: Appended) -> Receipt:
        """Publish what was appended. It is in the stream, and so it counts as sent already."""
        if (message := unpublished(one, done)) is not None:
            try:
                await self._layer.group_send(*message)
            except GatewayUnavailable as error:
                logger.warning("a layer message was lost, the next renewal finds it: %s", error)
        reach = await self._reach(one.user) if done.reach is None else done.reach
        made = receipt(one, done, reach)
        if not made.duplicate:
            metrics.notifications[True].inc()
        return made

    async def _passing(self, one: Outgoing) -> Receipt:
        everywhere = await self._publish(*one.published())
        metrics.notifications[False].inc()
        return receipt(one, None, await self._reach(one.user) if everywhere else 0)

    async def _publish(self, group: str, message: dict[str, Any]) -> bool:
        """Publish an ephemeral message; while the bus is away, only to sessions of this process.

        Returns whether it went to all processes.
        """
        try:
            await self._layer.group_send(group, message)
        except GatewayUnavailable as error:
            if self._layer.connected or error.outcome != "nothing":
                raise  # it may still arrive by the bus
            self._layer.send_local(group, message)
            metrics.LOCAL_ONLY.inc()
            return False
        return True

    async def _reach(self, user: str) -> int:
        try:
            return len(await self._presence.sessions_of(user))
        except GatewayUnavailable:
            return 0  # the message is on its way all the same
