"""The calls of the HTTP API, each described once: what it asks, and what it makes of the answer.

`client.py` gives every one of them two faces. A call raises GatewayError and what is under it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from gateway_client.errors import GatewayError, InvalidRequest, PositionGone, UnexpectedAnswer
from gateway_client.exchange import Call, Request, Response
from gateway_client.models import (
    AssignedTask,
    Disconnected,
    Node,
    Notification,
    Page,
    Position,
    Presence,
    Receipt,
    Session,
    SessionDelivery,
    StoredMessage,
    UserId,
)
from gateway_client.reports import (
    EndedTrace,
    Explanation,
    Forgotten,
    LedgerEntry,
    LiveSessions,
    Overview,
    Refusals,
    SessionReport,
    Trace,
    UserReport,
    Workers,
)
from gateway_client.wire import new_ulid, to_json, user_id, without_none

T = TypeVar("T")

MAX_BATCH, MAX_BATCH_BYTES = 1_000, 4_000_000
MAX_ASKED = 10_000
_ASSIGNING, _CLOSING, _FORGETTING = 20.0, 10.0, 60.0
"""Seconds that a worker may take to accept, and sockets to close."""


# --- notifications


def notify_user(
    user: UserId,
    event: str,
    data: Any = None,
    *,
    durable: bool = True,
    ttl: float | None = None,
    collapse_key: str | None = None,
    idempotency_key: str | None = None,
    exclude_client: str | None = None,
) -> Call[Receipt]:
    """Notify every session of a user.

    `durable`: kept in the user's stream, so that a session that is away gets it later. `ttl`:
    seconds after which it is not worth delivering. `collapse_key`: replaces the user's earlier
    message with this key. `idempotency_key`: a repetition within 5 minutes gets the first receipt;
    without one a durable message gets one of its own, so that it can be sent again after a fault.
    `exclude_client`: the client that caused this and needs no echo.
    """
    body = without_none(
        event=event,
        data=data,
        durable=None if durable else False,
        ttl=ttl,
        collapse_key=collapse_key,
        exclude_client=exclude_client,
        idempotency_key=idempotency_key or (secrets.token_urlsafe(16) if durable else None),
    )
    path = f"{_user(user)}/messages"
    return (yield from _post(Receipt, path, body, repeatable=durable))


def notify_users(
    users: Iterable[UserId],
    event: str,
    data: Any = None,
    *,
    durable: bool = True,
    ttl: float | None = None,
    collapse_key: str | None = None,
    exclude_client: str | None = None,
    idempotency_key: str | None = None,
) -> Call[list[Receipt]]:
    """Notify many users of the same; receipts come in their order. Options as of `notify_user`."""
    many = [
        Notification(
            user=user,
            event=event,
            data=data,
            durable=durable,
            ttl=ttl,
            collapse_key=collapse_key,
            exclude_client=exclude_client,
        )
        for user in users
    ]
    return (yield from notify_batch(many, idempotency_key=idempotency_key))


def notify_batch(
    notifications: Iterable[Notification], *, idempotency_key: str | None = None
) -> Call[list[Receipt]]:
    """Send many notifications, each to its user; receipts come in their order.

    At most 1,000 (or 4 MB) go in one request, and of one request none is sent if one of them is
    wrong. Of a larger batch the requests before may have been: the error's `receipts` are theirs.
    `idempotency_key` stands for all durable messages without one of their own, each by its place;
    repeat a call as it was.
    """
    key = idempotency_key or secrets.token_urlsafe(16)
    if len(key) > 240:
        raise InvalidRequest("the idempotency key of a batch has at most 240 characters")
    receipts: list[Receipt] = []
    try:
        for place, (written, safe) in enumerate(_parts(notifications)):
            request = Request(
                "POST",
                "messages/batch",
                b'{"messages":[%b]}' % b",".join(written),
                idempotency_key=f"{key}/{place}" if place else key,
                repeatable=safe,
            )
            receipts += _read((yield request), _Receipts).receipts
    except GatewayError as error:
        error.receipts = receipts
        raise
    return receipts


def broadcast(event: str, data: Any = None, *, exclude_client: str | None = None) -> Call[Receipt]:
    """Notify every connected client, now or never."""
    body = without_none(event=event, data=data, exclude_client=exclude_client)
    return (yield from _post(Receipt, "broadcast", body, repeatable=False))


# --- a user's stream


def stream_position(user: UserId) -> Call[Position]:
    """Return the position of a user's stream as it is now.

    Take it before you load the data of a page: the browser connects from it, and misses nothing.
    """
    return (yield from _get(Position, f"{_user(user)}/position"))


def read_stream(
    user: UserId, *, epoch: str | None = None, offset: int = 0, limit: int = 100
) -> Call[Page]:
    """Return a page of the durable messages after a position, oldest first.

    Without `epoch`: of the stream as it is now. `limit`: 1 to 1,000.
    """
    asked = without_none(epoch=epoch, offset=offset, limit=limit)
    return (yield from _get(Page, f"{_user(user)}/messages", asked))


def delivery_of(
    user: UserId, offset: int, *, epoch: str | None = None
) -> Call[list[SessionDelivery]]:
    """Return what became of a durable message at each live session of its user, oldest first.

    `offset` and `epoch` are those of its receipt.
    """
    path = f"{_user(user)}/messages/{int(offset)}/delivery"
    return (yield from _get(_Deliveries, path, without_none(epoch=epoch))).sessions


def explain_delivery(
    user: UserId,
    offset: int | None = None,
    *,
    epoch: str | None = None,
    message: str | None = None,
) -> Call[Explanation]:
    """Return what became of a durable message for each client of its user, connected or away, and
    how that came about.

    Give its `offset` (and the `epoch` of its receipt), or `message`: its id or idempotency key.
    """
    if (offset is None) is (message is None):
        raise InvalidRequest("give the offset of a message, or its id or idempotency key")
    if offset is None:
        path, asked = f"{_user(user)}/delivery", without_none(message=message)
    else:
        path = f"{_user(user)}/messages/{int(offset)}/delivery"
        asked = without_none(epoch=epoch)
    return (yield from _get(Explanation, path, asked))


def ledger_of(user: UserId) -> Call[list[LedgerEntry]]:
    """Return how far each client of a user has come in the stream, the last heard of first.

    Clients that gave themselves an id, of the last 30 days, connected or away.
    """
    return (yield from _get(_Ledger, f"{_user(user)}/ledger")).clients


# --- who is connected


def presence_of(user: UserId) -> Call[Presence]:
    """Return the presence of one user: state, live sessions, when last seen."""
    return (yield from _get(Presence, _user(user)))


def is_online(user: UserId) -> Call[bool]:
    """Return whether a notification would reach a session of the user now."""
    return (yield from presence_of(user)).online


def presence_of_users(users: Iterable[UserId]) -> Call[dict[str, Presence]]:
    """Return the presence of many users, by user id. 10,000 of them go in one request."""
    found: dict[str, Presence] = {}
    rest = iter(dict.fromkeys(map(user_id, users)))
    while asked := list(islice(rest, MAX_ASKED)):
        found |= (yield from _post(_Presences, "presence", {"users": asked})).users
    return found


def nodes() -> Call[list[Node]]:
    """Return the live gateway processes, by name."""
    return (yield from _get(_Nodes, "nodes")).nodes


# --- what operators see


def overview(*, after: float = 0.0, last: float | None = None) -> Call[Overview]:
    """Return the gateway at a glance: totals, nodes, and the last hour in steps.

    `after`: only samples that end later; give the newest `at` that you have. `last`: only those of
    the last so many seconds, by the gateway's clock.
    """
    return (yield from _get(Overview, "overview", without_none(after=after, last=last)))


def find_live_sessions(
    *,
    q: str = "",
    kind: str | None = None,
    node: str | None = None,
    health: str | None = None,
    address: str = "",
    agent: str = "",
    older_than: float | None = None,
    younger_than: float | None = None,
    order: str = "-connected_at",
    limit: int = 50,
) -> Call[LiveSessions]:
    """Return the first live sessions that fit, as their nodes see them now.

    `q`: exactly a user id, a worker's key name, a client id or a session id. `address`, `agent`:
    what is in it. `older_than`, `younger_than`: seconds. `order`: `connected_at`, `user`, `lag`,
    `buffered` or `round_trip`; with `-` the largest first. `limit`: 1 to 200.
    """
    asked = without_none(
        q=q or None,
        kind=kind,
        node=node,
        health=health,
        address=address or None,
        agent=agent or None,
        older_than=older_than,
        younger_than=younger_than,
        order=order,
        limit=limit,
    )
    return (yield from _get(LiveSessions, "sessions/live", asked))


def session_report(session: str, *, frames: bool = False) -> Call[SessionReport]:
    """Return one live session in full. Raises NotFound.

    `frames`: with the headers of its frames, which are kept from the first such call on.
    """
    asked = {"frames": "true"} if frames else {}
    return (yield from _get(SessionReport, f"sessions/{_segment(session)}", asked))


def user_report(user: UserId) -> Call[UserReport]:
    """Return what is known of a user: sessions, workers, tasks, block, stream, history."""
    return (yield from _get(UserReport, f"{_user(user)}/report"))


def refusals(*, user: UserId | None = None, address: str = "", limit: int = 100) -> Call[Refusals]:
    """Return who was refused in the last hour, and why. `address`: how it begins."""
    named = None if user is None else user_id(user)
    asked = without_none(user=named, address=address or None, limit=limit)
    return (yield from _get(Refusals, "refusals", asked))


def trace_user(user: UserId, *, minutes: float = 15, bodies: bool = False) -> Call[Trace]:
    """Record the frames of a user's sessions, in memory, for at most 15 minutes.

    `bodies`: with what they say; the key needs the scope `messages` for that.
    """
    body = to_json({"minutes": minutes, "bodies": bodies})
    request = Request("POST", f"{_user(user)}/trace", body, repeatable=False)
    return (yield from _ask(Trace, request))


def read_trace(user: UserId, *, after: str = "") -> Call[Trace]:
    """Return what the trace of a user has recorded; `after`: since the answer whose `next` that is.

    Raises NotFound where the user is not traced.
    """
    return (yield from _get(Trace, f"{_user(user)}/trace", without_none(after=after or None)))


def end_trace(user: UserId) -> Call[EndedTrace]:
    """End the trace of a user, and forget what it recorded."""
    request = Request("DELETE", f"{_user(user)}/trace", repeatable=False)
    return (yield from _ask(EndedTrace, request))


# --- closing and keeping out


def disconnect_user(
    user: UserId,
    *,
    client: str | None = None,
    session: str | None = None,
    keep: Sequence[str] = (),
    code: int = 4504,
    reason: str = "disconnected by the application",
) -> Call[Disconnected]:
    """Close a user's sessions; returns when they are closed.

    `client`, `session`: only these; `keep`: clients and sessions that stay. `code`: from 4500 on
    the client stays away, 4000 to 4499 it comes back.
    """
    asked = without_none(
        client=client, session=session, keep=list(keep) or None, code=code, reason=reason
    )
    path = f"{_user(user)}/sessions"
    return (yield from _ask(Disconnected, Request("DELETE", path, params=asked, **_CLOSE)))


def disconnect_session(
    session: str, *, code: int = 4504, reason: str = "disconnected by the application"
) -> Call[Disconnected]:
    """Close one session, of a client or a worker, on whatever node. Raises NotFound."""
    asked: dict[str, Any] = {"code": code, "reason": reason}
    path = f"sessions/{_segment(session)}"
    return (yield from _ask(Disconnected, Request("DELETE", path, params=asked, **_CLOSE)))


def block_user(
    user: UserId,
    *,
    until: float | None = None,
    seconds: float | None = None,
    reason: str | None = None,
) -> Call[Disconnected]:
    """Close a user's sessions and refuse new ones, until then (seconds since the epoch), for so
    many `seconds` by the gateway's clock, or for ever."""
    body = to_json(without_none(until=until, seconds=seconds, reason=reason))
    request = Request("PUT", f"{_user(user)}/block", body, patience=_CLOSING)
    return (yield from _ask(Disconnected, request))


def unblock_user(user: UserId) -> Call[bool]:
    """Let a user in again. Returns whether they were blocked."""
    request = Request("DELETE", f"{_user(user)}/block", repeatable=False)
    return (yield from _ask(_Unblocked, request)).unblocked


def revoke(
    user: UserId, *, sid: str | None = None, jti: str | None = None, before: float | None = None
) -> Call[Disconnected]:
    """Revoke a user's logins and tokens; returns when their sockets are closed.

    `sid`: one login, `jti`: one token, neither: all of the user. `before`: what was issued before
    this time, in seconds since the epoch; None: before now.
    """
    body = to_json(without_none(sid=sid, jti=jti, before=before))
    request = Request("POST", f"{_user(user)}/revocations", body, **_CLOSE)
    return (yield from _ask(Disconnected, request))


def forget_user(user: UserId) -> Call[Forgotten]:
    """Close a user's sessions, and remove all that is kept: messages, positions, the ledger,
    presence, rows. Blocks and revocations stay. Where its outcome is unknown it may be called
    again: that does the rest."""
    request = Request("DELETE", _user(user), repeatable=False, patience=_FORGETTING)
    return (yield from _ask(Forgotten, request))


# --- tasks


def assign_task(
    pool: str,
    event: str,
    data: Any = None,
    *,
    user: UserId | None = None,
    progress_to_user: bool = True,
    timeout: float | None = None,
    task_id: str | None = None,
) -> Call[AssignedTask]:
    """Give work to one live worker of a pool; returns when it has accepted.

    `user`: whose tabs hear how it goes, with `progress_to_user`. `timeout`: seconds that the task
    may be silent. `task_id`: a ULID of yours, stored before: a repeated call returns the task that
    there is. Raises NoWorkerAvailable, TaskIdTaken.
    """
    body = without_none(
        pool=pool,
        event=event,
        data=data,
        user=None if user is None else user_id(user),
        progress_to_user=None if progress_to_user else False,
        timeout=timeout,
        task_id=task_id or new_ulid(),
    )
    return (yield from _post(AssignedTask, "tasks", body, patience=_ASSIGNING))


def task(task_id: str) -> Call[AssignedTask]:
    """Return a task as it is now. Raises NotFound: it never was, or ended too long ago."""
    return (yield from _get(AssignedTask, f"tasks/{_segment(task_id)}"))


def cancel_task(task_id: str) -> Call[bool]:
    """Tell the worker of a task to stop. Returns whether the task was live. Raises NotFound."""
    request = Request("DELETE", f"tasks/{_segment(task_id)}", repeatable=False)
    return (yield from _ask(_Cancelled, request)).cancelled


def workers() -> Call[Workers]:
    """Return the live workers, what they hold, and the tasks that ended last: of the pools whose
    tasks the key may give."""
    return (yield from _get(Workers, "workers"))


def release_task(task_id: str) -> Call[AssignedTask]:
    """Hand a running task back; its worker is told to stop. Raises NotFound, TaskNotRunning."""
    request = Request("POST", f"tasks/{_segment(task_id)}/release", repeatable=False)
    return (yield from _ask(AssignedTask, request))


# --- lists that come in pages


@dataclass(frozen=True)
class Pages(Generic[T]):
    """A list that comes in pages: the first request, and what its response and later ones hold."""

    first: Request
    read: Callable[[Request, Response], tuple[Sequence[T], Request | None]]

    def page(self, request: Request) -> Call[tuple[Sequence[T], Request | None]]:
        """Return the items of a page, and the request for the next one; None: it was the last."""
        return self.read(request, (yield request))


def sessions(*, node: str | None = None, page: int = 100) -> Pages[Session]:
    """Iterate over all live sessions, of clients and workers.

    One that lives all the while is among them; another may be there twice. `page`: how many users
    one request asks for, 1 to 1,000.
    """
    asked: dict[str, Any] = without_none(node=node, limit=page)

    def read(request: Request, response: Response) -> tuple[Sequence[Session], Request | None]:
        found = _read(response, _Sessions)
        more = Request("GET", "sessions", params=asked | {"cursor": found.next})
        return found.sessions, more if found.next else None

    return Pages(Request("GET", "sessions", params=asked), read)


def messages(
    user: UserId, *, after: Position | None = None, page: int = 100
) -> Pages[StoredMessage]:
    """Iterate over the durable messages of a user, oldest first.

    `after`: a position; without it, all that is kept. Raises PositionGone where messages after the
    position are gone.
    """
    path = f"{_user(user)}/messages"
    start: dict[str, Any] = {"epoch": after.epoch, "offset": after.offset} if after else {}

    def read(
        request: Request, response: Response
    ) -> tuple[Sequence[StoredMessage], Request | None]:
        found = _read(response, Page)
        if not found.complete and "epoch" in request.params:
            raise PositionGone("messages after this position are gone: load your state anew")
        asked = {"epoch": found.epoch, "offset": found.next, "limit": page}
        more = Request("GET", path, params=without_none(**asked))
        return found.messages, None if found.next is None else more

    return Pages(Request("GET", path, params=start | {"limit": page}), read)


# --- inside


class _Receipts(Struct):
    receipts: list[Receipt]


class _Presences(Struct):
    users: dict[str, Presence]


class _Sessions(Struct):
    sessions: list[Session]
    next: str | None = None


class _Deliveries(Struct):
    sessions: list[SessionDelivery]


class _Ledger(Struct):
    clients: list[LedgerEntry]


class _Nodes(Struct):
    nodes: list[Node]


class _Unblocked(Struct):
    unblocked: bool


class _Cancelled(Struct):
    cancelled: bool


_CLOSE: dict[str, Any] = {"repeatable": False, "patience": _CLOSING}
"""Closing again would close those too that have come since."""


def _get(kind: type[T], path: str, params: dict[str, Any] | None = None) -> Call[T]:
    return (yield from _ask(kind, Request("GET", path, params=params or {})))


def _post(kind: type[T], path: str, body: dict[str, Any], **options: Any) -> Call[T]:
    return (yield from _ask(kind, Request("POST", path, to_json(body), **options)))


def _ask(kind: type[T], request: Request) -> Call[T]:
    return _read((yield request), kind)


def _read(response: Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.body, type=kind)
    except (ValueError, RecursionError) as error:
        text = f"the answer is none of this gateway's ({error}): check the URL"
        raise UnexpectedAnswer(text, outcome="happened") from None


def _user(user: UserId) -> str:
    return f"users/{_segment(user_id(user))}"


def _segment(text: str) -> str:
    """Return a piece of a path. Raises InvalidRequest."""
    if text in ("", ".", ".."):
        raise InvalidRequest(f"{text!r} cannot stand in a path; a batch and presence_of_users can")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest("an id has a character that UTF-8 does not have") from None


def _parts(notifications: Iterable[Notification]) -> Iterator[tuple[list[bytes], bool]]:
    """Cut a batch into what one request takes; with each, whether it may be repeated."""
    written: list[bytes] = []
    size, safe = 0, True
    for one in notifications:
        text = _written(one)
        if written and (len(written) == MAX_BATCH or size + len(text) > MAX_BATCH_BYTES):
            yield written, safe
            written, size, safe = [], 0, True
        written.append(text)
        size += len(text)
        safe = safe and one.durable
    if written:
        yield written, safe


def _written(one: Notification) -> bytes:
    members = {name: getattr(one, name) for name in one.__struct_fields__}
    return to_json(without_none(**members | {"user": user_id(one.user)}))
