"""A trace of one user: begun with its length, followed as it goes, ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import npgettext, pgettext, pgettext_lazy

from sockets.admin.operations import source, words
from sockets.admin.operations.actions import Affected, Done, logged_user
from sockets.admin.operations.known import MOST_NAMED, names_of, silence
from sockets.admin.operations.live import frame_cells, frame_columns
from sockets.admin.operations.page import Page
from sockets.admin.operations.parts import Cell, Column, Facts, Part, Row, Table, outside, visible
from sockets.admin.operations.verdicts import OfUser
from sockets.admin.operations.viewer import Viewer
from sockets.reports import Trace, TracedFrame

BODIES = "trace_bodies_gatewayuser"


class TraceForm(forms.Form):
    """For how long, and how much."""

    minutes = forms.IntegerField(
        label=pgettext_lazy("gateway", "Minutes"), min_value=1, max_value=15, initial=15
    )
    bodies = forms.BooleanField(
        label=pgettext_lazy("gateway", "Bodies, too"),
        required=False,
        help_text=pgettext_lazy("gateway", "What the messages say, and not their headers alone."),
    )


class HeadersForm(forms.Form):
    """The same for those who may not see bodies."""

    minutes = TraceForm.base_fields["minutes"]


class StartTrace(OfUser):
    """Begins a trace; one of before ends with it."""

    name = "begin"
    permission = "trace_gatewayuser"
    title = pgettext_lazy("gateway", "Trace a user")
    button = pgettext_lazy("gateway", "Begin")
    entry = "Traced"

    def form_for(self, viewer: Viewer, given: Any) -> forms.Form:
        return (TraceForm if viewer.may(BODIES) else HeadersForm)(given)

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        (user,) = subject["user"]
        viewer.know([user])
        count = len(source.presence_of(user).sessions)
        text = npgettext(
            "gateway",
            "Of %(count)d session, and of those that come, the last 200 frames are kept.",
            "Of %(count)d sessions, and of those that come, the last 200 frames are kept.",
            count,
        )
        return Affected(text % {"count": count}, [viewer.user(user)])

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (user,) = subject["user"]
        bodies = bool(given.get("bodies")) and viewer.may(BODIES)
        by = f"staff:{viewer.request.user.get_username()}"
        begun = source.trace_user(user, minutes=given["minutes"], bodies=bodies, by=by)
        told = [(messages.SUCCESS, pgettext("gateway", "The trace has begun."))]
        if begun.silent:
            text = pgettext("gateway", "These nodes did not answer, and record nothing: %(nodes)s.")
            told.append((messages.WARNING, text % {"nodes": names_of(begun.silent)}))
        details = {"minutes": given["minutes"], "bodies": bodies, **_silent(begun.silent)}
        return Done(told, [logged_user(user)], details)

    def back(self, viewer: Viewer, subject: dict[str, list[str]]) -> str:
        return viewer.url("gatewayuser_trace", user=subject["user"][0])


class EndTrace(StartTrace):
    """Ends a trace before its time."""

    name = "end"
    title = pgettext_lazy("gateway", "End the trace of a user")
    button = pgettext_lazy("gateway", "End")
    entry = "Ended a trace"

    def form_for(self, viewer: Viewer, given: Any) -> forms.Form:
        return forms.Form(given)

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        text = pgettext("gateway", "Its frames are forgotten.")
        return Affected(text, [viewer.user(subject["user"][0])])

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (user,) = subject["user"]
        end = source.end_trace(user)
        if end.ended:
            told = [(messages.SUCCESS, pgettext("gateway", "The trace has ended."))]
        else:
            told = [(messages.WARNING, pgettext("gateway", "There was no trace."))]
        if end.silent:
            text = pgettext(
                "gateway",
                "These nodes did not answer, and may record on until the trace ends by itself: "
                "%(nodes)s.",
            )
            told.append((messages.WARNING, text % {"nodes": names_of(end.silent)}))
        done = [logged_user(user)] if end.ended else []
        return Done(told, done, {"ended": end.ended, **_silent(end.silent)})


def _silent(nodes: Sequence[str]) -> dict[str, list[str]]:
    """Return what the audit log is told of nodes that did not answer."""
    return {"silent": list(nodes[:MOST_NAMED])} if nodes else {}


def trace_page(page: Page, viewer: Viewer) -> HttpResponse:
    """Return the trace of the user that the request names, or how to begin one."""
    user = viewer.request.GET.get("user", "")
    viewer.know([user] if user else [])
    return page.shown(
        viewer,
        lambda: _parts(_read(user, viewer), viewer),
        "admin/sockets/operations/trace.html",
        title=pgettext("gateway", "Trace"),
        parent=(
            viewer.name(user) or visible(user)[:80],
            viewer.url("gatewayuser_changelist", user=user),
        ),
        user_id=user,
        begin_url=viewer.url("gatewayuser_begin", user=user),
        end_url=viewer.url("gatewayuser_end", user=user),
        data_url=viewer.url("gatewayuser_trace_data", user=user),
    )


def trace_data(page: Page, viewer: Viewer) -> HttpResponse:
    """Return what is new of a trace after the `after` of the request, and the next one."""
    given = viewer.request.GET
    user, after = given.get("user", ""), given.get("after", "")
    return page.answered(
        viewer.request, lambda: _parts(_read(user, viewer, after), viewer), wholly=not after
    )


def _read(user: str, viewer: Viewer, after: str = "") -> Trace | None:
    return source.read_trace(user, after=after, bodies=viewer.may(BODIES))


def _parts(found: Trace | None, viewer: Viewer) -> list[Part]:
    return [_about(found), _frames(found, viewer)]


def _about(found: Trace | None) -> Facts:
    if found is None:
        text = pgettext("gateway", "No trace of this user is running.")
        return Facts(id="trace", facts=[], note=text)
    bodies = pgettext("gateway", "yes") if found.bodies else pgettext("gateway", "no")
    facts = [
        (pgettext("gateway", "Began"), Cell(words.at(found.started_at))),
        (pgettext("gateway", "Ends by itself"), Cell(words.at(found.until))),
        (pgettext("gateway", "By"), outside(found.by)),
        (pgettext("gateway", "Bodies"), Cell(bodies)),
        (pgettext("gateway", "Older, not kept any more"), Cell(words.number(found.dropped))),
    ]
    return Facts(id="trace", facts=facts, note=silence(found.silent))


def _frames(found: Trace | None, viewer: Viewer) -> Table:
    frames: Sequence[TracedFrame] = found.frames if found else ()
    columns = [
        *frame_columns(),
        Column("session", pgettext("gateway", "Session")),
        Column("body", pgettext("gateway", "Body")),
    ]
    return Table(
        id="frames",
        columns=columns,
        rows=[_frame(one, viewer) for one in reversed(frames)],
        empty=pgettext("gateway", "No frame so far."),
        next=found.next if found else "",
    )


def _frame(one: TracedFrame, viewer: Viewer) -> Row:
    session = viewer.session(one.session)
    body = Cell() if one.body is None else Cell(visible(one.body), fixed=True)
    return Row(f"{one.session} {one.header.number}", [*frame_cells(one.header), session, body])
