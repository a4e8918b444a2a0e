"""The way in for threads: Django code in a process that is no node, straight to Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from sockets.base import metrics
from sockets.base.arguments import require_user_ids
from sockets.conf import Conf
from sockets.delivery.compose import Composer, Outgoing, for_each, in_order, receipt, unpublished
from sockets.exceptions import GatewayUnavailable
from sockets.layers.publisher_sync import SyncPublisher
from sockets.presence.base import SyncPresence
from sockets.streams.base import SyncStreams
from sockets.types import Notification, Receipt

logger = logging.getLogger(__name__)


class SyncNotifier:
    """`Notifier` without an event loop: safe in threads and after a fork."""

    def __init__(
        self,
        *,
        conf: Conf,
        streams: SyncStreams,
        publisher: SyncPublisher,
        presence: SyncPresence,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._composer = Composer(conf.max_message_size, clock)
        self._streams = streams
        self._publisher = publisher
        self._presence = presence

    def send(self, notification: Notification) -> Receipt:
        """Do as `Notifier.send` does."""
        return self._send([self._composer.one(notification)])[0]

    def send_many(self, users: Iterable[str], notification: Notification) -> list[Receipt]:
        """Do as `Notifier.send_many` does."""
        named = require_user_ids(users)
        many = self._composer.many(named, notification)
        return for_each(named, many, self._send(many))

    def broadcast(self, notification: Notification) -> Receipt:
        """Do as `Notifier.broadcast` does."""
        id, message = self._composer.broadcast(notification)
        self._publisher.publish([message])
        return Receipt(id, None, None)

    def _send(self, many: Sequence[Outgoing]) -> list[Receipt]:
        durable = [one for one in many if one.durable]
        done = self._streams.append_many([(one.user, one.entry) for one in durable])
        pairs = list(zip(durable, done, strict=True))
        if messages := [found for pair in pairs if (found := unpublished(*pair)) is not None]:
            try:
                self._publisher.publish(messages)
            except GatewayUnavailable as error:
                # They are in the streams, so they are sent.
                metrics.LAYER_UNSENT.inc(len(messages))
                logger.warning("layer messages were lost, the next renewal finds them: %s", error)
        kept = [receipt(one, appended, appended.reach or 0) for one, appended in pairs]
        return in_order(many, kept, self._passing([one for one in many if not one.durable]))

    def _passing(self, many: Sequence[Outgoing]) -> list[Receipt]:
        if not many:
            return []
        self._publisher.publish([one.published() for one in many])
        try:
            counts = self._presence.counts([one.user for one in many])
        except GatewayUnavailable:
            counts = [0] * len(many)  # the messages are on their way all the same
        return [receipt(one, None, count) for one, count in zip(many, counts, strict=True)]
