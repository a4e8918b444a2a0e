"""The history of sessions, live and ended; what disconnects them is asked for from here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.closing import remembered
from sockets.admin.operations.disconnecting import MOST, DisconnectSessions
from sockets.admin.operations.live import LiveSessionAdmin
from sockets.admin.operations.page import tabs
from sockets.admin.operations.parts import visible
from sockets.admin.operations.viewer import Viewer, address, names_of
from sockets.admin.periods import PeriodQuerySet
from sockets.admin.shown import (
    ReadOnly,
    Tone,
    badge,
    close_code,
    duration,
    moment_shown,
    shortened,
    two_lines,
)
from sockets.base.client_address import plain
from sockets.conf import get_conf
from sockets.models import OPEN, LiveSession, Node, Session

NODES_OFFERED = 50  # in the filter; the most recently seen ones
_BLOCKS: Final = ((0, 3_999), (3_999, 4_499), (4_499, 32_767))
"""Close codes: the standard's and ours have the smallest numbers of each."""

CODES_OFFERED: Final = 20
"""In the filter, of each block: clients choose codes, too, and crowd none of these out."""

# An IPv4 address in the form of IPv6, or its beginning; the digits that it begins with.
_MAPPED = re.compile(r"(?<!\S)\[?[0:]*:ffff:(\S+)", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9.]*")
_WITH_PORT = re.compile(r"([0-9.]{7,15}):([0-9]{1,5})")
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}\Z")


class StateFilter(admin.SimpleListFilter):
    """Live or ended. Where neither is asked for: live ones, and of a search all."""

    title = pgettext_lazy("gateway", "state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        self._default = "all" if request.GET.get("q") else "live"
        return [
            ("live", pgettext("gateway", "live")),
            ("ended", pgettext("gateway", "ended")),
            ("all", pgettext("gateway", "all")),
        ]

    def value(self) -> str | None:
        asked = super().value()
        return asked if asked in ("live", "ended", "all") else self._default

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return them without Django's "All", which would be the default."""
        for value, title in self.lookup_choices:
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        match self.value():
            case "live":
                return queryset.filter(OPEN)
            case "ended":
                return queryset.exclude(OPEN)
        return queryset


class NodeFilter(admin.SimpleListFilter):
    """By node. The names come from the nodes' table: DISTINCT would read every session."""

    title = pgettext_lazy("gateway", "node")
    parameter_name = "node"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        names = Node.objects.order_by("-seen_at").values_list("name", flat=True)
        return [(name, name) for name in sorted(names[:NODES_OFFERED])]

    def has_output(self) -> bool:
        """Always: Django would not apply the filter, silently, where no node is known."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        value = self.value()
        return queryset if value is None else queryset.filter(node=value)


class CloseCodeFilter(admin.SimpleListFilter):
    """By the close codes that occur: found by skipping, a look into their index for each."""

    title = pgettext_lazy("gateway", "close code")
    parameter_name = "close_code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(code), close_code(code) or "") for code in _occurring()]

    def has_output(self) -> bool:
        """Always: Django would not apply the filter, silently, where no code occurs."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        value = self.value()
        if value is None:
            return queryset
        # An address may have been typed by hand.
        code = int(value) if value.isascii() and value.isdigit() and len(value) < 5 else -1
        return queryset.filter(close_code=code)


def _occurring() -> list[int]:
    found: list[int] = []
    for after, last in _BLOCKS:
        found += islice(_of_block(after, last), CODES_OFFERED)
    return found


def _of_block(after: int, last: int) -> Iterator[int]:
    # No order but that of the code: with the model's own it would be sorted.
    codes = Session.objects.order_by("close_code").values_list("close_code", flat=True)
    within = codes.filter(close_code__lte=last)
    while code := within.filter(close_code__gt=after).first():
        yield code
        after = code


class NamedList(ChangeList):
    """Knows the names of the users on its page: one query for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        names = names_of({row.user for row in rows if row.kind == "client"})
        for row in rows:
            row.name_of_user = names.get(row.user, "")
        self.result_list = rows


class SessionAdmin(ReadOnly):
    """Read-only; every page of the list costs a few looks into indexes, however many rows."""

    class Media:
        css = {"all": ["sockets/admin.css", "sockets/operations.css"]}

    list_display = (
        "state",
        "kind",
        "user_shown",
        "connected_shown",
        "duration_shown",
        "end_shown",
        "node",
        "from_shown",
    )
    list_display_links = ("state", "user_shown")
    list_filter = (StateFilter, "kind", NodeFilter, CloseCodeFilter)
    list_per_page = 50
    list_max_show_all = 200
    sortable_by = ("connected_shown",)  # another order would sort the whole table
    date_hierarchy = "connected_at"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("user", "client_id", "address", "id")
    search_help_text = pgettext_lazy(
        "gateway", "User, client id, address or session id; whole ids are found at once."
    )
    actions = ("disconnect",)
    fieldsets = (
        (None, {"fields": ("state", "kind", "user", "client_id", "id")}),
        (
            pgettext_lazy("gateway", "Where"),
            {"fields": ("node", "address_shown", "agent_shown", "agent")},
        ),
        (
            pgettext_lazy("gateway", "When"),
            {"fields": ("connected_shown", "disconnected_shown", "duration_shown")},
        ),
        (pgettext_lazy("gateway", "End"), {"fields": ("close_shown", "close_reason")}),
    )
    readonly_fields = (
        *("state", "connected_shown", "disconnected_shown", "duration_shown"),
        *("close_shown", "address_shown", "agent_shown"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        rows: QuerySet[Session] = PeriodQuerySet(Session).order_by(*self.get_ordering(request))
        ended = remembered(request)
        if not ended:
            return rows
        closing = ExpressionWrapper(OPEN & Q(pk__in=ended), output_field=BooleanField())
        return rows.annotate(closing=closing)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Session], search_term: str
    ) -> tuple[QuerySet[Session], bool]:
        term = search_term.strip()
        if _ULID.match(term):
            both = {term, term.upper()}
            return queryset.filter(Q(id__in=both) | Q(client_id__in=both) | Q(user=term)), False
        if term and (whole := queryset.filter(user=term)).exists():
            return whole, False
        term = _MAPPED.sub(_as_kept, term)
        found, double = super().get_search_results(request, queryset, term)
        if address := _WITH_PORT.fullmatch(term):
            # As it is shown; a row of an earlier version may have it in the other form.
            found |= queryset.filter(address=f"[::ffff:{address[1]}]:{address[2]}")
        return found, double

    # Columns.

    @admin.display(description=pgettext_lazy("gateway", "state"))
    def state(self, session: Session) -> SafeString:
        if not session.live:
            return badge(pgettext_lazy("gateway", "ended"), Tone.QUIET)
        if getattr(session, "closing", False):
            return badge(pgettext_lazy("gateway", "closing"), Tone.WARNING)
        return badge(pgettext_lazy("gateway", "live"), Tone.GOOD)

    @admin.display(description=pgettext_lazy("gateway", "user"))
    def user_shown(self, session: Session) -> SafeString:
        user = shortened(visible(session.user), 48)
        name = getattr(session, "name_of_user", "")
        if name:
            user = format_html("{} · {}", visible(name), user)
        return two_lines(user, session.client_id)

    @admin.display(description=pgettext_lazy("gateway", "connected since"), ordering="connected_at")
    def connected_shown(self, session: Session) -> str:
        return moment_shown(session.connected_at)

    @admin.display(description=pgettext_lazy("gateway", "disconnected"))
    def disconnected_shown(self, session: Session) -> str:
        return moment_shown(session.disconnected_at)

    @admin.display(description=pgettext_lazy("gateway", "duration"))
    def duration_shown(self, session: Session) -> str:
        return duration(session.duration)

    @admin.display(description=pgettext_lazy("gateway", "close code"), empty_value="")
    def close_shown(self, session: Session) -> str:
        return close_code(session.close_code) or "-"

    @admin.display(description=pgettext_lazy("gateway", "end"), empty_value="")
    def end_shown(self, session: Session) -> SafeString:
        reason = shortened(visible(session.close_reason), 48)
        return two_lines(close_code(session.close_code) or "", reason)

    @admin.display(description=pgettext_lazy("gateway", "address"), empty_value="")
    def address_shown(self, session: Session) -> str:
        """Rows of earlier versions may have an IPv4 address in the form of IPv6."""
        return visible(plain(session.address))

    @admin.display(description=pgettext_lazy("gateway", "from"), empty_value="")
    def from_shown(self, session: Session) -> SafeString:
        cell = address(plain(session.address), session.agent)
        agent = format_html('<span title="{}">{}</span>', cell.title, cell.below)
        return two_lines(cell.text, agent if cell.below else "")

    @admin.display(description=pgettext_lazy("gateway", "program"), empty_value="")
    def agent_shown(self, session: Session) -> str:
        return address("", session.agent).below

    # Views. The list and its action wait for what another process or thread writes: a transaction
    # round the request (ATOMIC_REQUESTS) would not see it, and SQLite not let it be written.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NamedList

    @transaction.non_atomic_requests
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        viewer = Viewer(self.admin_site, request)
        if get_conf().history:
            own = {"title": pgettext("gateway", "History"), "tabs": tabs(viewer, self)}
            return super().changelist_view(request, own | (extra_context or {}))
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.urlencode()
        there = viewer.url("livesession_changelist")
        if not there:
            raise Http404("no history is kept, and this site has no page of live sessions")
        return HttpResponseRedirect(f"{there}?{asked}" if asked else there)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Session | None = None,
    ) -> HttpResponse:
        if obj is not None:
            context |= self._links(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _links(self, request: HttpRequest, row: Session) -> dict[str, str]:
        """Return where a row leads: to the session if it is live, its user, and its end."""
        viewer, links = Viewer(self.admin_site, request), {}
        if row.kind == "client" and viewer.may("view_gatewayuser"):
            links["user_url"] = viewer.url("gatewayuser_changelist", user=row.user)
        if row.live and not getattr(row, "closing", False):
            links["live_url"] = viewer.url("livesession_change", quote(row.pk))
            if self.has_disconnect_permission(request):
                query = {"session": row.pk, "from": "history"}
                links["disconnect_url"] = viewer.url("livesession_disconnect", **query)
        return links

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for the action's `permissions`."""
        return request.user.has_perm("sockets.disconnect_session")

    @admin.action(
        description=pgettext_lazy("gateway", "Disconnect the selected live sessions"),
        permissions=["disconnect"],
    )
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Session]) -> HttpResponse | None:
        """Ask once more, with their number; the live sessions' page does it."""
        live = list(queryset.filter(OPEN).values_list("pk", flat=True)[:MOST])
        if not live:
            text = pgettext("gateway", "None of these sessions is live.")
            self.message_user(request, text, messages.WARNING)
            return None
        page = LiveSessionAdmin(LiveSession, self.admin_site)
        action, viewer = DisconnectSessions(), Viewer(self.admin_site, request)
        return action.ask(page, viewer, {"session": live}, action.form(), history=True)


def _as_kept(found: re.Match[str]) -> str:
    """Return the word as rows have it: all of an address, or what was typed of it."""
    whole = plain(found[0])
    begun = _DIGITS.match(found[1])
    return whole if whole != found[0] or not begun else begun[0] or whole
