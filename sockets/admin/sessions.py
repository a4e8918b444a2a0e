"""The list of sessions, live and ended, and what disconnects them: an action of the list, and a
button on a session's own page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import npgettext, pgettext, pgettext_lazy

from sockets.admin.closing import remember, remembered, wait_until_written
from sockets.admin.live import sessions_page
from sockets.admin.periods import PeriodQuerySet
from sockets.admin.shown import (
    CODES,
    ReadOnly,
    Tone,
    badge,
    close_code,
    duration,
    shortened,
    two_lines,
)
from sockets.base.client_address import plain
from sockets.codes import CloseCode
from sockets.conf import get_conf
from sockets.exceptions import GatewayError
from sockets.models import OPEN, Node, Session
from sockets.types import Disconnected

REASON = "disconnected by an operator"
NODES_OFFERED = 50  # in the filter; the most recently seen ones

# An IPv4 address in the form of IPv6, or its beginning; the digits that it begins with.
_MAPPED = re.compile(r"(?<!\S)\[?[0:]*:ffff:(\S+)", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9.]*")
_WITH_PORT = re.compile(r"([0-9.]{7,15}):([0-9]{1,5})")
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}\Z")


class StateFilter(admin.SimpleListFilter):
    """Live or ended."""

    title = pgettext_lazy("gateway", "state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [("live", pgettext("gateway", "live")), ("ended", pgettext("gateway", "ended"))]

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
    """By the close codes that have a name, without asking the table which there are."""

    title = pgettext_lazy("gateway", "close code")
    parameter_name = "close_code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [(str(code), close_code(code) or "") for code in sorted(CODES)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        value = self.value()
        if value is None:
            return queryset
        # An address may have been typed by hand.
        code = int(value) if value.isascii() and value.isdigit() and len(value) < 5 else -1
        return queryset.filter(close_code=code)


class SessionAdmin(ReadOnly):
    """Read-only; every page of the list costs a few looks into indexes, however many rows."""

    list_display = (
        "state",
        "kind",
        "user_shown",
        "connected_at",
        "duration_shown",
        "end_shown",
        "node",
        "address_shown",
    )
    list_display_links = ("state", "user_shown")
    list_filter = (StateFilter, "kind", NodeFilter, CloseCodeFilter)
    list_per_page = 50
    list_max_show_all = 200
    sortable_by = ("connected_at",)  # another order would sort the whole table
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
        (pgettext_lazy("gateway", "Where"), {"fields": ("node", "address_shown", "agent")}),
        (
            pgettext_lazy("gateway", "When"),
            {"fields": ("connected_at", "disconnected_at", "duration_shown")},
        ),
        (pgettext_lazy("gateway", "End"), {"fields": ("close_shown", "close_reason")}),
    )
    readonly_fields = ("state", "duration_shown", "close_shown", "address_shown")

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
        return two_lines(shortened(session.user, 48), session.client_id)

    @admin.display(description=pgettext_lazy("gateway", "duration"))
    def duration_shown(self, session: Session) -> str:
        return duration(session.duration)

    @admin.display(description=pgettext_lazy("gateway", "close code"), empty_value="")
    def close_shown(self, session: Session) -> str | None:
        return close_code(session.close_code)

    @admin.display(description=pgettext_lazy("gateway", "end"), empty_value="")
    def end_shown(self, session: Session) -> SafeString:
        reason = shortened(session.close_reason, 48)
        return two_lines(close_code(session.close_code) or "", reason)

    @admin.display(description=pgettext_lazy("gateway", "address"), empty_value="")
    def address_shown(self, session: Session) -> str:
        """Rows of earlier versions may have an IPv4 address in the form of IPv6."""
        return plain(session.address)

    # The action, and the button. They wait for what another process or thread writes: a transaction
    # round the request (ATOMIC_REQUESTS) would not see it, and SQLite not let it be written.

    @transaction.non_atomic_requests
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if get_conf().history:
            return super().changelist_view(request, extra_context)
        may_end = self.has_disconnect_permission(request)
        if request.method != "POST":
            return sessions_page(self, request, may_end)
        if not (self.has_view_permission(request) and may_end):
            raise PermissionDenied
        chosen = request.POST.getlist("_selected_action")
        self._close(request, {id: Session(id=id) for id in chosen})
        return HttpResponseRedirect(request.get_full_path())

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.disconnect_view)  # with its login and CSRF checks
        own = path("<path:object_id>/disconnect/", view, name="sockets_session_disconnect")
        return [own, *super().get_urls()]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Session | None = None,
    ) -> HttpResponse:
        live = obj is not None and obj.live and not getattr(obj, "closing", False)
        context["may_disconnect"] = live and self.has_disconnect_permission(request)
        return super().render_change_form(request, context, add, change, form_url, obj)

    @transaction.non_atomic_requests
    def disconnect_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Do the list's action for one session, by POST; answers with its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.has_disconnect_permission(request)):
            raise PermissionDenied
        chosen = self.get_queryset(request).filter(pk=unquote(object_id))
        row = chosen.first()
        if row is None:
            raise Http404("there is no such session")
        self.disconnect(request, chosen)
        page = reverse(
            "admin:sockets_session_change",
            args=[quote(row.pk)],
            current_app=self.admin_site.name,
        )
        return HttpResponseRedirect(page)

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for the action's `permissions`."""
        return request.user.has_perm("sockets.disconnect_session")

    @admin.action(
        description=pgettext_lazy("gateway", "Disconnect the selected live sessions"),
        permissions=["disconnect"],
    )
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        """Close the sessions (4504), and wait a moment for their rows; what has no end then is
        shown as closing."""
        self._close(request, {session.id: session for session in queryset.filter(OPEN)})

    def _close(self, request: HttpRequest, live: dict[str, Session]) -> None:
        from sockets.api import disconnect_sessions

        done: dict[str, Disconnected] = {}
        problem: GatewayError | None = None
        try:
            if live:
                done = disconnect_sessions(live, code=CloseCode.DISCONNECTED, reason=REASON)
        except GatewayError as error:
            problem = error
        closed = [live[id] for id, one in done.items() if one.closed]
        slow = sum(one.unconfirmed for one in done.values())
        gone = 0 if problem else len(live) - len(done)
        if problem is None and live and get_conf().history:
            wait_until_written([row.pk for row in closed])
            remember(request, live)
        self._tell(request, len(closed), slow, gone, problem)
        # The history of each row says who did it; the client is not told.
        LogEntry.objects.log_actions(
            request.user.pk,  # type: ignore[arg-type]  # staff, so not None
            closed,
            CHANGE,
            capfirst(REASON),
        )

    def _tell(
        self,
        request: HttpRequest,
        closed: int,
        slow: int,
        gone: int,
        problem: GatewayError | None,
    ) -> None:
        if closed:
            text = npgettext(
                "gateway",
                "%(count)d session was disconnected.",
                "%(count)d sessions were disconnected.",
                closed,
            )
            self.message_user(request, text % {"count": closed}, messages.SUCCESS)
        if slow:
            text = npgettext(
                "gateway",
                "%(count)d session does not answer; the socket is cut soon.",
                "%(count)d sessions do not answer; the socket is cut soon.",
                slow,
            )
            self.message_user(request, text % {"count": slow}, messages.WARNING)
        if gone:
            text = npgettext(
                "gateway",
                "%(count)d session was already gone.",
                "%(count)d sessions were already gone.",
                gone,
            )
            self.message_user(request, text % {"count": gone}, messages.WARNING)
        if problem is not None:
            text = pgettext("gateway", "Not disconnected: %(problem)s.")
            self.message_user(request, text % {"problem": problem}, messages.ERROR)
        elif not closed and not slow and not gone:
            text = pgettext("gateway", "None of these sessions is live.")
            self.message_user(request, text, messages.WARNING)


def _as_kept(found: re.Match[str]) -> str:
    """Return the word as rows have it: all of an address, or what was typed of it."""
    whole = plain(found[0])
    begun = _DIGITS.match(found[1])
    return whole if whole != found[0] or not begun else begun[0] or whole
