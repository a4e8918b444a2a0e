"""The list of nodes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import pgettext_lazy

from sockets.admin.live import nodes_page
from sockets.admin.shown import ReadOnly, Tone, badge, moment_shown
from sockets.conf import get_conf
from sockets.models import OPEN, Node, Session
from sockets.node.current import current_node
from sockets.recorder.rows import moment


def _now() -> datetime:
    """The time by the clock of the store, as `seen_at`; by our own where this process has none."""
    here = current_node()
    return timezone.now() if here is None else moment(here.store_time())


class NodeAdmin(ReadOnly):
    """Read-only; a node's live sessions are one click away."""

    list_display = (
        "name",
        "state",
        "started_shown",
        "seen_shown",
        "live_sessions",
        "version",
        "client_url",
        "worker_url",
    )
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "state", "live_sessions")}),
        (
            pgettext_lazy("gateway", "Life"),
            {"fields": ("started_shown", "seen_shown", "stopped_shown")},
        ),
        (
            pgettext_lazy("gateway", "Process"),
            {"fields": ("version", "pid", "client_url", "worker_url")},
        ),
    )
    readonly_fields = ("state", "live_sessions", "started_shown", "seen_shown", "stopped_shown")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not get_conf().history:
            return nodes_page(self, request)
        return super().changelist_view(request, extra_context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        live = (
            Session.objects.filter(OPEN, node=OuterRef("name"))
            .order_by()
            .values("node")
            .annotate(count=Count("id"))
            .values("count")
        )
        count = Coalesce(Subquery(live, output_field=IntegerField()), 0)
        nodes: QuerySet[Node] = super().get_queryset(request).annotate(live_count=count)
        return nodes

    @admin.display(description=pgettext_lazy("gateway", "state"))
    def state(self, node: Node) -> SafeString:
        if node.stopped_at is not None:
            return badge(pgettext_lazy("gateway", "stopped"), Tone.QUIET)
        # Heartbeats come with the renewals; after a lease without one, nobody counts on it.
        if _now() - node.seen_at > timedelta(seconds=get_conf().lease_ttl):
            return badge(pgettext_lazy("gateway", "silent"), Tone.WARNING)
        return badge(pgettext_lazy("gateway", "up"), Tone.GOOD)

    @admin.display(description=pgettext_lazy("gateway", "up since"), ordering="started_at")
    def started_shown(self, node: Node) -> str:
        return moment_shown(node.started_at)

    @admin.display(description=pgettext_lazy("gateway", "last seen"), ordering="seen_at")
    def seen_shown(self, node: Node) -> str:
        return moment_shown(node.seen_at)

    @admin.display(description=pgettext_lazy("gateway", "stopped"))
    def stopped_shown(self, node: Node) -> str:
        return moment_shown(node.stopped_at)

    @admin.display(description=pgettext_lazy("gateway", "live sessions"), ordering="live_count")
    def live_sessions(self, node: Node) -> SafeString:
        count: int = getattr(node, "live_count", 0)
        query = urlencode({"node": node.name, "state": "live"})
        url = reverse("admin:sockets_session_changelist", current_app=self.admin_site.name)
        return format_html('<a href="{}?{}">{}</a>', url, query, count)
