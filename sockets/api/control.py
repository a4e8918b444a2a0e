"""Sessions are closed, users blocked, nodes listed and drained."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from sockets.api.carry import CALL_TIMEOUT, at_node, register, sync_face
from sockets.api.elsewhere import addresses
from sockets.api.given import given
from sockets.api.users import UserId, as_user
from sockets.base import audit
from sockets.base.ids import MAX_PROOF_ID, is_proof_id, parse_ulid
from sockets.codes import CloseCode
from sockets.conf import get_conf
from sockets.exceptions import InvalidMessage
from sockets.node.core import Addresses, Core
from sockets.node.current import current_node
from sockets.presence.revocation import USER, login, token
from sockets.sessions.control import CLOSE_MARGIN
from sockets.types import Audit, Disconnected, NodeInfo, SessionInfo, SessionPage, SessionPlace

MAX_LISTED = 10_000
"""Sessions in one list."""

CLOCK_SKEW = 60.0
"""Seconds that a caller's clock may be ahead of the state store's."""

_LAST_MOMENT = 253_402_300_800.0
"""The end of the year 9999, seconds since the epoch."""

_LONGEST_BLOCK = 100 * 366 * 86_400.0
"""Seconds for which a user is blocked, where they are named."""


@given(user_id=as_user)
async def adisconnect_user(
    user_id: UserId,
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
    user = str(user_id)
    _require_close(code, reason)
    client = None if client is None else _require_id(client)
    session = None if session is None else _require_id(session)
    spared = _require_ids(keep)
    done = await at_node(
        lambda node: node.control.disconnect(
            user, client=client, session=session, keep=spared, code=code, reason=reason
        ),
        close_patience(),
    )
    _audit(Audit.DISCONNECTED, done, user=user, client=client or "", session=session or "")
    return done


@given(user_id=as_user)
async def ablock_user(
    user_id: UserId,
    until: float | datetime | None = None,
    *,
    seconds: float | None = None,
    reason: str = "this user is blocked",
) -> Disconnected:
    """Let a user in no more, and close all sessions (4507).

    `until`: an aware datetime, or seconds since the epoch, by the clock of the state store; or
    `seconds` from now by that clock, whatever the caller's says; neither: until `unblock_user`.
    """
    user = str(user_id)
    _require_close(CloseCode.BLOCKED, reason)
    end = None if until is None else _seconds(until, "until")
    length = None if seconds is None else _length(seconds, end)

    async def block(node: Core) -> Disconnected:
        at = end if length is None else await node.presence.now() + length
        return await node.control.block(user, at, CloseCode.BLOCKED, reason)

    done = await at_node(block, close_patience())
    length_said = "" if length is None else length
    _audit(Audit.BLOCKED, done, user=user, until=end, seconds=length_said, reason=reason)
    return done


@given(user_id=as_user)
async def aunblock_user(user_id: UserId) -> bool:
    """Let a blocked user in again; whether they were blocked."""
    user = str(user_id)
    was = await at_node(lambda node: node.presence.unblock(user))
    audit.record(Audit.UNBLOCKED, user=user, was=was)
    return was


@given(user_id=as_user)
async def arevoke(
    user_id: UserId,
    *,
    sid: str | None = None,
    jti: str | None = None,
    before: float | datetime | None = None,
) -> Disconnected:
    """Revoke what a user had proved: close (4508) and refuse whoever is here by it.

    All that was issued before, or one login (`sid`), or one token (`jti`). `before`: an aware
    datetime, or seconds since the epoch; None: now. A token is dated by its `iat`; one without is
    always from before. It is remembered for 30 days. A token of the same second as the revocation
    is refused with 4003: the client comes back with a new one.
    """
    user = str(user_id)
    return await _revoked(user, sid, jti, None if before is None else _seconds(before, "before"))


@given(user_id=as_user)
async def arevoke_till_now(
    user_id: UserId, *, sid: str | None = None, jti: str | None = None, before: float | None = None
) -> Disconnected:
    """Revoke as `arevoke` does, but a `before` that is to come means now."""
    user = str(user_id)
    return await _revoked(user, sid, jti, before, far_is_now=True)


async def _revoked(
    user_id: str,
    sid: str | None,
    jti: str | None,
    before: float | None,
    *,
    far_is_now: bool = False,
) -> Disconnected:
    if sid is not None and jti is not None:
        raise InvalidMessage("sid and jti are two things: revoke one after the other")
    name = USER
    if sid is not None:
        name = login(_require_proof(sid))
    if jti is not None:
        name = token(_require_proof(jti))

    async def revoke(node: Core) -> Disconnected:
        at = before
        if at is not None:
            now = await node.presence.now()
            if at > now + CLOCK_SKEW and not far_is_now:
                raise InvalidMessage("before is in the future: to keep somebody out use block_user")
            # By the same clock as what is proved from now on: that must not be refused.
            at = min(at, now)
        return await node.control.revoke(user_id, name, at)

    done = await at_node(revoke, close_patience())
    _audit(Audit.REVOKED, done, user=user_id, what=name, before=before)
    return done


@given()
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
    return next(iter(closed.values()), Disconnected(0))


@given()
async def adisconnect_sessions(
    session_ids: Iterable[str],
    *,
    code: int = CloseCode.DISCONNECTED,
    reason: str = "disconnected by an operator",
) -> dict[str, Disconnected]:
    """Do as `disconnect_session` for many at once; those that no node has are left out."""
    _require_close(code, reason)
    chosen = _require_ids(session_ids)
    closed = await at_node(
        lambda node: node.control.disconnect_sessions(chosen, code, reason), close_patience()
    )
    for id, done in closed.items():
        _audit(Audit.DISCONNECTED, done, session=id)
    return closed


@given()
async def anodes() -> list[NodeInfo]:
    """Return the gateway processes that live, by name."""
    return await at_node(lambda node: node.nodes.all())


@given()
async def alive_sessions(*, node: str | None = None, limit: int = 200) -> list[SessionInfo]:
    """Return at most `limit` live sessions of clients and workers, of a node or all, oldest first.

    Where there are more, they are chosen at random. `limit`: 1 to 10,000.
    """
    _require_limit(limit)
    return await at_node(lambda core: core.control.sessions(node, limit))


@given()
async def asession_page(
    *, node: str | None = None, cursor: str | None = None, limit: int = 200
) -> SessionPage:
    """Live sessions of clients and workers, of one node or all, about `limit` users at a time.

    `cursor`: the `next` of the page before. Whoever is connected all the while is in one of the
    pages; somebody may be in two. `limit`: 1 to 10,000.
    """
    _require_limit(limit)
    at = _place_of(cursor)
    found, after = await at_node(lambda core: core.control.page_of_sessions(node, at, limit))
    return SessionPage(found, None if after is None else _cursor_of(after))


def _cursor_of(place: SessionPlace) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _place_of(cursor: str | None) -> SessionPlace:
    """Raises InvalidMessage."""
    if cursor is None:
        return SessionPlace()
    try:
        raw = urlsafe_b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}")
        return msgspec.json.decode(raw, type=SessionPlace)
    except (ValueError, TypeError):  # msgspec's errors are such
        raise InvalidMessage("this is no cursor of a page of sessions: begin without") from None


@given()
async def adrain_node(name: str) -> bool:
    """Ask a node to send its clients to the others and end, as SIGTERM does.

    Whether it has heard; False: no such node lives, or it does not answer.
    """
    if not isinstance(name, str):
        raise InvalidMessage("a node is named by its NODE_NAME, a string")
    heard = await at_node(lambda node: node.control.drain(name))
    audit.record(Audit.DRAINED, node=name, heard=heard)
    return heard


def _audit(kind: Audit, done: Disconnected, **details: Any) -> None:
    audit.record(kind, **details, closed=done.closed, unconfirmed=done.unconfirmed)


def _require_limit(limit: int) -> None:
    """Raises InvalidMessage."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LISTED:
        raise InvalidMessage(f"limit is a number from 1 to {MAX_LISTED}")


def _require_id(id: str) -> str:
    """Return an id in its canonical form. Raises InvalidMessage: a wrong one never means "all"."""
    found = parse_ulid(id) if isinstance(id, str) else None
    if found is None:
        raise InvalidMessage("the id of a client or a session is a ULID, 26 characters")
    return found


def _require_ids(ids: Iterable[str]) -> list[str]:
    """Raises InvalidMessage."""
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise InvalidMessage("this takes a list of ids, and was given something else")
    return [_require_id(id) for id in ids]


def _require_close(code: int, reason: str) -> None:
    """RFC 6455 section 7.4: what a close frame may carry. Raises InvalidMessage."""
    if not _is_text(reason):
        raise InvalidMessage("reason is a string of UTF-8")
    if isinstance(code, bool) or not isinstance(code, int):
        raise InvalidMessage("code is a number: use 4000 to 4999")
    if not ((1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999):
        raise InvalidMessage(f"{code} is no close code that can be sent: use 4000 to 4999")


def _is_text(value: object) -> bool:
    """Return whether a value is a string that can be sent; a lone surrogate has no UTF-8."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _require_proof(id: str) -> str:
    """Return the id of a login or a token. Raises InvalidMessage."""
    if not is_proof_id(id):
        raise InvalidMessage(f"sid and jti are strings of 1 to {MAX_PROOF_ID} characters")
    return id


def _seconds(at: float | datetime, name: str) -> float:
    """Since the epoch. Raises InvalidMessage."""
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise InvalidMessage(
                f"{name} is a datetime without a time zone: use django.utils.timezone"
            )
        at = at.timestamp()
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise InvalidMessage(f"{name} is an aware datetime, or seconds since the epoch")
    if not 0 <= at <= _LAST_MOMENT:
        raise InvalidMessage(f"{name} is not within the years 1970 to 9999: is it in milliseconds?")
    return at


def _length(seconds: float, until: float | None) -> float:
    """Raises InvalidMessage."""
    if until is not None:
        raise InvalidMessage("a block has an end by one of until and seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidMessage("seconds is a number")
    if not 0 < seconds <= _LONGEST_BLOCK:
        raise InvalidMessage(f"seconds is above 0, and at most {_LONGEST_BLOCK:.0f}")
    return float(seconds)


def close_patience(*_: object, **__: object) -> float:
    """Return how long to wait: for the peers' half of the handshake, and the nodes' answers."""
    return get_conf().close_timeout + CLOSE_MARGIN + CALL_TIMEOUT


disconnect_user = sync_face(adisconnect_user, patience=close_patience)
block_user = sync_face(ablock_user, patience=close_patience)
unblock_user = sync_face(aunblock_user)
revoke = sync_face(arevoke, patience=close_patience)
disconnect_session = sync_face(adisconnect_session, patience=close_patience)
disconnect_sessions = sync_face(adisconnect_sessions, patience=close_patience)
nodes = sync_face(anodes)
live_sessions = sync_face(alive_sessions)
session_page = sync_face(asession_page)
drain_node = sync_face(adrain_node)
register(arevoke_till_now, close_patience)


def client_socket_url() -> str:
    """Return where browsers connect: CLIENT_SOCKET_URL, or the node's port on localhost."""
    return _addresses().client_socket_url


def worker_socket_url() -> str:
    """Return where workers connect: WORKER_SOCKET_URL, or the node's port on localhost."""
    return _addresses().worker_socket_url


def _addresses() -> Addresses:
    node = current_node()
    return addresses() if node is None else node.addresses
