"""What operators see: the gateway at a glance, its live sessions, one of them, one user, refusals,
work; and the trace of a user. The admin's pages and the HTTP API show the same.

Values are those of `sockets.reports`. A node that does not answer within 2 seconds is named in
them, as `silent`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from sockets.api import outbox
from sockets.api.carry import CALL_TIMEOUT, at_node, sync_face
from sockets.api.given import given
from sockets.api.users import UserId, as_user
from sockets.api.visits import visits_of
from sockets.base import audit
from sockets.base.ids import parse_ulid
from sockets.exceptions import InvalidMessage
from sockets.node.core import Core
from sockets.operations.find import MAX_LIMIT, parse_order
from sockets.operations.local import MAX_REFUSALS
from sockets.operations.recording import MAX_TRACE
from sockets.operations.wire import Query
from sockets.reports import (
    EndedTrace,
    Health,
    LiveSessions,
    Order,
    Overview,
    SessionReport,
    Trace,
    TurnedAwayList,
    UserReport,
    WorkersReport,
)
from sockets.types import Audit, Kind, Task

MAX_MINUTES: Final = MAX_TRACE / 60

AGE_STEP: Final = 10.0
"""Seconds to which ages of sessions are exact."""

_MAX_TEXT: Final = 4_096
"""Bytes of what is looked for: 1,024 characters, of whatever kind."""


@given()
async def aoverview(*, after: float = 0.0, last: float | None = None) -> Overview:
    """Return how the gateway is now, and its last hour in steps of 10 seconds.

    `after`: only the steps that end after this moment, seconds since the epoch: who asks each
    second names the newest that they have. `last`: only the steps of the last so many seconds, by
    the gateway's own clock.
    """
    moment = _number(after, "after")
    seconds = None if last is None else _number(last, "last")
    return await at_node(lambda node: node.operations.overview(moment, seconds), _patience())


@given()
async def afind_live_sessions(
    *,
    q: str = "",
    kind: Kind | str | None = None,
    node: str | None = None,
    health: Health | str | None = None,
    address: str = "",
    agent: str = "",
    older_than: float | None = None,
    younger_than: float | None = None,
    order: Order | str = "-connected_at",
    limit: int = 50,
) -> LiveSessions:
    """Return the first live sessions that fit, as their nodes see them now.

    `q`: exactly a user id, the name of a worker's key, a client id or a session id: found at once.
    `address`, `agent`: what is in it (of the agent, in whatever case). `older_than`,
    `younger_than`: seconds since they connected, exact to 10. `order`: of `reports.Order`, with "-"
    in front the other way round. `limit`: 1 to 200. Raises InvalidMessage.
    """
    for name, text in (("q", q), ("address", address), ("agent", agent), ("node", node or "")):
        _require_text(text, name)
    chosen = _kind(kind), _health(health), _order(order), _limit(limit, MAX_LIMIT)
    older = None if older_than is None else _number(older_than, "older_than")
    younger = None if younger_than is None else _number(younger_than, "younger_than")

    def query(now: float) -> Query:
        of_kind, of_health, in_order, most = chosen
        return Query(
            order=in_order,
            limit=most,
            kind=of_kind,
            health=of_health,
            address=address,
            agent=agent.lower(),
            born_before=None if older is None else _step(now - older),
            born_after=None if younger is None else _step(now - younger),
        )

    return await at_node(lambda core: core.operations.find(q, node, query), _patience())


@given()
async def asession_report(session_id: str, *, frames: bool = False) -> SessionReport | None:
    """Return one live session in full; None: no node has it.

    `frames`: with the headers of its frames, which are kept from the first such question on, and
    until 30 seconds after the last. Raises GatewayUnavailable where a node that does not answer may
    have it.
    """
    id = parse_ulid(session_id) if isinstance(session_id, str) else None
    if id is None:
        raise InvalidMessage("the id of a session is a ULID, 26 characters")
    return await at_node(lambda node: node.operations.session(id, frames=bool(frames)))


@given()
async def arefusals(*, user: str = "", address: str = "", limit: int = 100) -> TurnedAwayList:
    """Return who got no welcome in the last hour, and why, the newest first.

    `user`: only those of whom this is known or said. `address`: only those whose address begins so.
    `limit`: 1 to 1,000.
    """
    _require_text(user, "user")
    _require_text(address, "address")
    most = _limit(limit, MAX_REFUSALS)
    return await at_node(lambda node: node.operations.refusals(user, address, most))


@given()
async def aworkers() -> WorkersReport:
    """Return the live workers, which tasks they hold, and which ended last."""
    return await at_node(lambda node: node.operations.workers())


@given()
async def arelease_task(task_id: str) -> Task | None:
    """Hand a running task back, in the place of its worker, which is told to stop.

    It ends as `released`, as it does when a worker hands it back: nothing offers it again by
    itself, and your receivers of `task_released` decide what becomes of the job. Returns the ended
    task; None: it does not run, or there is none of this id.
    """
    id = parse_ulid(task_id) if isinstance(task_id, str) else None
    if id is None:
        raise InvalidMessage("a task id is a ULID: 26 characters")
    ended = await at_node(lambda node: node.operations.release_task(id))
    audit.record(Audit.TASK_RELEASED, task=id, was=ended is not None)
    return ended


@given(user_id=as_user)
async def auser_report(user_id: UserId) -> UserReport:
    """Return what is known of one user: sessions, workers, tasks, block, stream, history."""
    user = str(user_id)

    async def report(node: Core) -> UserReport:
        found = await node.operations.user(user)
        if node is outbox.CORE:
            return found
        return replace(found, visits=await asyncio.to_thread(visits_of, user))

    return await at_node(report, _patience())


@given(user_id=as_user)
async def atrace_user(
    user_id: UserId, *, minutes: float = 15, bodies: bool = False, by: str = ""
) -> Trace:
    """Record the frames of all of a user's sessions, on all nodes, those to come too.

    In memory, for at most 15 `minutes`, the newest 200 frames; `connect` and `refresh` never.
    `bodies`: what the frames say as well, cut to 4,096 characters each. `by`: who asks, for the
    audit log. One more of the same user takes the place of the one before. Raises TooManyRequests
    where 4 users are traced already.
    """
    user, length = str(user_id), _number(minutes, "minutes")
    if not 0 < length <= MAX_MINUTES:
        raise InvalidMessage(f"minutes is a number above 0, and at most {MAX_MINUTES:g}")
    _require_text(by, "by")
    trace = await at_node(
        lambda node: node.operations.trace(
            user, seconds=60 * length, bodies=bool(bodies), by=by or audit.actor.get()
        )
    )
    said = {"by": by} if by else {}
    audit.record(Audit.TRACED, user=user, minutes=length, bodies=bool(bodies), **said)
    return trace


@given(user_id=as_user)
async def aread_trace(user_id: UserId, *, after: str = "", bodies: bool = False) -> Trace | None:
    """Return what was recorded of a user; None: they are not traced.

    `after`: the `next` of the time before: only what came since. `bodies`: with what the frames
    say, if that is recorded: for whoever may see it.
    """
    user = str(user_id)
    _require_text(after, "after", 65_536)
    return await at_node(lambda node: node.operations.read_trace(user, after, bodies=bool(bodies)))


@given(user_id=as_user)
async def aend_trace(user_id: UserId) -> EndedTrace:
    """End the trace of a user, and forget what it has recorded. Returns whether there was one, and
    which nodes have not heard of it."""
    user = str(user_id)
    return await at_node(lambda node: node.operations.end_trace(user))


def _require_text(text: object, name: str, most: int = _MAX_TEXT) -> None:
    """Raises InvalidMessage."""
    try:
        size = len(text.encode()) if isinstance(text, str) else most + 1
    except UnicodeEncodeError:
        size = most + 1
    if size > most:
        raise InvalidMessage(f"{name} is a string of at most {most} bytes of UTF-8")


def _number(value: object, name: str) -> float:
    """Raises InvalidMessage."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise InvalidMessage(f"{name} is a number from 0")
    return float(value)


def _step(moment: float) -> float:
    """Round a moment down: who asks the same again a moment later gets the answer that is kept."""
    return moment - moment % AGE_STEP


def _limit(limit: object, most: int) -> int:
    """Raises InvalidMessage."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise InvalidMessage(f"limit is a number from 1 to {most}")
    return limit


def _kind(kind: Kind | str | None) -> Kind | None:
    try:
        return None if kind is None else Kind(kind)
    except ValueError:
        raise InvalidMessage(f"kind is one of {', '.join(Kind)}") from None


def _health(health: Health | str | None) -> Health | None:
    try:
        return None if health is None else Health(health)
    except ValueError:
        raise InvalidMessage(f"health is one of {', '.join(Health)}") from None


def _order(order: Order | str) -> str:
    try:
        parse_order(str(order))
    except ValueError:
        known = ", ".join(Order)
        raise InvalidMessage(f"order is one of {known}, or one with - in front") from None
    return str(order)


def _patience(*_: object, **__: object) -> float:
    """Return how long to wait: nodes that are silent cost their time twice at most."""
    return 2 * CALL_TIMEOUT


overview = sync_face(aoverview, patience=_patience)
find_live_sessions = sync_face(afind_live_sessions, patience=_patience)
session_report = sync_face(asession_report, patience=_patience)
refusals = sync_face(arefusals, patience=_patience)
workers = sync_face(aworkers, patience=_patience)
release_task = sync_face(arelease_task, patience=_patience)
user_report = sync_face(auser_report, patience=_patience)
trace_user = sync_face(atrace_user, patience=_patience)
read_trace = sync_face(aread_trace, patience=_patience)
end_trace = sync_face(aend_trace, patience=_patience)
