"""What is appended, what is published, and which receipts follow: pure, without any I/O.

`notifier.py` does this on an event loop, `notifier_sync.py` in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sockets.base.arguments import require_user_id
from sockets.delivery.compose import batch_keys, compose, require_key
from sockets.exceptions import InvalidMessage
from sockets.layers.groups import CLIENTS, user_group
from sockets.layers.notification import layer_message
from sockets.streams.base import Appended, NewEntry
from sockets.types import Notification, Position, Receipt

GroupMessage = tuple[str, dict[str, Any]]
"""A group, and the layer message that goes to it."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notification for one user, checked and written. `durable`: it is appended first."""

    user: str
    entry: NewEntry
    durable: bool

    def published(self, position: Position | None = None) -> GroupMessage:
        """Return what goes over the layer; with its position once it is in the stream."""
        return user_group(self.user), _layer_message(self.entry, position)


class Composer:
    """Checks and writes what callers send. Raises InvalidMessage and MessageTooLarge.

    `limit`: bytes of a message's JSON.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock

    def one(
        self, notification: Notification, *, id: str | None = None, own_key: str | None = None
    ) -> Outgoing:
        """Write one notification to the user that it names. Keys are those of `compose`."""
        user = require_user_id(notification.user_id)
        entry = self._entry(notification, id=id, own_key=own_key)
        return Outgoing(user, entry, bool(notification.durable))

    def many(
        self, users: Iterable[str], notification: Notification, *, id: str | None = None
    ) -> list[Outgoing]:
        """Write one notification for many users, with one id; once for a user named twice."""
        entry = self._entry(notification, id=id)
        durable = bool(notification.durable)
        return [Outgoing(user, entry, durable) for user in dict.fromkeys(users)]

    def batch(
        self, notifications: Sequence[Notification], idempotency_key: str | None = None
    ) -> list[Outgoing]:
        """Write many notifications, each to its user. The error of one names its place.

        `idempotency_key` stands for all durable ones without one of their own, each by its place.
        """
        if idempotency_key is not None:
            idempotency_key = require_key("idempotency_key", idempotency_key)
        return [
            self._at_place(place, one, idempotency_key) for place, one in enumerate(notifications)
        ]

    def _at_place(self, place: int, one: Notification, key: str | None) -> Outgoing:
        own_key = None
        if key is not None and one.idempotency_key is None and one.durable:
            earlier, own_key = batch_keys(key, place)
            one = replace(one, idempotency_key=earlier)
        try:
            return self.one(one, own_key=own_key)
        except InvalidMessage as error:
            raise type(error)(f"notification {place}: {error}") from None

    def broadcast(self, notification: Notification) -> tuple[str, GroupMessage]:
        """Write a notification to every client; return its id, and what goes over the layer."""
        entry = self._entry(notification)
        return entry.id, (CLIENTS, _layer_message(entry))

    def _entry(self, notification: Notification, **ids: str | None) -> NewEntry:
        return compose(notification, limit=self._limit, now=self._clock(), **ids)


def _layer_message(entry: NewEntry, position: Position | None = None) -> dict[str, Any]:
    return layer_message(
        entry.event, entry.body, exclude_client=entry.exclude_client, position=position
    )


def is_repeated(entry: NewEntry, done: Appended) -> bool:
    """Return whether an earlier call had sent it; with its own id, only an answer was lost."""
    return done.duplicate and done.id != entry.id


def unpublished(sent: Sequence[Outgoing], done: Sequence[Appended]) -> list[GroupMessage]:
    """Return the layer messages of what was appended now, and not published by the store itself."""
    return [
        one.published(appended.position)
        for one, appended in zip(sent, done, strict=True)
        if not appended.published and not is_repeated(one.entry, appended)
    ]


def receipt(one: Outgoing, done: Appended | None, reach: int) -> Receipt:
    """Return the receipt of what was sent; `done` None: it was ephemeral."""
    if done is None:
        return Receipt(one.entry.id, None, None, reach=reach)
    return Receipt(
        done.id,
        done.position.epoch,
        done.position.offset,
        duplicate=is_repeated(one.entry, done),
        reach=reach,
    )


def in_order(
    sent: Sequence[Outgoing], durable: Iterable[Receipt], ephemeral: Iterable[Receipt]
) -> list[Receipt]:
    """Return the receipts of both kinds in the order in which they were sent."""
    kept, passing = iter(durable), iter(ephemeral)
    return [next(kept if one.durable else passing) for one in sent]


def for_each(
    named: Sequence[str], sent: Sequence[Outgoing], receipts: Sequence[Receipt]
) -> list[Receipt]:
    """Return the receipts in the order in which their users were named, however often."""
    by_user = {one.user: done for one, done in zip(sent, receipts, strict=True)}
    return [by_user[user] for user in named]
