"""Sessions are closed, users blocked, nodes listed and drained."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from math import isfinite

from sockets.codes import CloseCode
from sockets.conf import get_conf
from sockets.control import CLOSE_MARGIN
from sockets.delivery import require_user_id
from sockets.exceptions import InvalidMessage
from sockets.ids import parse_ulid
from sockets.node.calls import CALL_TIMEOUT, at_node, sync_face
from sockets.node.core import Addresses
from sockets.node.node import current_node
from sockets.node.remote import remote
from sockets.types import Disconnected, NodeInfo, SessionInfo


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


def _require_close_code(code: int) -> None:
    """RFC 6455 section 7.4: what a close frame may carry. Raises InvalidMessage."""
    if not ((1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999):
        raise InvalidMessage(f"{code} is no close code that can be sent: use 4000 to 4999")


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


disconnect_user = sync_face(adisconnect_user, patience=_close_patience)
block_user = sync_face(ablock_user, patience=_close_patience)
unblock_user = sync_face(aunblock_user)
disconnect_session = sync_face(adisconnect_session, patience=_close_patience)
disconnect_sessions = sync_face(adisconnect_sessions, patience=_close_patience)
nodes = sync_face(anodes)
live_sessions = sync_face(alive_sessions)
drain_node = sync_face(adrain_node)


def client_socket_url() -> str:
    """Where browsers connect: CLIENT_SOCKET_URL, or the node's port on localhost."""
    return _addresses().client_socket_url


def worker_socket_url() -> str:
    """Where workers connect: WORKER_SOCKET_URL, or the node's port on localhost."""
    return _addresses().worker_socket_url


def _addresses() -> Addresses:
    node = current_node()
    return remote().addresses if node is None else node.addresses
