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
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.shown import Tone, badge, duration, shortened, two_lines
from sockets.exceptions import GatewayError
from sockets.recorder.rows import moment
from sockets.types import Kind, NodeInfo, SessionInfo

PAGE: Final = 100
"""Users whose sessions are on one page."""

SESSIONS: Final = {
    "kind": pgettext_lazy("gateway", "kind"),
    "user_shown": pgettext_lazy("gateway", "user"),
    "connected_at nowrap": pgettext_lazy("gateway", "connected since"),
    "duration_shown": pgettext_lazy("gateway", "duration"),
    "node": pgettext_lazy("gateway", "node"),
    "address_shown": pgettext_lazy("gateway", "address"),
}
"""Columns by the names that the stylesheet has of the list with history."""

NODES: Final = {
    "name": pgettext_lazy("gateway", "name"),
    "state": pgettext_lazy("gateway", "state"),
    "started_at nowrap": pgettext_lazy("gateway", "up since"),
    "seen_at nowrap": pgettext_lazy("gateway", "last seen"),
    "clients": pgettext_lazy("gateway", "clients"),
    "workers": pgettext_lazy("gateway", "workers"),
    "version": pgettext_lazy("gateway", "version"),
}

_KINDS: Final = {
    Kind.CLIENT: pgettext_lazy("gateway", "client"),
    Kind.WORKER: pgettext_lazy("gateway", "worker"),
}
_STATES: Final = {
    "ready": pgettext_lazy("gateway", "ready"),
    "draining": pgettext_lazy("gateway", "draining"),
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
        "asks_for": pgettext("gateway", "Sessions of this user"),
        "next": f"?{urlencode(more)}" if more else "",
        "problem": problem,
    }
    return _page(admin, request, pgettext("gateway", "Live sessions"), context)


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
    return _page(admin, request, pgettext("gateway", "Live nodes"), context)


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
        _KINDS[one.kind],
        two_lines(shortened(one.user, 48), one.client_id),
        since,
        duration(max(timezone.now() - since, timedelta(0))),
        one.node,
        one.address,
    ]


def _node_cells(one: NodeInfo) -> list[Any]:
    state = badge(
        _STATES.get(one.state, one.state), Tone.GOOD if one.state == "ready" else Tone.WARNING
    )
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
