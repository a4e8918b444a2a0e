"""The nodes that live, asked of the registry: the list of a project that keeps no history.

Live sessions have a page of their own, with history and without.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.shown import Tone, badge, moment_shown
from sockets.exceptions import GatewayError
from sockets.recorder.rows import moment
from sockets.types import NodeInfo

NODES: Final = {
    "name": pgettext_lazy("gateway", "name"),
    "state": pgettext_lazy("gateway", "state"),
    "started_at nowrap": pgettext_lazy("gateway", "up since"),
    "seen_at nowrap": pgettext_lazy("gateway", "last seen"),
    "clients": pgettext_lazy("gateway", "clients"),
    "workers": pgettext_lazy("gateway", "workers"),
    "version": pgettext_lazy("gateway", "version"),
}

_STATES: Final = {
    "ready": pgettext_lazy("gateway", "ready"),
    "draining": pgettext_lazy("gateway", "draining"),
}

TEMPLATE: Final = "admin/sockets/live.html"


def nodes_page(admin: ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """Return the list of nodes that live. Raises PermissionDenied."""
    from sockets.api import nodes  # late, as the other calls of the gateway: tests stand in for it

    if not admin.has_view_permission(request):
        raise PermissionDenied
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
    whole = {
        **admin.admin_site.each_context(request),
        "title": pgettext("gateway", "Live nodes"),
        "opts": admin.opts,
        "media": admin.media,
        **context,
    }
    return TemplateResponse(request, TEMPLATE, whole)


def _node_cells(one: NodeInfo) -> list[Any]:
    state = badge(
        _STATES.get(one.state, one.state), Tone.GOOD if one.state == "ready" else Tone.WARNING
    )
    started = moment_shown(moment(one.started_at))
    seen = moment_shown(moment(one.seen_at)) if one.seen_at else ""
    return [one.name, state, started, seen, one.clients, one.workers, one.version]
