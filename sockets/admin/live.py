"""What is live now, asked of the gateway: the lists of a project that keeps no history.

Without rows (SESSION_HISTORY=false) presence knows the sessions and the registry the nodes. Both
lists say so, and disconnecting works as it does where there are rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from sockets.admin.shown import Tone, badge, duration, shortened, two_lines
from sockets.exceptions import GatewayError
from sockets.recorder.rows import moment
from sockets.types import NodeInfo, SessionInfo

PAGE: Final = 100
"""Users whose sessions are on one page."""

SESSIONS: Final = {
    "kind": "kind",
    "user_shown": "user",
    "connected_at nowrap": "connected since",
    "duration_shown": "duration",
    "node": "node",
    "address_shown": "address",
}
"""Columns by the names that the stylesheet has of the list with history."""

NODES: Final = {
    "name": "name",
    "state": "state",
    "started_at nowrap": "up since",
    "seen_at nowrap": "last seen",
    "clients": "clients",
    "workers": "workers",
    "version": "version",
}

TEMPLATE: Final = "admin/sockets/live.html"


def sessions_page(admin: ModelAdmin[Any], request: HttpRequest, may_end: bool) -> HttpResponse:
    """Return the list of live sessions: of all, of one node (`node`) or of one user (`q`).

    `may_end`: whether this person may disconnect them. Raises PermissionDenied.
    """
    _require_view(admin, request)
    node, user = request.GET.get("node") or None, request.GET.get("q", "").strip()
    found: Iterable[SessionInfo] = ()
    after = problem = None
    try:
        found, after = _sessions(user, node, request.GET.get("cursor") or None)
    except GatewayError as error:
        problem = str(error)
    rows = [(one.id, list(zip(SESSIONS, _session_cells(one), strict=True))) for one in found]
    more = {"node": node or "", "cursor": after} if after else None
    context = {
        "columns": SESSIONS.items(),
        "rows": rows,
        "may_disconnect": may_end and bool(rows),
        "asked": user,
        "asks_for": "Sessions of this user",
        "next": f"?{urlencode(more)}" if more else "",
        "problem": problem,
    }
    return _page(admin, request, "Live sessions", context)


def nodes_page(admin: ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """Return the list of nodes that live. Raises PermissionDenied."""
    from sockets.api import nodes  # late, as the other calls of the gateway: tests stand in for it

    _require_view(admin, request)
    found: Iterable[NodeInfo] = ()
    problem = None
    try:
        found = nodes()
    except GatewayError as error:
        problem = str(error)
    context = {
        "columns": NODES.items(),
        "rows": [(one.id, list(zip(NODES, _node_cells(one), strict=True))) for one in found],
        "problem": problem,
    }
    return _page(admin, request, "Live nodes", context)


def _sessions(
    user: str, node: str | None, cursor: str | None
) -> tuple[Iterable[SessionInfo], str | None]:
    from sockets.api import session_page, sessions_of

    if user:
        found = sessions_of(user)
        return [one for one in found if node in (None, one.node)], None
    page = session_page(node=node, cursor=cursor, limit=PAGE)
    return page.sessions, page.next


def _session_cells(one: SessionInfo) -> list[Any]:
    since = moment(one.connected_at)
    return [
        one.kind.value,
        two_lines(shortened(one.user, 48), one.client_id),
        since,
        duration(max(timezone.now() - since, timedelta(0))),
        one.node,
        one.address,
    ]


def _node_cells(one: NodeInfo) -> list[Any]:
    state = badge(one.state, Tone.GOOD if one.state == "ready" else Tone.WARNING)
    seen = moment(one.seen_at) if one.seen_at else ""
    return [one.name, state, moment(one.started_at), seen, one.clients, one.workers, one.version]


def _require_view(admin: ModelAdmin[Any], request: HttpRequest) -> None:
    if not admin.has_view_permission(request):
        raise PermissionDenied


def _page(
    admin: ModelAdmin[Any], request: HttpRequest, title: str, context: dict[str, Any]
) -> HttpResponse:
    whole = {
        **admin.admin_site.each_context(request),
        "title": title,
        "opts": admin.opts,
        "media": admin.media,
        **context,
    }
    return TemplateResponse(request, TEMPLATE, whole)
