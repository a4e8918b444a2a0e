"""Live sessions, by HTTP: all of them, those that are looked for, one of them, and closing it."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router
from ninja.errors import HttpError
from ninja.params.functions import Query

from sockets.api import adisconnect_session, afind_live_sessions, asession_page, asession_report
from sockets.auth.scopes import ADMIN, PRESENCE
from sockets.exceptions import InvalidMessage
from sockets.http.reports import LiveSessionOut, LiveSessionsOut, SessionReportOut
from sockets.http.routes.users import CODE
from sockets.http.schemas import DisconnectedOut, Id, SessionOut, SessionsOut
from sockets.http.security import ApiKey
from sockets.reports import Health
from sockets.types import Disconnected, Kind

router = Router(tags=["Sessions"])

CURSOR = Query(
    None,
    max_length=8_192,
    pattern="^[A-Za-z0-9_=-]*$",
    description="The `next` of the previous page.",
)


@router.get(
    "/sessions",
    response=SessionsOut,
    auth=ApiKey(PRESENCE),
    summary="Live sessions of clients and workers",
    operation_id="list_sessions",
)
async def sessions(
    request: HttpRequest,
    node: str | None = Query(None, max_length=255, description="Only sessions of this node."),
    cursor: str | None = CURSOR,
    limit: int = Query(100, ge=1, le=1000, description="About how many users a page has."),
) -> SessionsOut:
    """Return a page. A session that lives all the while is in one of the pages; another may be in
    two. 404: not a cursor of this list."""
    try:
        page = await asession_page(node=node, cursor=cursor, limit=limit)
    except InvalidMessage as error:
        raise HttpError(404, str(error)) from None
    return SessionsOut(sessions=[SessionOut.of(info) for info in page.sessions], next=page.next)


@router.get(
    "/sessions/live",
    response=LiveSessionsOut,
    auth=ApiKey(PRESENCE),
    summary="Find live sessions",
    operation_id="find_live_sessions",
)
async def find(
    request: HttpRequest,
    q: str = Query(
        "",
        max_length=1024,
        description="Exactly a user id, a worker's key name, a client id or a session id.",
    ),
    kind: Kind | None = None,
    node: str | None = Query(None, max_length=255),
    health: Health | None = None,
    address: str = Query("", max_length=255, description="What is in the address."),
    agent: str = Query("", max_length=255, description="What is in the agent, in any case."),
    older_than: float | None = Query(None, ge=0, lt=1e12, description="Seconds."),
    younger_than: float | None = Query(None, ge=0, lt=1e12, description="Seconds."),
    order: str = Query(
        "-connected_at",
        max_length=20,
        pattern="^-?(connected_at|user|lag|buffered|round_trip)$",
        description="With `-` the largest first.",
    ),
    limit: int = Query(50, ge=1, le=200),
) -> LiveSessionsOut:
    """The first of those that fit, as their nodes see them now."""
    found = await afind_live_sessions(
        q=q,
        kind=kind,
        node=node,
        health=health,
        address=address,
        agent=agent,
        older_than=older_than,
        younger_than=younger_than,
        order=order,
        limit=limit,
    )
    return LiveSessionsOut(
        sessions=[LiveSessionOut.made_of(one) for one in found.sessions],
        total=found.total,
        matching=found.matching,
        silent=found.silent,
        at=found.at,
    )


@router.get(
    "/sessions/{session}",
    response=SessionReportOut,
    auth=ApiKey(PRESENCE),
    summary="One live session in full",
    operation_id="session_report",
)
async def session(
    request: HttpRequest,
    session: Id,
    frames: bool = Query(False, description="With the headers of its frames from now on."),
) -> SessionReportOut:
    """404: no node has it."""
    found = await asession_report(session, frames=frames)
    if found is None:
        raise HttpError(404, "no node has this session")
    members = {name: getattr(found, name) for name in SessionReportOut.model_fields}
    return SessionReportOut(**members | {"session": LiveSessionOut.made_of(found.session)})


@router.delete(
    "/sessions/{session}",
    response=DisconnectedOut,
    auth=ApiKey(ADMIN),
    summary="Close one session",
    operation_id="disconnect_session",
)
async def disconnect_session(
    request: HttpRequest,
    session: Id,
    code: int = CODE,
    reason: str = Query("disconnected by the application", max_length=123),
) -> DisconnectedOut:
    """Close a client's or a worker's session, on whatever node; 404 if no node has it."""
    done = await adisconnect_session(session, code=code, reason=reason)
    if done == Disconnected(0):
        raise HttpError(404, "no node has this session")
    return DisconnectedOut.of(done)
