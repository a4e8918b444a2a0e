"""The Python API for Django code: notify users, see who is connected, give work to workers.

Every function has an async twin whose name begins with `a`. The sync form is for threads (views,
tasks, signal handlers); on the thread of a running event loop it raises SynchronousOnlyOperation
and names the twin. The async form may be awaited on any loop.

Errors (all `sockets.exceptions.GatewayError`): InvalidMessage and MessageTooLarge for what cannot
be sent, NoWorkerAvailable for a task that nobody takes now, GatewayUnreachable when memory mode
runs in another process than this one, GatewayUnavailable when the gateway does not answer.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from sockets.codes import CloseCode
from sockets.conf import get_conf
from sockets.delivery import require_user_id
from sockets.exceptions import GatewayUnavailable, GatewayUnreachable, InvalidMessage
from sockets.ids import new_id, parse_ulid
from sockets.layers.groups import user_group
from sockets.node.node import Node, current_node
from sockets.types import PoolLoad, Position, Receipt, SessionInfo, Task

__all__ = [
    "aassign_task",
    "abroadcast",
    "acancel_task",
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
    "disconnect_session",
    "disconnect_user",
    "is_online",
    "notify_user",
    "notify_users",
    "sessions_of",
    "stream_position",
    "task",
    "user_group",
    "worker_pools",
    "worker_socket_url",
]

CALL_TIMEOUT = 5.0
"""Seconds that a call from another thread waits for the gateway's loop."""

_call_id: ContextVar[str | None] = ContextVar("gateway_call_id", default=None)
"""Of the message or task that a sync call is sending: known before the outcome is."""

P = ParamSpec("P")
T = TypeVar("T")


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
    return await _at_node(
        lambda node: node.notifier.notify(
            user_id,
            event,
            data,
            durable=durable,
            ttl=ttl,
            collapse_key=collapse_key,
            idempotency_key=idempotency_key,
            exclude_client=exclude_client,
            id=_call_id.get(),
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
    return await _at_node(
        lambda node: node.notifier.notify_many(
            chosen,
            event,
            data,
            durable=durable,
            ttl=ttl,
            collapse_key=collapse_key,
            idempotency_key=idempotency_key,
            exclude_client=exclude_client,
            id=_call_id.get(),
        )
    )


async def abroadcast(event: str, data: object = None, *, durable: bool = False) -> Receipt:
    """Tell every connected client, now or never.

    Durable to many is `notify_users`; `durable=True` here is a ValueError.
    """
    if durable:
        raise ValueError("a broadcast is ephemeral; for a durable message use notify_users")
    return await _at_node(lambda node: node.notifier.broadcast(event, data))


async def ais_online(user_id: str) -> bool:
    """Whether the user has a live client session."""
    require_user_id(user_id)
    return await _at_node(lambda node: node.presence.is_online(user_id))


async def asessions_of(user_id: str) -> list[SessionInfo]:
    """The user's live client sessions, oldest first."""
    require_user_id(user_id)
    return await _at_node(lambda node: node.presence.sessions_of(user_id))


async def astream_position(user_id: str) -> Position:
    """Where the user's stream stands now.

    Take it before you load the data of a page and connect from it: nothing falls between.
    """
    require_user_id(user_id)
    return await _at_node(lambda node: node.streams.head(user_id))


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
    return await _at_node(
        lambda node: node.sessions.disconnect(
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

    async def close(node: Node) -> int:
        return node.sessions.close_local([session_id], code, reason)

    return await _at_node(close)


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
    return await _at_node(
        lambda node: node.dispatcher.assign(
            pool,
            event,
            data,
            user_id=user_id,
            progress_to_user=progress_to_user,
            timeout=timeout,
            id=_call_id.get() if task_id is None else task_id,
        ),
        _assign_patience(),
    )


async def acancel_task(task_id: str) -> bool:
    """Cancel a live task; its worker is told to stop. False: it had ended, or never was."""
    return await _at_node(lambda node: node.dispatcher.cancel(task_id))


async def atask(task_id: str) -> Task | None:
    """A task as it is now; None if it never was, or ended longer ago than TASK_KEEP."""
    return await _at_node(lambda node: node.dispatcher.get(task_id))


async def aworker_pools() -> list[PoolLoad]:
    """The pools that have live workers, and how full they are."""
    return await _at_node(lambda node: node.dispatcher.pools())


def client_socket_url() -> str:
    """Where browsers connect: CLIENT_SOCKET_URL, or the real port on localhost."""
    return _node().client_socket_url


def worker_socket_url() -> str:
    """Where workers connect: WORKER_SOCKET_URL, or the real port on localhost."""
    return _node().worker_socket_url


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


# --- carrying a call to the node's loop


def _node() -> Node:
    node = current_node()
    if node is None:
        raise GatewayUnreachable
    return node


async def _at_node(
    call: Callable[[Node], Coroutine[Any, Any, T]], patience: float = CALL_TIMEOUT
) -> T:
    node = _node()
    if node.loop is asyncio.get_running_loop():
        return await call(node)
    if node.loop.is_closed():
        raise GatewayUnreachable
    future = asyncio.run_coroutine_threadsafe(call(node), node.loop)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), patience)
    except TimeoutError:
        raise _no_answer(_call_id.get() or "", patience) from None


def _assign_patience() -> float:
    """The last worker may be asked just before the limit for all of them."""
    conf = get_conf()
    return conf.task_assign_timeout + conf.task_accept_timeout + CALL_TIMEOUT


def _no_answer(id: str, patience: float) -> GatewayUnavailable:
    text = f"the gateway did not answer in {patience:g} s"
    return GatewayUnavailable(text, outcome="unknown", id=id)


def _sync(
    twin: Callable[P, Coroutine[Any, Any, T]], patience: Callable[[], float] = lambda: CALL_TIMEOUT
) -> Callable[P, T]:
    """The sync face of an async function: no event loop is made, the node's own runs it."""
    name = twin.__name__.removeprefix("a")

    @wraps(twin)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise SynchronousOnlyOperation(
                f"{name}() blocks, and this thread runs an event loop: "
                f"use `await {twin.__name__}(…)`"
            )
        loop = _node().loop
        id = new_id() if name.startswith(("notify", "assign")) else ""
        id = str(kwargs.get("task_id") or id)
        before = _call_id.set(id or None)
        try:
            # The loop's task begins with a copy of this thread's context.
            future = asyncio.run_coroutine_threadsafe(twin(*args, **kwargs), loop)
        finally:
            _call_id.reset(before)
        try:
            return future.result(seconds := patience())
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise _no_answer(id, seconds) from None

    call.__name__ = call.__qualname__ = name
    return call


notify_user = _sync(anotify_user)
notify_users = _sync(anotify_users)
broadcast = _sync(abroadcast)
is_online = _sync(ais_online)
sessions_of = _sync(asessions_of)
stream_position = _sync(astream_position)
disconnect_user = _sync(adisconnect_user)
disconnect_session = _sync(adisconnect_session)
assign_task = _sync(aassign_task, _assign_patience)
cancel_task = _sync(acancel_task)
task = _sync(atask)
worker_pools = _sync(aworker_pools)
