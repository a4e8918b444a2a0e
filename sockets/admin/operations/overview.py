"""The gateway now and in the last hour: totals, nodes, how connections end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import pgettext

from sockets.admin.operations import words
from sockets.admin.operations.draining import DrainNode
from sockets.admin.operations.known import MEMORY, Known
from sockets.admin.operations.page import Page
from sockets.admin.operations.parts import (
    Cell,
    Charts,
    Column,
    Part,
    Row,
    Table,
    Tiles,
    outside,
)
from sockets.admin.operations.viewer import Viewer
from sockets.admin.shown import Tone
from sockets.base.metrics import OTHER
from sockets.reports import NodeReport, Overview, Sample

_DRAWN: Final = ("at", "sessions", "users", "workers", "connects", "refusals")
_RATES: Final = ("messages_in", "messages_out")

_OTHER: Final = -1  # close codes that are counted together

_RECENT: Final = 60.0
"""Seconds; the last step is not longer ago."""

_CURRENT: Final = 3
"""Steps for which the last one stands as what is so now."""


class OverviewAdmin(Page):
    """Everything at one glance; a node is drained from here.

    The script asks for what is new of the last hour, and now and then for all of it.
    """

    permission = "view_overview"
    template = "admin/sockets/operations/overview.html"

    def parts(self, viewer: Viewer) -> Sequence[Part]:
        return _parts(MEMORY.ask(), viewer)

    def more_urls(self) -> list[URLPattern]:
        return [DrainNode().at(self)]

    def data(self, request: HttpRequest) -> HttpResponse:
        """Return what changes; of the last hour what comes after the `after` of the request."""
        viewer = self.require(request)
        if "small" in request.GET:
            return self.answered(request, lambda: [_tiles(MEMORY.ask(last=_RECENT))])
        after = _seconds(request.GET.get("after", ""))
        if not after:
            return super().data(request)
        return self.answered(request, lambda: _news(MEMORY.ask(after=after), viewer))


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def _parts(known: Known, viewer: Viewer) -> list[Part]:
    found = known.overview
    return [_tiles(known), _charts(found), _nodes(known, viewer), *_closes(found)]


def _news(known: Known, viewer: Viewer) -> list[Part]:
    charts = _charts(known.overview)
    charts.whole = False
    return [_tiles(known), charts, _nodes(known, viewer)]


def _tiles(known: Known) -> Tiles:
    found = known.overview
    answering = [node for node in found.nodes if node.answered and not node.lost]
    last = _current(found)
    facts = [
        (pgettext("gateway", "Sessions"), Cell(words.number(found.sessions))),
        (pgettext("gateway", "Users"), Cell(words.number(found.users))),
        (pgettext("gateway", "Workers"), Cell(words.number(found.workers))),
        (pgettext("gateway", "Nodes"), _count_of_nodes(found, len(answering))),
        (pgettext("gateway", "Messages out"), _rate(last, found.step)),
        (pgettext("gateway", "Delivery, 99 of 100"), _delivery(last)),
        (pgettext("gateway", "Slow readers"), _alarming(sum(one.slow for one in answering))),
        (pgettext("gateway", "Lagging"), _alarming(sum(one.lagging for one in answering))),
        (pgettext("gateway", "Webhooks waiting"), _count(one.webhooks for one in answering)),
        ("Redis", _redis(found, answering)),
        (pgettext("gateway", "Database"), _health([one.database for one in answering])),
    ]
    return Tiles(id="totals", facts=facts, note=known.note)


def _current(found: Overview) -> Sample | None:
    """Return the last step; None where no node has told of one for some time."""
    if found.samples and found.at - found.samples[-1].at <= _CURRENT * found.step:
        return found.samples[-1]
    return None


def _count_of_nodes(found: Overview, answering: int) -> Cell:
    if answering == len(found.nodes):
        return Cell(str(answering))
    text = pgettext("gateway", "%(answering)d of %(all)d")
    return Cell(text % {"answering": answering, "all": len(found.nodes)}, tone=Tone.WARNING.value)


def _rate(last: Sample | None, step: float) -> Cell:
    if last is None or step <= 0:
        return Cell("–")
    per_second = last.messages_out / step
    text = f"{per_second:.1f}" if per_second < 10 else words.number(per_second)
    return Cell(pgettext("gateway", "%(count)s/s") % {"count": text})


def _delivery(last: Sample | None) -> Cell:
    return Cell((last and words.milliseconds(last.delivery_p99)) or "–")


def _count(counts: Any) -> Cell:
    return Cell(words.number(sum(counts)))


def _alarming(count: int) -> Cell:
    return Cell(words.number(count), tone=Tone.WARNING.value if count else "")


def _redis(found: Overview, answering: Sequence[NodeReport]) -> Cell:
    if found.unreachable:
        return _health([found.unreachable])
    return _health([one.redis for one in answering])


def _health(problems: list[str]) -> Cell:
    wrong = sorted({problem for problem in problems if problem})
    if not problems:
        return Cell("–")
    if not wrong:
        return Cell(pgettext("gateway", "well"))
    return outside("; ".join(wrong), 60, tone=Tone.BAD.value)


def _charts(found: Overview) -> Charts:
    step = found.step or 1.0
    samples: dict[str, list[Any]] = {
        name: [getattr(one, name) for one in found.samples] for name in _DRAWN
    }
    for name in _RATES:
        samples[name] = [round(getattr(one, name) / step, 2) for one in found.samples]
    samples["closes"] = [sum(one.closes.values()) for one in found.samples]
    for name in ("delivery_p50", "delivery_p99"):
        values = [getattr(one, name) for one in found.samples]
        samples[name] = [None if one is None else round(one * 1_000, 3) for one in values]
    title = pgettext("gateway", "The last hour")
    return Charts(id="charts", title=title, samples=samples, labels=_labels())


def _labels() -> dict[str, Any]:
    return {
        "time": pgettext("gateway", "Time"),
        "zone": words.zone(),
        "people": pgettext("gateway", "Connected"),
        "sessions": pgettext("gateway", "Sessions"),
        "users": pgettext("gateway", "Users"),
        "workers": pgettext("gateway", "Workers"),
        "traffic": pgettext("gateway", "Messages a second"),
        "messages_in": pgettext("gateway", "in"),
        "messages_out": pgettext("gateway", "out"),
        "delivery": pgettext("gateway", "Delivery, ms"),
        "delivery_p50": pgettext("gateway", "half within"),
        "delivery_p99": pgettext("gateway", "99 of 100 within"),
        "comings": pgettext("gateway", "Connects and ends"),
        "connects": pgettext("gateway", "connects"),
        "closes": pgettext("gateway", "ends"),
        "refusals": pgettext("gateway", "refused"),
    }


def _nodes(known: Known, viewer: Viewer) -> Table:
    columns = [
        Column("node", pgettext("gateway", "Node")),
        Column("state", pgettext("gateway", "State")),
        Column("clients", pgettext("gateway", "Clients"), number=True),
        Column("workers", pgettext("gateway", "Workers"), number=True),
        Column("cpu", pgettext("gateway", "CPU"), number=True),
        Column("memory", pgettext("gateway", "Memory"), number=True),
        Column("lag", pgettext("gateway", "Loop lag"), number=True),
        Column("slow", pgettext("gateway", "Slow"), number=True),
        Column("version", pgettext("gateway", "Version")),
        Column("up", pgettext("gateway", "Up for")),
        Column("drain", ""),
    ]
    return Table(
        id="nodes",
        title=pgettext("gateway", "Nodes"),
        columns=columns,
        rows=[
            _node(node, viewer, known.as_of.get(node.info.name)) for node in known.overview.nodes
        ],
        empty=pgettext("gateway", "No node is alive."),
    )


def _node(node: NodeReport, viewer: Viewer, as_of: float | None) -> Row:
    info, alive = node.info, not node.lost
    sessions = ""
    if viewer.may("view_session"):
        sessions = viewer.url("livesession_changelist", node=info.name)
    up = words.since(info.started_at) if alive else Cell("–")
    cells = [
        outside(info.name, 48, below=f"{info.host} · {info.pid}", href=sessions),
        words.node_state(info, lost=node.lost, answered=node.answered, as_of=as_of),
        Cell(words.number(info.clients) if alive else "–"),
        Cell(words.number(info.workers) if alive else "–"),
        Cell(f"{info.cpu:.0%}" if alive else "–"),
        Cell(words.size(info.memory) if alive else "–"),
        Cell(words.milliseconds(node.loop_lag) or "–"),
        _alarming(node.slow),
        Cell(info.version),
        up,
        Cell() if as_of else _drain(node, viewer),
    ]
    return Row(info.id or info.name, cells)


def _drain(node: NodeReport, viewer: Viewer) -> Cell:
    if node.lost or not node.answered or node.info.state == "draining":
        return Cell()
    if not viewer.may("drain_node"):
        return Cell()
    href = viewer.url("overview_drain", node=node.info.name)
    return Cell(pgettext("gateway", "Drain…"), href=href)


def _closes(found: Overview) -> list[Part]:
    """Return how connections ended in the last hour, and what became of those that came back."""
    ends: Counter[int] = Counter()
    for sample in found.samples:
        for code, count in sample.closes.items():
            ends[_code(code)] += count
    rows = [
        Row(str(code), [_end(code), Cell(words.number(count))])
        for code, count in ends.most_common()
        if count
    ]
    columns = [
        Column("code", pgettext("gateway", "Close code")),
        Column("count", pgettext("gateway", "Connections"), number=True),
    ]
    table = Table(
        id="closes",
        title=pgettext("gateway", "Ends in the last hour"),
        columns=columns,
        rows=rows,
        empty=pgettext("gateway", "No connection has ended."),
    )
    return [_hour(found), table]


def _end(code: int) -> Cell:
    """Return how connections ended, in words."""
    return Cell(pgettext("gateway", "any other code")) if code == _OTHER else words.closed_by(code)


def _code(text: str) -> int:
    """Return a close code; _OTHER for rare ones, which are counted together; 0 for what is none, as
    a node of another version may tell it."""
    if text == OTHER:
        return _OTHER
    try:
        return int(text)
    except ValueError:
        return 0


def _hour(found: Overview) -> Tiles:
    def total(name: str) -> Cell:
        return Cell(words.number(sum(getattr(one, name) for one in found.samples)))

    facts = [
        (pgettext("gateway", "Connects"), total("connects")),
        (pgettext("gateway", "Refused"), total("refusals")),
        (pgettext("gateway", "Came back, missed nothing"), total("recovered")),
        (pgettext("gateway", "Came back, had to reload"), total("unrecovered")),
        (pgettext("gateway", "Given up at a bound"), total("dropped")),
    ]
    return Tiles(id="hour", title=pgettext("gateway", "In the last hour"), facts=facts)
