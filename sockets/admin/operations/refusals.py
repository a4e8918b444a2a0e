"""Who was refused in the last hour, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final

from django.utils.translation import npgettext, pgettext

from sockets.admin.operations import source, words
from sockets.admin.operations.known import silence
from sockets.admin.operations.page import Page
from sockets.admin.operations.parts import Cell, Column, Part, Row, Table, outside
from sockets.admin.operations.viewer import Viewer, address
from sockets.reports import TurnedAway, TurnedAwayList
from sockets.types import Kind

SHOWN: Final = 100


class RefusalAdmin(Page):
    """The list; a search answers "why can Kim not connect?"."""

    permission = "view_refusal"
    template = "admin/sockets/operations/refusals.html"

    def parts(self, viewer: Viewer) -> Sequence[Part]:
        given = viewer.request.GET
        user, peer = given.get("user", "").strip(), given.get("address", "").strip()
        found = source.refusals(user=user, address=peer, limit=SHOWN)
        viewer.know(one.user for one in found.refusals if one.user and one.kind is Kind.CLIENT)
        columns = [
            Column("at", pgettext("gateway", "When")),
            Column("user", pgettext("gateway", "User")),
            Column("code", pgettext("gateway", "Why")),
            Column("reason", pgettext("gateway", "Reason")),
            Column("from", pgettext("gateway", "From")),
            Column("origin", pgettext("gateway", "Origin")),
            Column("node", pgettext("gateway", "Node")),
        ]
        empty = pgettext("gateway", "Nobody was refused in the last hour.")
        if user or peer:
            empty = pgettext("gateway", "Nobody like this was refused in the last hour.")
        rows = [_row(one, viewer) for one in found.refusals]
        return [
            Table(id="refusals", columns=columns, rows=rows, empty=empty, note=_note(found)),
        ]

    def context(self, viewer: Viewer) -> dict[str, Any]:
        given = viewer.request.GET
        return {"given": {name: given.get(name, "") for name in ("user", "address")}}


def _row(one: TurnedAway, viewer: Viewer) -> Row:
    if one.user and one.kind is Kind.CLIENT:
        who = viewer.user(one.user, one.client_id)
    else:
        who = outside(one.user or "–", 48, below=one.client_id or str(words.KINDS[one.kind]))
    cells = [
        Cell(words.at(one.at), below=_times(one)),
        who,
        words.closed_by(one.code),
        outside(one.reason, 120),
        address(one.address, one.agent),
        outside(one.origin or "–", 48),
        outside(one.node, 32),
    ]
    # Of what makes a line one, and not of how often it came.
    named = replace(one, at=0.0, count=0)
    return Row(blake2b(repr(named).encode(), digest_size=9).hexdigest(), cells)


def _times(one: TurnedAway) -> str:
    if one.count < 2:
        return ""
    text = npgettext(
        "gateway",
        "%(count)s time since %(time)s",
        "%(count)s times since %(time)s",
        one.count,
    )
    return text % {"count": words.number(one.count), "time": words.clock(one.since)}


def _note(found: TurnedAwayList) -> str:
    lines = []
    if found.more:
        text = npgettext(
            "gateway",
            "%(count)s more line is not shown: search for a user or an address.",
            "%(count)s more lines are not shown: search for a user or an address.",
            found.more,
        )
        lines.append(text % {"count": words.number(found.more)})
    if found.forgotten:
        text = npgettext(
            "gateway",
            "%(count)s older connection is not remembered any more.",
            "%(count)s older connections are not remembered any more.",
            found.forgotten,
        )
        lines.append(text % {"count": words.number(found.forgotten)})
    lines.append(silence(found.silent))
    return " ".join(filter(None, lines))
