"""The way in: append to the stream, then signal through the channel layer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sockets.base import metrics
from sockets.base.arguments import require_user_id, require_user_ids
from sockets.conf import Conf
from sockets.delivery.compose import (
    batch_keys,
    compose,
    is_repeated,
    require_key,
    signal,
)
from sockets.exceptions import GatewayUnavailable, InvalidMessage
from sockets.layers.base import Layer
from sockets.layers.groups import CLIENTS, user_group
from sockets.presence.base import Presence
from sockets.streams.base import Appended, NewEntry, Streams
from sockets.types import Notification, Receipt

logger = logging.getLogger(__name__)


class Notifier:
    """Notifications in. Belongs to one event loop, the node's or another.

    Options are those of `sockets.api.notify_user`. Raises InvalidMessage, MessageTooLarge,
    GatewayUnavailable.
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
        self._conf = conf
        self._layer = layer
        self._streams = streams
        self._presence = presence
        self._clock = clock

    async def notify(
        self, user: str, event: str, data: object, *, durable: bool = True, **options: Any
    ) -> Receipt:
        """Notify one user."""
        user = require_user_id(user)
        entry = self._compose(event, data, durable=durable, **options)
        if not durable:
            return await self._publish(user, entry)
        return await self._appended(user, entry, await self._streams.append(user, entry))

    async def notify_many(
        self,
        users: Iterable[str],
        event: str,
        data: object,
        *,
        durable: bool = True,
        **options: Any,
    ) -> list[Receipt]:
        """The same message for each user, written once; nothing is sent if an argument is wrong."""
        named = require_user_ids(users)
        entry = self._compose(event, data, durable=durable, **options)
        chosen = list(dict.fromkeys(named))
        if durable:
            done = await self._streams.append_many([(user, entry) for user in chosen])
            receipts = [
                await self._appended(user, entry, one)
                for user, one in zip(chosen, done, strict=True)
            ]
        else:
            receipts = [await self._publish(user, entry) for user in chosen]
        by_user = dict(zip(chosen, receipts, strict=True))
        return [by_user[user] for user in named]

    async def notify_batch(
        self, many: Sequence[Notification], idempotency_key: str | None = None
    ) -> list[Receipt]:
        """Each to its user, in order; nothing is sent if one of them is wrong.

        `idempotency_key` stands for all durable ones without one of their own, each by its place.
        """
        if idempotency_key is not None:
            idempotency_key = require_key("idempotency_key", idempotency_key)
        named = [self._entry(index, one, idempotency_key) for index, one in enumerate(many)]
        durable = [index for index, one in enumerate(many) if one.durable]
        done = await self._streams.append_many([named[index] for index in durable])
        receipts: dict[int, Receipt] = {}
        for index, appended in zip(durable, done, strict=True):
            user, entry = named[index]
            receipts[index] = await self._appended(user, entry, appended)
        for index, one in enumerate(many):
            if not one.durable:
                receipts[index] = await self._publish(*named[index])
        return [receipts[index] for index in range(len(many))]

    def _entry(self, index: int, one: Notification, of_all: str | None) -> tuple[str, NewEntry]:
        """Return for whom it is, and what."""
        key, own_key = one.idempotency_key, None
        if key is None and of_all is not None and one.durable:
            key, own_key = batch_keys(of_all, index)
        try:
            user = require_user_id(one.user_id)
            return user, self._compose(
                one.event,
                one.data,
                durable=one.durable,
                ttl=one.ttl,
                collapse_key=one.collapse_key,
                idempotency_key=key,
                own_key=own_key,
                exclude_client=one.exclude_client,
            )
        except InvalidMessage as error:
            raise type(error)(f"notification {index}: {error}") from None

    async def broadcast(self, event: str, data: object) -> Receipt:
        """To every client of every node, now or never (a broadcast is ephemeral)."""
        entry = self._compose(event, data)
        await self._send(CLIENTS, signal(entry))
        metrics.notifications[False].inc()
        return Receipt(entry.id, None, None)

    def _compose(self, event: str, data: object, **options: Any) -> NewEntry:
        limit = self._conf.max_message_size
        return compose(event, data, limit=limit, now=self._clock(), **options)

    async def _publish(self, user: str, entry: NewEntry) -> Receipt:
        everywhere = await self._send(user_group(user), signal(entry))
        metrics.notifications[False].inc()
        return Receipt(entry.id, None, None, reach=await self._reach(user) if everywhere else 0)

    async def _send(self, group: str, message: dict[str, Any]) -> bool:
        """An ephemeral message; while the bus is away, only to the sessions of this process."""
        try:
            await self._layer.group_send(group, message)
        except GatewayUnavailable as error:
            if self._layer.connected or error.outcome != "nothing":
                raise  # it may still arrive by the bus
            self._layer.send_local(group, message)
            metrics.LOCAL_ONLY.inc()
            return False
        return True

    async def _appended(self, user: str, entry: NewEntry, done: Appended) -> Receipt:
        """It is in the stream, so it is sent: a signal that is lost is found at a renewal."""
        duplicate = is_repeated(entry, done)
        if not duplicate:
            metrics.notifications[True].inc()
            if not done.signalled:
                try:
                    await self._layer.group_send(user_group(user), signal(entry, done.position))
                except GatewayUnavailable as error:
                    logger.warning("a signal was lost, the next renewal makes up for it: %s", error)
        return Receipt(
            done.id,
            done.position.epoch,
            done.position.offset,
            duplicate=duplicate,
            reach=await self._reach(user) if done.reach is None else done.reach,
        )

    async def _reach(self, user: str) -> int:
        try:
            return len(await self._presence.sessions_of(user))
        except GatewayUnavailable:
            return 0  # the message is on its way all the same
