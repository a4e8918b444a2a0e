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

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import chain, repeat
from math import isfinite
from typing import Any

from django.db import transaction
from msgspec import Raw

from sockets.codes import CloseCode
from sockets.conf import get_conf
from sockets.control import CLOSE_MARGIN
from sockets.delivery import compose, encode_json, require_user_id
from sockets.exceptions import (
    GatewayError,
    InvalidMessage,
)
from sockets.ids import parse_ulid
from sockets.layers.groups import user_group
from sockets.node.backends import SyncBackends
from sockets.node.calls import CALL_TIMEOUT, at_node, call_id, sync_face
from sockets.node.core import Addresses, Core
from sockets.node.node import current_node
from sockets.node.remote import remote
from sockets.types import (
    Disconnected,
    NodeInfo,
    PoolLoad,
    Position,
    PresenceAnswer,
    Receipt,
    SessionDelivery,
    SessionInfo,
    Task,
    UserPresence,
)

__all__ = [
    "aassign_task",
    "ablock_user",
    "abroadcast",
    "acancel_task",
    "adelivery_of",
    "adisconnect_session",
    "adisconnect_sessions",
    "adisconnect_user",
    "adrain_node",
    "ais_online",
    "alive_sessions",
    "anodes",
    "anotify_user",
    "anotify_users",
    "apresence_of",
    "apresence_of_users",
    "asessions_of",
    "assign_task",
    "astream_position",
    "atask",
    "aunblock_user",
    "await_until_online",
    "aworker_pools",
    "block_user",
    "broadcast",
    "cancel_task",
    "client_socket_url",
    "delivery_of",
    "disconnect_session",
    "disconnect_sessions",
    "disconnect_user",
    "drain_node",
    "is_online",
    "live_sessions",
    "nodes",
    "notify_user",
    "notify_user_on_commit",
    "notify_users",
    "presence_of",
    "presence_of_users",
    "sessions_of",
    "stream_position",
    "task",
    "unblock_user",
    "user_group",
    "wait_until_online",
    "worker_pools",
    "worker_socket_url",
]

logger = logging.getLogger(__name__)

MAX_ASKED = 10_000
"""Users in one question about presence."""

WAIT_INTERVAL = 0.5
"""Seconds between two looks of `wait_until_online`."""


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


async def apresence_of(user_id: str) -> UserPresence:
    """How a user stands: connected, in grace or offline; the live sessions; when last seen."""
    require_user_id(user_id)
    return await at_node(lambda node: node.presence.look(user_id))


async def apresence_of_users(user_ids: Iterable[str]) -> PresenceAnswer:
    """`presence_of` for at most 10,000 users.

    Where a shard of a Redis Cluster does not answer, its users are `unknown` and the answer is
    `partial`.
    """
    chosen = _require_users(user_ids)
    return await at_node(lambda node: node.presence.look_at(chosen))


async def await_until_online(user_id: str, timeout: float) -> bool:
    """Wait until the user has a live session, at most `timeout` seconds; whether that is so."""
    require_user_id(user_id)
    patience = _wait_patience(user_id, timeout)

    async def wait(node: Core) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for pause in chain((0.05, 0.1, 0.2), repeat(WAIT_INTERVAL)):
                    if await node.presence.is_online(user_id):
                        return True
                    await asyncio.sleep(pause)
        return await node.presence.is_online(user_id)

    return await at_node(wait, patience)


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
    keep: Iterable[str] = (),
    code: int = CloseCode.DISCONNECTED,
    reason: str = "disconnected by the application",
) -> Disconnected:
    """Close a user's sessions wherever they are, all or those named; returns when they are closed.

    `client`, `session`: only those of this client id, or this one; `keep`: ids of clients or
    sessions to spare ("log out everywhere else"). From the call on they are out of presence. A node
    that does not answer within CLOSE_TIMEOUT is not waited for: its sessions count as unconfirmed,
    and it closes them when it can.
    """
    require_user_id(user_id)
    _require_close_code(code)
    client = client and (parse_ulid(client) or client)
    if isinstance(keep, str):
        raise InvalidMessage("keep is a list of ids, not one")
    spared = [parse_ulid(id) or id for id in keep]
    return await at_node(
        lambda node: node.control.disconnect(
            user_id, client=client, session=session, keep=spared, code=code, reason=reason
        ),
        _close_patience(),
    )


async def ablock_user(
    user_id: str,
    until: float | datetime | None = None,
    *,
    reason: str = "this user is blocked",
) -> Disconnected:
    """Let a user in no more, and close all sessions (4507).

    `until`: an aware datetime, or seconds since the epoch; None: until `unblock_user`.
    """
    require_user_id(user_id)
    seconds = None if until is None else _seconds_until(until)
    return await at_node(
        lambda node: node.control.block(user_id, seconds, CloseCode.BLOCKED, reason),
        _close_patience(),
    )


async def aunblock_user(user_id: str) -> bool:
    """Let a blocked user in again; whether they were blocked."""
    require_user_id(user_id)
    return await at_node(lambda node: node.presence.unblock(user_id))


async def adisconnect_session(
    session_id: str,
    *,
    code: int = CloseCode.DISCONNECTED,
    reason: str = "disconnected by an operator",
) -> Disconnected:
    """Close one session of a client or worker, wherever it is.

    Returns when it is closed; `Disconnected(0)`: no node has it.
    """
    closed = await adisconnect_sessions([session_id], code=code, reason=reason)
    return closed.get(session_id, Disconnected(0))


async def adisconnect_sessions(
    session_ids: Iterable[str],
    *,
    code: int = CloseCode.DISCONNECTED,
    reason: str = "disconnected by an operator",
) -> dict[str, Disconnected]:
    """`disconnect_session` for many at once; those that no node has are left out."""
    _require_close_code(code)
    chosen = list(session_ids)
    return await at_node(
        lambda node: node.control.disconnect_sessions(chosen, code, reason), _close_patience()
    )


async def anodes() -> list[NodeInfo]:
    """The gateway processes that live, by name."""
    return await at_node(lambda node: node.nodes.all())


async def alive_sessions(*, node: str | None = None, limit: int = 200) -> list[SessionInfo]:
    """At most `limit` live sessions of clients and workers, of one node or all, oldest first."""
    return await at_node(lambda core: core.control.sessions(node, limit))


async def adrain_node(name: str) -> bool:
    """Ask a node to send its clients to the others and end, as SIGTERM does.

    Whether it has heard; False: no such node lives, or it does not answer.
    """
    return await at_node(lambda node: node.control.drain(name))


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


def _wait_patience(user_id: str, timeout: float) -> float:
    """Raises InvalidMessage."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise InvalidMessage("timeout is a number of seconds")
    return timeout + CALL_TIMEOUT


def _require_users(user_ids: Iterable[str]) -> list[str]:
    """Raises InvalidMessage."""
    chosen = list(user_ids)
    if len(chosen) > MAX_ASKED:
        raise InvalidMessage(f"{len(chosen)} users at once: ask for at most {MAX_ASKED}")
    for user_id in chosen:
        require_user_id(user_id)
    return chosen


def _seconds_until(until: float | datetime) -> float:
    """From now on, at least a moment. Raises InvalidMessage."""
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise InvalidMessage(
                "until is a datetime without a time zone: use django.utils.timezone"
            )
        until = until.timestamp()
    if isinstance(until, bool) or not isinstance(until, int | float) or not isfinite(until):
        raise InvalidMessage("until is an aware datetime, or seconds since the epoch")
    return max(0.001, until - time.time())


def _close_patience(*_: object, **__: object) -> float:
    """The peers' half of the closing handshake, and the answers of the nodes."""
    return get_conf().close_timeout + CLOSE_MARGIN + CALL_TIMEOUT


def _require_ulid(id: str) -> str:
    """In its canonical form. Raises InvalidMessage."""
    ulid = parse_ulid(id) if isinstance(id, str) else None
    if ulid is None:
        raise InvalidMessage("a task id is a ULID: 26 characters, such as str(ulid.ULID())")
    return ulid


def _assign_patience(*_: object, **__: object) -> float:
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


def _presence_of(redis: SyncBackends, user_id: str) -> UserPresence:
    require_user_id(user_id)
    return redis.presence.look(user_id)


def _presence_of_users(redis: SyncBackends, user_ids: Iterable[str]) -> PresenceAnswer:
    return redis.presence.look_at(_require_users(user_ids))


def _wait_until_online(redis: SyncBackends, user_id: str, timeout: float) -> bool:
    require_user_id(user_id)
    _wait_patience(user_id, timeout)
    deadline = time.monotonic() + timeout
    for pause in chain((0.05, 0.1, 0.2), repeat(WAIT_INTERVAL)):
        left = deadline - time.monotonic()
        if redis.presence.is_online(user_id) or left <= 0:
            break
        time.sleep(min(pause, left))
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
presence_of = sync_face(apresence_of, _presence_of)
presence_of_users = sync_face(apresence_of_users, _presence_of_users)
disconnect_user = sync_face(adisconnect_user, patience=_close_patience)
disconnect_session = sync_face(adisconnect_session, patience=_close_patience)
disconnect_sessions = sync_face(adisconnect_sessions, patience=_close_patience)
block_user = sync_face(ablock_user, patience=_close_patience)
unblock_user = sync_face(aunblock_user)
wait_until_online = sync_face(await_until_online, _wait_until_online, patience=_wait_patience)
nodes = sync_face(anodes)
live_sessions = sync_face(alive_sessions)
drain_node = sync_face(adrain_node)
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
