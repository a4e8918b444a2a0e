"""Live sessions as their nodes see them now, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.text import capfirst
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.operations import source, words
from sockets.admin.operations.disconnecting import DisconnectSessions
from sockets.admin.operations.known import silence
from sockets.admin.operations.page import Page
from sockets.admin.operations.parts import Cell, Column, Facts, Part, Row, Table, outside, visible
from sockets.admin.operations.viewer import Viewer, address
from sockets.base.ids import parse_ulid
from sockets.conf import get_conf
from sockets.exceptions import GatewayError
from sockets.models import Session
from sockets.reports import FrameHeader, Health, LiveSession, Order, SessionReport
from sockets.types import Kind, Position

SHOWN: Final = 50
"""Sessions on the page."""

AGES: Final = {
    "": (None, None, pgettext_lazy("gateway", "any")),
    "-60": (None, 60, pgettext_lazy("gateway", "less than a minute")),
    "-3600": (None, 3_600, pgettext_lazy("gateway", "less than an hour")),
    "3600": (3_600, None, pgettext_lazy("gateway", "more than an hour")),
    "86400": (86_400, None, pgettext_lazy("gateway", "more than a day")),
}
_ORDERED: Final = frozenset(Order)
_FIRST: Final = "-connected_at"


class LiveSessionAdmin(Page):
    """The list, with its filters; from here sessions are disconnected."""

    permission = "view_session"
    template = "admin/sockets/operations/live.html"

    def more_urls(self) -> list[URLPattern]:
        return [
            DisconnectSessions().at(self),
            self.path("<path:object_id>/data/", self.data_of_one, "one_data"),
        ]

    def parts(self, viewer: Viewer) -> Sequence[Part]:
        asked = asked_of(viewer.request.GET)
        found = source.find_live_sessions(**asked, limit=SHOWN)
        viewer.know(one.info.user for one in found.sessions if one.info.kind is Kind.CLIENT)
        table = sessions_table(found.sessions, viewer, order=asked["order"])
        table.pick = viewer.may("disconnect_session")
        table.note = " ".join(
            filter(None, (_counted(len(found.sessions), found.matching), silence(found.silent)))
        )
        filtered = any(value for name, value in asked.items() if name != "order")
        table.empty = _empty(filtered=filtered)
        return [table]

    def context(self, viewer: Viewer) -> dict[str, Any]:
        given = viewer.request.GET
        return {
            "given": {name: given.get(name, "") for name in _FIELDS},
            "order": given.get("order", ""),
            "choices": {
                "kind": [(kind.value, words.KINDS[kind]) for kind in Kind],
                "health": [
                    (health.value, words.HEALTH[health][0])
                    for health in Health
                    if health is not Health.UNKNOWN
                ],
                "age": [(age, label) for age, (_, _, label) in AGES.items() if age],
                "node": _nodes(),
            },
            "history": _of_history(viewer),
            "no_history": not get_conf().history,
            "may_disconnect": viewer.may("disconnect_session"),
            "disconnect_url": viewer.url("livesession_disconnect"),
        }

    # One session.

    def change(self, request: HttpRequest, object_id: str) -> HttpResponse:
        viewer, id = self.require(request), unquote(object_id)
        return self.shown(
            viewer,
            lambda: _one(id, viewer),
            "admin/sockets/operations/session.html",
            title=pgettext("gateway", "Session %(id)s") % {"id": visible(id)[:40]},
            session=id,
            parent=(
                capfirst(self.opts.verbose_name_plural),
                viewer.url("livesession_changelist"),
            ),
            may_disconnect=viewer.may("disconnect_session"),
            disconnect_url=viewer.url("livesession_disconnect"),
            history=_row_of(id, viewer),
            data_url=viewer.url("livesession_one_data", id),
        )

    def data_of_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        viewer, id = self.require(request), unquote(object_id)
        return self.answered(request, lambda: _one(id, viewer))


_FIELDS: Final = ("q", "kind", "node", "health", "address", "agent", "age")


def asked_of(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of `find_live_sessions` that a query string asks for."""
    older, younger, _ = AGES.get(given.get("age", ""), AGES[""])
    order = given.get("order", _FIRST)
    return {
        "q": given.get("q", "").strip(),
        "kind": given.get("kind") or None,
        "node": given.get("node") or None,
        "health": given.get("health") or None,
        "address": given.get("address", "").strip(),
        "agent": given.get("agent", "").strip(),
        "older_than": older,
        "younger_than": younger,
        "order": order if order.removeprefix("-") in _ORDERED else _FIRST,
    }


def sessions_table(
    found: Sequence[LiveSession], viewer: Viewer, *, order: str | None = None
) -> Table:
    """Return a table of live sessions; with `order` its columns lead to other orders."""

    def column(name: str, label: str, by: Order | None = None, *, number: bool = False) -> Column:
        if by is None or order is None:
            return Column(name, label, number)
        now, down = order.removeprefix("-") == by, order.startswith("-")
        next = f"-{by}" if (now and not down) or (not now and by is not Order.USER) else str(by)
        query = viewer.request.GET.copy()
        query["order"] = next
        direction = ("descending" if down else "ascending") if now else ""
        return Column(name, label, number, f"?{query.urlencode()}", direction)

    columns = [
        column("user", pgettext("gateway", "User"), Order.USER),
        column("health", pgettext("gateway", "Health")),
        column("since", pgettext("gateway", "Connected for"), Order.CONNECTED, number=True),
        column("node", pgettext("gateway", "Node")),
        column("from", pgettext("gateway", "From")),
        column("lag", pgettext("gateway", "Lag"), Order.LAG, number=True),
        column("buffered", pgettext("gateway", "Buffered"), Order.BUFFERED, number=True),
        column("ping", pgettext("gateway", "Round trip"), Order.ROUND_TRIP, number=True),
        column("session", pgettext("gateway", "Session")),
    ]
    rows = [Row(one.info.id, _cells(one, viewer)) for one in found]
    return Table(
        id="sessions", columns=columns, rows=rows, empty=pgettext("gateway", "No live session.")
    )


def _cells(one: LiveSession, viewer: Viewer) -> list[Cell]:
    info = one.info
    if info.kind is Kind.WORKER:
        who = outside(info.user, 48, below=str(words.KINDS[Kind.WORKER]))
    else:
        who = viewer.user(info.user, info.client_id)
    return [
        who,
        words.in_words(words.HEALTH[one.health]),
        words.since(info.connected_at),
        outside(info.node, 32),
        address(info.address, info.agent),
        Cell(words.number(one.lag) if info.kind is Kind.CLIENT else "–"),
        Cell(words.size(one.buffered) if one.buffered else "0"),
        Cell(words.milliseconds(one.round_trip) or "–"),
        viewer.session(info.id),
    ]


def _counted(shown: int, matching: int) -> str:
    if shown >= matching:
        return ""
    text = pgettext("gateway", "%(shown)s of %(all)s: filters and the order choose which.")
    return text % {"shown": words.number(shown), "all": words.number(matching)}


def _empty(*, filtered: bool) -> str:
    if filtered:
        return pgettext("gateway", "No live session is like this.")
    return pgettext("gateway", "Nobody is connected.")


def _nodes() -> list[tuple[str, str]]:
    try:
        return [(node.name, outside(node.name, 40).text) for node in source.nodes()]
    except GatewayError:
        return []  # the page says so below


def _of_history(viewer: Viewer) -> str:
    """Return where the rows of what is searched for are; "" where none are kept."""
    if not get_conf().history:
        return ""
    q = viewer.request.GET.get("q", "")
    # Those of before: live ones are on this page.
    query = {"state": "ended"} | ({"q": q} if q else {})
    return viewer.url("session_changelist", **query)


def _row_of(id: str, viewer: Viewer) -> str:
    """Return where this session's row is; "" where there is none (yet)."""
    # What is no id of a session is not asked for: PostgreSQL takes no NUL.
    key = parse_ulid(id) if get_conf().history else None
    if key is None or not Session.objects.filter(pk=key).exists():
        return ""
    return viewer.url("session_change", key)


# One session.


def _one(id: str, viewer: Viewer) -> list[Part]:
    found = source.session_report(id, frames=True)
    if found is None:
        text = pgettext("gateway", "This session is not live any more.")
        return [Facts(id="who", facts=[], note=text), *_nothing()]
    viewer.know([found.session.info.user, *found.attached])
    return [_who(found, viewer), _state(found), _frames(found.frames)]


def _nothing() -> list[Part]:
    return [Facts(id="state", facts=[]), _frames([])]


def _who(found: SessionReport, viewer: Viewer) -> Facts:
    info = found.session.info
    client = info.kind is Kind.CLIENT
    facts = [
        (pgettext("gateway", "User"), viewer.user(info.user) if client else outside(info.user)),
        (pgettext("gateway", "Kind"), Cell(str(words.KINDS[info.kind]))),
        (pgettext("gateway", "Client id"), Cell(info.client_id, fixed=True)),
        (pgettext("gateway", "Session"), Cell(info.id, fixed=True)),
        (pgettext("gateway", "Node"), outside(info.node)),
        (pgettext("gateway", "Address"), outside(info.address)),
        (pgettext("gateway", "User agent"), _agent(info.agent)),
        (pgettext("gateway", "Proved by"), outside(found.method)),
        (pgettext("gateway", "Proof ends"), Cell(_ends(found.proof_ends))),
        (pgettext("gateway", "Connected since"), Cell(words.at(info.connected_at))),
    ]
    if found.attached:
        names = ", ".join(visible(viewer.name(user) or user) for user in found.attached[:20])
        facts.append((pgettext("gateway", "Attached to"), outside(names, 400)))
    return Facts(id="who", title=pgettext("gateway", "Who"), facts=facts)


def _agent(agent: str) -> Cell:
    cell = address("", agent)
    return Cell(cell.below, title=cell.title, below=cell.title)


def _ends(at: float | None) -> str:
    return words.at(at) or pgettext("gateway", "never by itself")


def _state(found: SessionReport) -> Facts:
    one = found.session
    facts = [
        (pgettext("gateway", "Health"), words.in_words(words.HEALTH[one.health])),
        (pgettext("gateway", "Connected for"), words.since(one.info.connected_at)),
        (pgettext("gateway", "Round trip"), Cell(words.milliseconds(one.round_trip) or "–")),
    ]
    if found.head is not None:
        facts += [
            (pgettext("gateway", "Newest message"), _position(found.head)),
            (pgettext("gateway", "Sent up to"), _position(found.sent)),
            (pgettext("gateway", "Acknowledged up to"), _acked(one)),
            (pgettext("gateway", "Lag"), Cell(words.number(one.lag))),
        ]
    facts += [
        (str(_BUFFERS.get(name, name)), Cell(words.size(count)))
        for name, count in found.buffers.items()
    ]
    facts += [
        (str(_COUNTERS.get(name, name)), Cell(_counter(name, count)))
        for name, count in found.counters.items()
    ]
    return Facts(id="state", title=pgettext("gateway", "Now"), facts=facts)


_BUFFERS: Final = {
    "outbox": pgettext_lazy("gateway", "Waiting for the socket"),
    "opening": pgettext_lazy("gateway", "Waiting for the welcome"),
}
_COUNTERS: Final = {
    "frames_in": pgettext_lazy("gateway", "Frames received"),
    "bytes_out": pgettext_lazy("gateway", "Sent in all"),
    "missed": pgettext_lazy("gateway", "Ephemeral messages missed"),
}


def _counter(name: str, count: int) -> str:
    return words.size(count) if name.startswith("bytes") else words.number(count)


def _position(at: Position | None) -> Cell:
    if at is None:
        return Cell("–")
    epoch = pgettext("gateway", "epoch %(epoch)s") % {"epoch": visible(at.epoch)}
    return Cell(words.number(at.offset), title=epoch)


def _acked(one: LiveSession) -> Cell:
    cell = _position(one.info.acked)
    return Cell(cell.text, below=words.at(one.info.acked_at), title=cell.title)


def _frames(found: Sequence[FrameHeader]) -> Table:
    rows = [Row(str(one.number), frame_cells(one)) for one in reversed(found)]
    note = pgettext(
        "gateway", "Headers only, and only while this page is open. Nothing else is recorded."
    )
    return Table(
        id="frames",
        title=pgettext("gateway", "Frames"),
        columns=frame_columns(),
        rows=rows,
        empty=pgettext("gateway", "No frame since this page was opened."),
        note=note,
    )


def frame_columns() -> list[Column]:
    """Return the columns of a frame's header."""
    return [
        Column("at", pgettext("gateway", "Time")),
        Column("way", pgettext("gateway", "Way")),
        Column("type", pgettext("gateway", "Type")),
        Column("event", pgettext("gateway", "Event")),
        Column("size", pgettext("gateway", "Size"), number=True),
    ]


def frame_cells(one: FrameHeader) -> list[Cell]:
    """Return the cells of a frame's header."""
    way = pgettext("gateway", "in") if one.inbound else pgettext("gateway", "out")
    return [
        Cell(words.clock(one.at), fixed=True),
        Cell(f"{'←' if one.inbound else '→'} {way}"),
        outside(one.type, 32),
        outside(one.event, 64),
        Cell(words.size(one.size)),
    ]
