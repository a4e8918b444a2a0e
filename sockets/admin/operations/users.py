"""One user: sessions, workers, tasks, blocks, what came and went, the stream, the ledger; and why a
message was not delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.operations import source, story, words
from sockets.admin.operations.disconnecting import DisconnectUser
from sockets.admin.operations.known import silence
from sockets.admin.operations.live import sessions_table
from sockets.admin.operations.notifying import NotifyUser
from sockets.admin.operations.page import Page
from sockets.admin.operations.parts import Cell, Column, Facts, Part, Row, Table, outside, visible
from sockets.admin.operations.tracing import EndTrace, StartTrace, trace_data, trace_page
from sockets.admin.operations.verdicts import BlockUser, RevokeUser, UnblockUser
from sockets.admin.operations.viewer import Viewer, address
from sockets.admin.operations.workers import tasks_table
from sockets.conf import get_conf
from sockets.deliveries import LedgerEntry
from sockets.reports import StreamHeader, UserReport, Visit

_ACTIONS: Final = (
    ("disconnect", "disconnect_session", pgettext_lazy("gateway", "Disconnect…")),
    ("notify", "notify_gatewayuser", pgettext_lazy("gateway", "Send a message…")),
    ("trace", "trace_gatewayuser", pgettext_lazy("gateway", "Trace")),
    ("revoke", "revoke_gatewayuser", pgettext_lazy("gateway", "Revoke…")),
    ("block", "block_gatewayuser", pgettext_lazy("gateway", "Block…")),
    ("unblock", "block_gatewayuser", pgettext_lazy("gateway", "Unblock…")),
)


class WhyForm(forms.Form):
    """Of which message somebody asks."""

    WHAT: Final = {
        "id": pgettext_lazy("gateway", "message id"),
        "idempotency_key": pgettext_lazy("gateway", "idempotency key"),
        "offset": pgettext_lazy("gateway", "offset"),
    }
    what = forms.ChoiceField(
        label=pgettext_lazy("gateway", "By its"), choices=list(WHAT.items()), initial="id"
    )
    message = forms.CharField(label=pgettext_lazy("gateway", "Message"), max_length=256)
    epoch = forms.CharField(
        label=pgettext_lazy("gateway", "Epoch"),
        required=False,
        max_length=128,
        help_text=pgettext_lazy("gateway", "Of an offset; empty: of the stream as it is now."),
    )

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if found.get("what") == "offset" and not _is_offset(found.get("message", "")):
            self.add_error("message", pgettext("gateway", "An offset is a whole number."))
        return found

    def asked(self) -> dict[str, Any]:
        """Return the arguments of `explain_delivery`."""
        what, message = self.cleaned_data["what"], self.cleaned_data["message"]
        if what != "offset":
            return {what: message}
        return {"offset": int(message), "epoch": self.cleaned_data["epoch"] or None}


def _is_offset(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


class GatewayUserAdmin(Page):
    """A search for a user, and the page of one."""

    permission = "view_gatewayuser"
    template = "admin/sockets/operations/user.html"

    def more_urls(self) -> list[URLPattern]:
        actions = (DisconnectUser, BlockUser, UnblockUser, RevokeUser, NotifyUser)
        return [
            self.path("why/", self.why, "why"),
            self.path("trace/", self.trace, "trace"),
            self.path("trace/data/", self.trace_data, "trace_data"),
            *(action().at(self) for action in (*actions, StartTrace, EndTrace)),
        ]

    def object_url(self, viewer: Viewer, id: str) -> str:
        return viewer.url("gatewayuser_changelist", user=id)

    def parts(self, viewer: Viewer) -> Sequence[Part]:
        user = viewer.request.GET.get("user", "")
        return _parts(user, viewer) if user else []

    def context(self, viewer: Viewer) -> dict[str, Any]:
        user = viewer.request.GET.get("user", "")
        viewer.know([user] if user else [])
        return {
            "user_id": user,
            "shown_id": visible(user),
            "user_name": viewer.name(user),
            "actions": _actions(user, viewer) if user else [],
            "why": WhyForm(),
            "why_url": viewer.url("gatewayuser_why"),
            "history": viewer.url("session_changelist", q=user)
            if get_conf().history and user and viewer.may("view_session")
            else "",
        } | ({"title": viewer.name(user) or visible(user)[:80]} if user else {})

    # Why was this not delivered?

    def why(self, request: HttpRequest) -> HttpResponse:
        viewer = self.require(request)
        user = request.GET.get("user", "")
        form = WhyForm(request.GET if "message" in request.GET else None)
        ready = bool(user) and form.is_bound and form.is_valid()
        viewer.know([user])
        return self.shown(
            viewer,
            lambda: story.told(source.explain_delivery(user, **form.asked())) if ready else [],
            "admin/sockets/operations/why.html",
            title=pgettext("gateway", "Why was this not delivered?"),
            parent=(
                viewer.name(user) or visible(user)[:80],
                viewer.url("gatewayuser_changelist", user=user),
            ),
            user_id=user,
            why=form,
            why_url=viewer.url("gatewayuser_why"),
            data_url="",
        )

    # A trace.

    def trace(self, request: HttpRequest) -> HttpResponse:
        return trace_page(self, self.require(request, "trace_gatewayuser"))

    def trace_data(self, request: HttpRequest) -> HttpResponse:
        return trace_data(self, self.require(request, "trace_gatewayuser"))


def _actions(user: str, viewer: Viewer) -> list[tuple[str, str]]:
    return [
        (str(label), viewer.url(f"gatewayuser_{name}", user=user))
        for name, permission, label in _ACTIONS
        if viewer.may(permission)
    ]


def _parts(user: str, viewer: Viewer) -> list[Part]:
    found = source.user_report(user)
    viewer.know([user, *(task.user for task in found.tasks if task.user)])
    live = sessions_table(found.live, viewer)
    live.title, live.note = pgettext("gateway", "Live sessions"), silence(found.silent)
    tasks = tasks_table(found.tasks, viewer, id="tasks")
    tasks.title = pgettext("gateway", "Tasks")
    parts: list[Part] = [_who(found), live, tasks, _stream(found, viewer)]
    parts.append(_ledger(source.ledger_of(user), viewer))
    if get_conf().history:
        parts.append(_visits(found.visits, viewer))
    return parts


def _who(found: UserReport) -> Facts:
    presence = found.presence
    workers = ", ".join(visible(one.user)[:40] for one in found.workers[:20])
    facts = [
        (pgettext("gateway", "Presence"), words.in_words(words.PRESENCE[presence.state])),
        (pgettext("gateway", "Last seen"), Cell(words.at(presence.last_seen) or "–")),
        (pgettext("gateway", "Blocked"), Cell(_blocked(found))),
        (pgettext("gateway", "Attached workers"), Cell(workers or "–")),
        (pgettext("gateway", "Newest message"), Cell(words.number(found.head.offset))),
        (pgettext("gateway", "Epoch"), outside(found.head.epoch, 40, fixed=True)),
    ]
    return Facts(id="who", facts=facts)


def _blocked(found: UserReport) -> str:
    if not found.blocked:
        return pgettext("gateway", "no")
    if found.blocked_until is None:
        return pgettext("gateway", "until somebody unblocks them")
    return pgettext("gateway", "until %(time)s") % {"time": words.at(found.blocked_until)}


def _stream(found: UserReport, viewer: Viewer) -> Table:
    columns = [
        Column("offset", pgettext("gateway", "Offset"), number=True),
        Column("event", pgettext("gateway", "Event")),
        Column("size", pgettext("gateway", "Size"), number=True),
        Column("age", pgettext("gateway", "Age"), number=True),
        Column("id", pgettext("gateway", "Message id")),
        Column("key", pgettext("gateway", "Idempotency key")),
        Column("why", ""),
    ]
    note = ""
    if found.floor:
        text = pgettext("gateway", "Messages up to offset %(floor)s are not kept any more.")
        note = text % {"floor": words.number(found.floor)}
    return Table(
        id="stream",
        title=pgettext("gateway", "Stream"),
        columns=columns,
        rows=[_message(one, found, viewer) for one in found.stream],
        empty=pgettext("gateway", "No message is kept."),
        note=note,
    )


def _message(one: StreamHeader, found: UserReport, viewer: Viewer) -> Row:
    why = viewer.url("gatewayuser_why", user=found.user, what="offset", message=str(one.offset))
    cells = [
        Cell(words.number(one.offset)),
        outside(one.event, 64),
        Cell(words.size(one.size)),
        words.since(one.at),
        Cell(one.id, fixed=True),
        outside(one.idempotency_key, 40),
        Cell(pgettext("gateway", "Delivered?"), href=why),
    ]
    return Row(str(one.offset), cells)


def _ledger(entries: Sequence[LedgerEntry], viewer: Viewer) -> Table:
    columns = [
        Column("client", pgettext("gateway", "Client id")),
        Column("state", pgettext("gateway", "State")),
        Column("sent", pgettext("gateway", "Sent up to"), number=True),
        Column("acked", pgettext("gateway", "Acknowledged up to"), number=True),
        Column("recovered", pgettext("gateway", "Came back")),
        Column("asof", pgettext("gateway", "As of")),
    ]
    note = pgettext("gateway", "Of each client that names itself, for 30 days.")
    return Table(
        id="ledger",
        title=pgettext("gateway", "Delivery ledger"),
        columns=columns,
        rows=[_entry(one, viewer) for one in entries],
        empty=pgettext("gateway", "No client of this user is known."),
        note=note,
    )


def _entry(one: LedgerEntry, viewer: Viewer) -> Row:
    if one.live:
        state = words.in_words(words.LIVE)
    elif one.code is not None:
        state = words.closed_by(one.code)
    else:
        state = words.in_words(words.ENDED)
    acked = "–" if one.acked is None else words.number(one.acked)
    cells = [
        Cell(one.client_id, fixed=True, below=visible(one.node)),
        state,
        Cell(words.number(one.sent)),
        Cell(acked, below=words.at(one.acked_at)),
        Cell(story.recovered(one.recovered), below=words.at(one.opened_at)),
        Cell(words.at(one.at)),
    ]
    return Row(f"{one.client_id} {one.epoch}", cells)


def _visits(visits: Sequence[Visit], viewer: Viewer) -> Table:
    columns = [
        Column("came", pgettext("gateway", "Connected")),
        Column("went", pgettext("gateway", "Disconnected")),
        Column("end", pgettext("gateway", "End")),
        Column("from", pgettext("gateway", "From")),
        Column("node", pgettext("gateway", "Node")),
    ]
    return Table(
        id="visits",
        title=pgettext("gateway", "Presence history"),
        columns=columns,
        rows=[_visit(one, viewer) for one in visits],
        empty=pgettext("gateway", "No session is in the history."),
    )


def _visit(one: Visit, viewer: Viewer) -> Row:
    href = viewer.url("session_change", one.session) if viewer.may("view_session") else ""
    end = Cell() if one.close_code is None else words.closed_by(one.close_code)
    cells = [
        Cell(words.at(one.connected_at), href=href),
        Cell(words.at(one.disconnected_at)),
        Cell(end.text, below=visible(one.close_reason)[:60] or end.below, title=end.below),
        address(one.address, one.agent),
        outside(one.node, 32),
    ]
    return Row(one.session, cells)
