"""Notifications: sent, read and positioned."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Unpack, cast

from django.db import transaction
from msgspec import Raw

from sockets.api.calls import call_id
from sockets.api.carry import at_node, sync_face
from sockets.api.contracts import Event, require_kept, unpacked
from sockets.api.data import as_data
from sockets.api.elsewhere import elsewhere
from sockets.api.given import given
from sockets.api.remote import remote
from sockets.api.users import UserId, as_user, as_users
from sockets.conf import get_conf
from sockets.delivery import compose
from sockets.exceptions import InvalidMessage
from sockets.node.core import Core
from sockets.node.current import current_node
from sockets.node.state import SyncBackends
from sockets.types import Notification, NotifyOptions, Page, Position, Receipt

logger = logging.getLogger(__name__)


@given(user_id=as_user, data=as_data)
async def anotify_user(
    user_id: UserId, event: str | Event, data: object = None, **options: Unpack[NotifyOptions]
) -> Receipt:
    """Notify every session of a user.

    `event`: its name, or an Event, which brings its data.
    `durable` (True): kept in the user's stream, so that a session that is away, slow or
    reconnecting gets it later; else only who is connected now gets it. `ttl`: seconds after which
    it is not worth delivering. `collapse_key`: replaces the user's earlier message with the same
    key for whoever has not seen that yet. `idempotency_key`: a repeated call returns the first
    receipt. `exclude_client`: the client id (ULID) that caused this and needs no echo.
    """
    return await send(Notification(user_id, _name(event), data, **options))


def _name(event: str | Event) -> str:
    """Return the name: `given` has taken an Event apart by now. What is none is refused later."""
    return cast(str, event)


async def send(notification: Notification) -> Receipt:
    """Notify the user that a notification of plain values names, such as those of a request."""
    return await at_node(lambda node: node.notifier.send(notification, id=call_id.get()))


@given(user_ids=as_users, data=as_data)
async def anotify_users(
    user_ids: Iterable[UserId],
    event: str | Event,
    data: object = None,
    **options: Unpack[NotifyOptions],
) -> list[Receipt]:
    """Notify many users of the same; receipts come in the same order.

    Options are those of `notify_user`. A user named twice is notified once.
    """
    users = [str(user) for user in user_ids]
    notification = Notification(None, _name(event), data, **options)
    return await at_node(
        lambda node: node.notifier.send_many(users, notification, id=call_id.get())
    )


def _plain_batch(notifications: Iterable[Notification]) -> list[Notification]:
    return [_plain(place, one) for place, one in enumerate(notifications)]


def _plain(place: int, one: Notification) -> Notification:
    try:
        event, data = unpacked(one.event, one.data)
        written = as_data(data)
        require_kept(event, written)
        return replace(one, user_id=as_user(one.user_id), event=event, data=written)
    except InvalidMessage as error:
        raise type(error)(f"notification {place}: {error}") from None


@given(notifications=_plain_batch)
async def anotify_batch(
    notifications: Iterable[Notification], *, idempotency_key: str | None = None
) -> list[Receipt]:
    """Send many notifications, each to its user, in one round trip to the store.

    Nothing is sent if one of them is wrong. Where the outcome is unknown, repeating the call is
    safe only for those that have an `idempotency_key`; that of the call stands for all durable ones
    without one of their own, each by its place in the batch.
    """
    many = list(notifications)
    return await at_node(lambda node: node.notifier.send_batch(many, idempotency_key))


@given(user_id=as_user)
async def aread_stream(
    user_id: UserId, *, epoch: str | None = None, offset: int = 0, limit: int = 100
) -> Page:
    """Return durable messages of a user after a position, oldest first, at most `limit`.

    Without `epoch`: of the stream as it is now. `page.floor` above `offset`: older ones are gone.
    """
    user = str(user_id)

    async def read(node: Core) -> Page:
        of = (await node.streams.read(user, None, 0)).epoch if epoch is None else epoch
        return await node.streams.read(user, Position(of, offset), limit)

    return await at_node(read)


@given(data=as_data)
async def abroadcast(
    event: str | Event,
    data: object = None,
    *,
    durable: bool = False,
    exclude_client: str | None = None,
) -> Receipt:
    """Notify every connected client, now or never.

    `exclude_client`: the client id (ULID) that caused this and needs no echo. Durable to many is
    `notify_users`; `durable=True` here is a ValueError.
    """
    notification = _to_everybody(_name(event), data, durable, exclude_client)
    return await at_node(lambda node: node.notifier.broadcast(notification))


@given(user_id=as_user)
async def astream_position(user_id: UserId) -> Position:
    """Return the position of a user's stream as it is now.

    Take it before you load the data of a page and connect from it: nothing falls between.
    """
    user = str(user_id)
    return await at_node(lambda node: node.streams.head(user))


def _to_everybody(
    event: str, data: object, durable: bool, exclude_client: str | None
) -> Notification:
    """Raises ValueError."""
    if durable:
        raise ValueError("a broadcast is ephemeral; for a durable message use notify_users")
    return Notification(None, event, data, durable=False, exclude_client=exclude_client)


def _notify_user(redis: SyncBackends, **given: Any) -> Receipt:
    return redis.notifier.send(Notification(**given))


def _notify_users(redis: SyncBackends, user_ids: Iterable[str], **given: Any) -> list[Receipt]:
    return redis.notifier.send_many(user_ids, Notification(None, **given))


def _broadcast(redis: SyncBackends, **given: Any) -> Receipt:
    return redis.notifier.broadcast(_to_everybody(**given))


def _stream_position(redis: SyncBackends, user_id: str) -> Position:
    return redis.streams.head(user_id)


notify_user = sync_face(anotify_user, _notify_user)
notify_users = sync_face(anotify_users, _notify_users)
broadcast = sync_face(abroadcast, _broadcast)
notify_batch = sync_face(anotify_batch)
read_stream = sync_face(aread_stream)
stream_position = sync_face(astream_position, _stream_position)


def notify_user_on_commit(
    user_id: UserId,
    event: str | Event,
    data: object = None,
    *,
    using: str | None = None,
    **options: Unpack[NotifyOptions],
) -> None:
    """Do as `notify_user` when the database transaction around this call is committed; else never.

    For code in `transaction.atomic()`: nobody hears of a row that was rolled back, or asks for one
    that is not there yet. Without a transaction it is sent at once. Wrong arguments raise here;
    what goes wrong after the commit can undo nothing any more, and is logged with the message's id.
    `using`: the database's alias. Options are those of `notify_user`.
    """
    user = as_user(user_id)
    if current_node() is None and elsewhere() is None:
        remote()  # nobody there to send it is known by now
    limit = get_conf().max_message_size
    # As it is now: what the caller does with `data` until the commit is not meant.
    name, data = unpacked(event, data)
    written = as_data(data)
    require_kept(name, written)
    compose(Notification(user, name, written, **options), limit=limit, now=0)
    transaction.on_commit(partial(_send_now, user, name, written, options), using=using)


def _send_now(user_id: str, event: str, data: Raw, options: NotifyOptions) -> None:
    try:
        notify_user(user_id, event, data, **options)
    except Exception:
        # Whatever it is: it would leave the `atomic` block of a transaction that is committed.
        logger.exception("after a commit, %s could not be sent to a user", event)
