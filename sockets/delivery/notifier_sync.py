"""The way in for threads: Django code in a process that is no node, straight to Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sockets.base import metrics
from sockets.base.arguments import require_user_id, require_user_ids
from sockets.conf import Conf
from sockets.delivery.compose import compose, is_repeated, signal
from sockets.exceptions import GatewayUnavailable
from sockets.layers.groups import CLIENTS, user_group
from sockets.streams.base import Appended, NewEntry, SyncStreams
from sockets.types import Receipt

logger = logging.getLogger(__name__)


Publish = Callable[[Sequence[tuple[str, Mapping[str, Any]]]], None]
"""Messages for groups, in one round trip. Raises GatewayUnavailable."""


class SyncNotifier:
    """`Notifier` without an event loop: safe in threads and after a fork.

    `reach`: how many live sessions each of these users has.
    """

    def __init__(
        self,
        *,
        conf: Conf,
        streams: SyncStreams,
        publish: Publish,
        reach: Callable[[Sequence[str]], list[int]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._conf = conf
        self._streams = streams
        self._publish = publish
        self._reach = reach
        self._clock = clock

    def notify(
        self, user: str, event: str, data: object, *, durable: bool = True, **options: Any
    ) -> Receipt:
        """Notify one user. Options and errors are those of `sockets.api.notify_user`."""
        user = require_user_id(user)
        entry = self._compose(event, data, durable=durable, **options)
        if not durable:
            return self._ephemeral([user], entry)[0]
        return self._durable([user], entry, [self._streams.append(user, entry)])[0]

    def notify_many(
        self,
        users: Iterable[str],
        event: str,
        data: object,
        *,
        durable: bool = True,
        **options: Any,
    ) -> list[Receipt]:
        """The same message for each user; nothing is sent if an argument is wrong."""
        named = require_user_ids(users)
        entry = self._compose(event, data, durable=durable, **options)
        chosen = list(dict.fromkeys(named))
        if durable:
            done = self._streams.append_many([(user, entry) for user in chosen])
            receipts = self._durable(chosen, entry, done)
        else:
            receipts = self._ephemeral(chosen, entry)
        by_user = dict(zip(chosen, receipts, strict=True))
        return [by_user[user] for user in named]

    def broadcast(self, event: str, data: object) -> Receipt:
        """To every client of every node, now or never."""
        entry = self._compose(event, data)
        self._publish([(CLIENTS, signal(entry))])
        return Receipt(entry.id, None, None)

    def _compose(self, event: str, data: object, **options: Any) -> NewEntry:
        limit = self._conf.max_message_size
        return compose(event, data, limit=limit, now=self._clock(), **options)

    def _ephemeral(self, users: Sequence[str], entry: NewEntry) -> list[Receipt]:
        message = signal(entry)
        self._publish([(user_group(user), message) for user in users])
        try:
            counts = self._reach(users)
        except GatewayUnavailable:
            counts = [0] * len(users)  # the message is on its way all the same
        return [Receipt(entry.id, None, None, reach=count) for count in counts]

    def _durable(
        self, users: Sequence[str], entry: NewEntry, done: Sequence[Appended]
    ) -> list[Receipt]:
        """They are in the streams, so they are sent: a lost signal is found at a renewal."""
        pairs = list(zip(users, done, strict=True))
        signals = [
            (user_group(user), signal(entry, one.position))
            for user, one in pairs
            if not one.signalled and not is_repeated(entry, one)
        ]
        if signals:
            try:
                self._publish(signals)
            except GatewayUnavailable as error:
                metrics.LAYER_UNSENT.inc(len(signals))
                logger.warning("a signal was lost, the next renewal makes up for it: %s", error)
        return [
            Receipt(
                one.id,
                one.position.epoch,
                one.position.offset,
                duplicate=is_repeated(entry, one),
                reach=one.reach or 0,
            )
            for one in done
        ]
