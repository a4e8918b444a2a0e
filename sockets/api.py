"""The Python API for Django code: notify users, see who is connected, give work to workers.

Every function has an async twin whose name begins with `a`. The sync form is for threads (views,
tasks, signal handlers); on the thread of a running event loop it raises SynchronousOnlyOperation
and names the twin. The async form may be awaited on any loop. In Redis mode any process of the
project may call: web workers before and after a fork, Celery, management commands.

Errors (all `sockets.exceptions.GatewayError`): InvalidMessage and MessageTooLarge for what cannot
be sent, NoWorkerAvailable for a task that nobody takes now, GatewayUnreachable when memory mode
runs in another process than this one, GatewayUnavailable when Redis or the gateway does not answer:
its `outcome` says whether it was done, and repeating a durable notification with
`idempotency_key=error.id` never doubles it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db import transaction
from msgspec import Raw

from sockets.codes import CloseCode
from sockets.conf import get_conf
from sockets.delivery import compose, encode_json, require_user_id
from sockets.exceptions import (
    GatewayError,
    GatewayUnreachable,
    InvalidMessage,
)
from sockets.ids import parse_ulid
from sockets.layers.groups import user_group
from sockets.node.backends import SyncBackends
from sockets.node.calls import CALL_TIMEOUT, at_node, call_id, sync_face
from sockets.node.core import Addresses, Core
from sockets.node.node import Node, current_node
from sockets.node.remote import remote
from sockets.types import PoolLoad, Position, Receipt, SessionDelivery, SessionInfo, Task

__all__ = [
    "aassign_task",
    "abroadcast",
    "acancel_task",
    "adelivery_of",
    "adisconnect_session",
    "adisconnect_user",
    "ais_online",
    "anotify_user",
    "anotify_users",
    "asessions_of",
    "assign_task",
    "astream_position",
    "atask",
    "aworker_pools",
    "broadcast",
    "cancel_task",
    "client_socket_url",
    "delivery_of",
    "disconnect_session",
    "disconnect_user",
    "is_online",
    "notify_user",
    "notify_user_on_commit",
    "notify_users",
    "sessions_of",
    "stream_position",
    "task",
    "user_group",
    "worker_pools",
    "worker_socket_url",
]

logger = logging.getLogger(__name__)


async def anotify_user(
    user_id: str,
    event: str,
    data: object = None,
    *,
    durable: bool = True,
    ttl: float | None = None,
    collapse_key: str | None = None,
    idempotency_key: str | None = None,
    exclude_client: str | None = None,
) -> Receipt:
    """Notify every session of a user.

    `durable`: kept in the user's stream, so that a session that is away, slow or reconnecting gets
    it later; else only who is connected now gets it. `ttl`: seconds after which it is not worth
    delivering. `collapse_key`: replaces the user's earlier message with the same key for whoever
    has not seen that yet. `idempotency_key`: a repeated call returns the first receipt.
    `exclude_client`: the client id (ULID) that caused this and needs no echo.
    """
    return await at_node(
        lambda node: node.notifier.notify(
            user_id,
            event,
            data,
            durable=durable,
            ttl=ttl,
            collapse_key=collapse_key,
            idempotency_key=idempotency_key,
            exclude_client=exclude_client,
            id=call_id.get(),
        )
    )


async def anotify_users(
    user_ids: Iterable[str],
    event: str,
    data: object = None,
    *,
    durable: bool = True,
    ttl: float | None = None,
    collapse_key: str | None = None,
    idempotency_key: str | None = None,
    exclude_client: str | None = None,
) -> list[Receipt]:
    """`notify_user` for many: one append each, receipts in the same order.

    A user named twice is notified once.
    """
    chosen = list(user_ids)
    return await at_node(
        lambda node: node.notifier.notify_many(
            chosen,
            event,
            data,
            durable=durable,
            ttl=ttl,
            collapse_key=collapse_key,
            idempotency_key=idempotency_key,
            exclude_client=exclude_client,
            id=call_id.get(),
        )
    )


async def abroadcast(event: str, data: object = None, *, durable: bool = False) -> Receipt:
    """Tell every connected client, now or never.

    Durable to many is `notify_users`; `durable=True` here is a ValueError.
    """
    _refuse_durable_broadcast(durable)
    return await at_node(lambda node: node.notifier.broadcast(event, data))


async def ais_online(user_id: str) -> bool:
    """Whether the user has a live client session."""
    require_user_id(user_id)
    return await at_node(lambda node: node.presence.is_online(user_id))


async def asessions_of(user_id: str) -> list[SessionInfo]:
    """The user's live client sessions, oldest first."""
    require_user_id(user_id)
    return await at_node(lambda node: node.presence.sessions_of(user_id))


async def astream_position(user_id: str) -> Position:
    """Where the user's stream stands now.

    Take it before you load the data of a page and connect from it: nothing falls between.
    """
    require_user_id(user_id)
    return await at_node(lambda node: node.streams.head(user_id))


async def adelivery_of(
    user_id: str, offset: int, *, epoch: str | None = None
) -> list[SessionDelivery]:
    """What became of one durable message, for each live session of its user, oldest first.

    `offset` and `epoch` are those of its receipt; without `epoch`, of the stream as it is now. Each
    node remembers its last 10,000 decisions: what it cannot know is `unknown`, never guessed.
    """
    require_user_id(user_id)

    async def ask(node: Core) -> list[SessionDelivery]:
        chosen = (await node.streams.head(user_id)).epoch if epoch is None else epoch
        return await node.control.delivery_of(user_id, chosen, offset)

    return await at_node(ask)


async def adisconnect_user(
    user_id: str,
    *,
    client: str | None = None,
    session: str | None = None,
    code: int = CloseCode.DISCONNECTED,
    reason: str = "disconnected by the application",
) -> int:
    """Close a user's sessions, all or the one named; returns how many."""
    require_user_id(user_id)
    _require_close_code(code)
    client = client and (parse_ulid(client) or client)
    return await at_node(
        lambda node: node.control.disconnect(
            user_id, client=client, session=session, code=code, reason=reason
        )
    )


async def adisconnect_session(
    session_id: str,
    *,
    code: int = CloseCode.DISCONNECTED,
    reason: str = "disconnected by an operator",
) -> int:
    """Close one session of a client or worker; returns 1, or 0 if it is gone already."""

    _require_close_code(code)

    async def close(node: Core) -> int:
        if not isinstance(node, Node):
            raise GatewayUnreachable
        return node.sessions.close_local([session_id], code, reason)

    return await at_node(close)


async def aassign_task(
    pool: str,
    event: str,
    data: object = None,
    *,
    user_id: str | None = None,
    progress_to_user: bool = True,
    timeout: float | None = None,
    task_id: str | None = None,
) -> Task:
    """Give work to one live worker of `pool`; returns when one has accepted.

    The gateway is no job queue: raises NoWorkerAvailable if nobody is free, and a task whose worker
    vanishes is `lost`, not repeated. The job stays yours; `sockets.signals.task_…` tell its end.
    `user_id`: whom it is for. With `progress_to_user` the user's sessions get `task.progress`,
    `task.done` and so on; without, only `task.lost`. `timeout`: seconds that the running task may
    be silent before it is lost (default: TASK_TIMEOUT). `task_id`: a ULID of yours, so that you can
    store it first; repeating a call with it returns the task that there is.
    """
    if task_id is not None:
        task_id = _require_ulid(task_id)
    return await at_node(
        lambda node: node.dispatcher.assign(
            pool,
            event,
            data,
            user_id=user_id,
            progress_to_user=progress_to_user,
            timeout=timeout,
            id=call_id.get() if task_id is None else task_id,
        ),
        _assign_patience(),
    )


async def acancel_task(task_id: str) -> bool:
    """Cancel a live task; its worker is told to stop. False: it had ended, or never was."""
    return await at_node(lambda node: node.dispatcher.cancel(task_id))


async def atask(task_id: str) -> Task | None:
    """A task as it is now; None if it never was, or ended longer ago than TASK_KEEP."""
    return await at_node(lambda node: node.dispatcher.get(task_id))


async def aworker_pools() -> list[PoolLoad]:
    """The pools that have live workers, and how full they are."""
    return await at_node(lambda node: node.dispatcher.pools())


def client_socket_url() -> str:
    """Where browsers connect: CLIENT_SOCKET_URL, or the node's port on localhost."""
    return _addresses().client_socket_url


def worker_socket_url() -> str:
    """Where workers connect: WORKER_SOCKET_URL, or the node's port on localhost."""
    return _addresses().worker_socket_url


def _addresses() -> Addresses:
    node = current_node()
    return remote().addresses if node is None else node.addresses


def _refuse_durable_broadcast(durable: bool) -> None:
    """Raises ValueError."""
    if durable:
        raise ValueError("a broadcast is ephemeral; for a durable message use notify_users")


def _require_close_code(code: int) -> None:
    """RFC 6455 section 7.4: what a close frame may carry. Raises InvalidMessage."""
    if not ((1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999):
        raise InvalidMessage(f"{code} is no close code that can be sent: use 4000 to 4999")


def _require_ulid(id: str) -> str:
    """In its canonical form. Raises InvalidMessage."""
    ulid = parse_ulid(id) if isinstance(id, str) else None
    if ulid is None:
        raise InvalidMessage("a task id is a ULID: 26 characters, such as str(ulid.ULID())")
    return ulid


def _assign_patience() -> float:
    """The last worker may be asked just before the limit for all of them."""
    conf = get_conf()
    return conf.task_assign_timeout + conf.task_accept_timeout + CALL_TIMEOUT


def _notify_user(redis: SyncBackends, user_id: str, **given: Any) -> Receipt:
    return redis.notifier.notify(user_id, **given)


def _notify_users(redis: SyncBackends, user_ids: Iterable[str], **given: Any) -> list[Receipt]:
    return redis.notifier.notify_many(user_ids, **given)


def _broadcast(redis: SyncBackends, event: str, data: object, durable: bool) -> Receipt:
    _refuse_durable_broadcast(durable)
    return redis.notifier.broadcast(event, data)


def _is_online(redis: SyncBackends, user_id: str) -> bool:
    require_user_id(user_id)
    return redis.presence.is_online(user_id)


def _sessions_of(redis: SyncBackends, user_id: str) -> list[SessionInfo]:
    require_user_id(user_id)
    return redis.presence.sessions_of(user_id)


def _stream_position(redis: SyncBackends, user_id: str) -> Position:
    require_user_id(user_id)
    return redis.streams.head(user_id)


notify_user = sync_face(anotify_user, _notify_user)
notify_users = sync_face(anotify_users, _notify_users)
broadcast = sync_face(abroadcast, _broadcast)
is_online = sync_face(ais_online, _is_online)
sessions_of = sync_face(asessions_of, _sessions_of)
stream_position = sync_face(astream_position, _stream_position)
delivery_of = sync_face(adelivery_of)
disconnect_user = sync_face(adisconnect_user)
disconnect_session = sync_face(adisconnect_session)
assign_task = sync_face(aassign_task, patience=_assign_patience)
cancel_task = sync_face(acancel_task)
task = sync_face(atask)
worker_pools = sync_face(aworker_pools)


def notify_user_on_commit(
    user_id: str,
    event: str,
    data: object = None,
    *,
    using: str | None = None,
    **options: Any,
) -> None:
    """`notify_user` when the database transaction around this call is committed; else never.

    For code in `transaction.atomic()`: nobody hears of a row that was rolled back, or asks for one
    that is not there yet. Without a transaction it is sent at once. Wrong arguments raise here;
    what goes wrong after the commit can undo nothing any more, and is logged with the message's id.
    `using`: the database's alias. Options are those of `notify_user`.
    """
    require_user_id(user_id)
    if current_node() is None:
        remote()  # nobody there to send it is known by now
    limit = get_conf().max_message_size
    # As it is now: what the caller does with `data` until the commit is not meant.
    written = Raw(encode_json(data, limit))
    compose(event, written, limit=limit, now=0, **options)
    transaction.on_commit(partial(_send, user_id, event, written, options), using=using)


def _send(user_id: str, event: str, data: Raw, options: dict[str, Any]) -> None:
    try:
        notify_user(user_id, event, data, **options)
    except GatewayError:
        logger.exception("after a commit, %s could not be sent to a user", event)
