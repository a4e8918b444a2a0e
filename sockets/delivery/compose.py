"""What somebody wants to send: checked, written, and what follows of it. Pure, without any I/O.

What is appended, what is published and which receipts there are: `notifier.py` does that on an
event loop, `notifier_sync.py` in threads. Raises InvalidMessage or MessageTooLarge for what cannot
be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from msgspec import Raw

from sockets.base.arguments import require_user_id
from sockets.base.ids import is_user_id, new_id, parse_ulid
from sockets.exceptions import InvalidMessage, MessageTooLarge
from sockets.layers.groups import CLIENTS, user_group
from sockets.layers.wire import layer_message
from sockets.protocol.codec import to_json
from sockets.protocol.messages import MAX_TTL, Body
from sockets.protocol.values import write
from sockets.streams.base import Appended, NewEntry
from sockets.types import Notification, Position, Receipt

MAX_KEY = 255
"""Characters of an idempotency or collapse key."""


GroupMessage = tuple[str, dict[str, Any]]
"""A group, and the layer message that goes to it."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notification for one user, checked and written. `durable`: it goes into the stream."""

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
        """Write one notification to the user that it names. `id`, `own_key`: as of
        `compose`."""
        user = require_user_id(notification.user_id)
        entry = compose(notification, limit=self._limit, now=self._clock(), id=id, own_key=own_key)
        return Outgoing(user, entry, bool(notification.durable))

    def many(
        self, users: Iterable[str], notification: Notification, *, id: str | None = None
    ) -> list[Outgoing]:
        """Write one notification for many users, with one id; once for a user named twice."""
        entry = compose(notification, limit=self._limit, now=self._clock(), id=id)
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
        entry = compose(notification, limit=self._limit, now=self._clock())
        return entry.id, (CLIENTS, _layer_message(entry))


def _layer_message(entry: NewEntry, position: Position | None = None) -> dict[str, Any]:
    return layer_message(
        entry.event, entry.body, exclude_client=entry.exclude_client, position=position
    )


def is_repeated(entry: NewEntry, done: Appended) -> bool:
    """Return whether an earlier call had sent it; with its own id, only an answer was lost."""
    return done.duplicate and done.id != entry.id


def unpublished(one: Outgoing, done: Appended) -> GroupMessage | None:
    """Return what is still to be published of what was appended; None: it has been."""
    if done.published or is_repeated(one.entry, done):
        return None
    return one.published(done.position)


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
    """Return a receipt for each name, in their order; a user may be named more than once."""
    by_user = {one.user: done for one, done in zip(sent, receipts, strict=True)}
    return [by_user[user] for user in named]


def compose(
    notification: Notification,
    *,
    limit: int,
    now: float,
    id: str | None = None,
    own_key: str | None = None,
) -> NewEntry:
    """Return a notification as it is appended, or published only where it is not durable.

    `limit`: bytes of its JSON. `id`: where the caller has to know it before the outcome. `own_key`:
    as of NewEntry, beside an `idempotency_key`. Its `user_id` is not looked at.
    """
    given = notification
    event = require_event(given.event)
    _require_kept(given)
    if given.ttl is not None and not _is_ttl(given.ttl):
        raise InvalidMessage("ttl is a number of seconds above 0, at most 10 years")
    id = id or new_id()
    return NewEntry(
        id=id,
        collapse_key=_key("collapse_key", given.collapse_key),
        ttl=given.ttl,
        idempotency_key=_key("idempotency_key", given.idempotency_key),
        exclude_client=_client_id(given.exclude_client),
        event=event,
        own_key=own_key,
        body=_body(id, event, given.data, limit, now),
    )


def _body(id: str, event: str, data: object, limit: int, now: float) -> bytes:
    raw = data if isinstance(data, Raw) else Raw(_json(data))
    try:
        body = to_json(Body(id, event, raw, round(now, 3)))
    except ValueError:  # it has no UTF-8
        raise InvalidMessage("event cannot be written as JSON: it is no text") from None
    _require_size(body, limit)
    return body


def batch_keys(key: str, place: int) -> tuple[str, str]:
    """Return what a message of a batch is known by: as of the version before, and our own.

    The version before cut long keys, and its names are those of keys that callers may have too.
    """
    whole = sha256(key.encode()).hexdigest()
    return f"{key}:{place}"[-MAX_KEY:], f"batch:{whole}:{place}"


def require_event(event: str) -> str:
    """Return it as a plain string. Raises InvalidMessage."""
    if not isinstance(event, str) or not 1 <= len(event) <= 255:
        raise InvalidMessage("event must be a string of 1 to 255 characters")
    return str.__str__(event)


def _client_id(value: object) -> str | None:
    """Return a client id in its canonical form, or None. Raises InvalidMessage: it is kept beside
    the message, so its size is bounded, and a wrong one would exclude nobody."""
    if value is None:
        return None
    found = parse_ulid(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidMessage("exclude_client is a client id, a ULID of 26 characters")
    return found


def encode_json(value: object, limit: int) -> bytes:
    """Return what somebody wants to send as JSON. Raises InvalidMessage, MessageTooLarge."""
    encoded = bytes(value) if isinstance(value, Raw) else _json(value)
    _require_size(encoded, limit)
    return encoded


def _json(value: object) -> bytes:
    """Raises InvalidMessage."""
    try:
        return write(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessage(f"data cannot be written as JSON: {error}") from None


def _require_size(encoded: bytes, limit: int) -> None:
    """Raises MessageTooLarge."""
    if len(encoded) > limit:
        raise MessageTooLarge(
            f"the message has {len(encoded)} bytes of JSON and MAX_MESSAGE_SIZE is {limit}: "
            "send a link to the data instead"
        )


def _require_kept(given: Notification) -> None:
    """Raise for options that mean nothing for an ephemeral message: a mistake of the caller's."""
    if given.durable:
        return
    for name in ("ttl", "collapse_key", "idempotency_key"):
        if getattr(given, name) is not None:
            raise InvalidMessage(f"{name} needs durable=True: an ephemeral message is not kept")


def _key(name: str, value: object) -> str | None:
    return None if value is None else require_key(name, value)


def require_key(name: str, value: object) -> str:
    """Return an idempotency or collapse key as a plain string. Raises InvalidMessage."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_KEY:
        raise InvalidMessage(f"{name} is a string of 1 to {MAX_KEY} characters")
    if not is_user_id(value):  # as of ids: 4 bytes for each character at most
        raise InvalidMessage(f"{name} has a character that UTF-8 does not have")
    return str.__str__(value)


def _is_ttl(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= MAX_TTL
