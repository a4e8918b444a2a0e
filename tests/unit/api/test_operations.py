"""What operators ask by the Python API: its arguments, its audit lines."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sockets import api
from sockets.base import audit
from sockets.exceptions import InvalidMessage
from sockets.node.node import Node
from sockets.operations.wire import Query
from sockets.reports import Health, Order
from tests.unit.api.conftest import client

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kind": "robot"}, "kind is one of client, worker"),
        ({"health": "ill"}, "health is one of healthy"),
        ({"order": "age"}, "order is one of connected_at"),
        ({"order": "--user"}, "order is one of"),
        ({"limit": 0}, "from 1 to 200"),
        ({"limit": 201}, "from 1 to 200"),
        ({"limit": True}, "from 1 to 200"),
        ({"q": 7}, "q is a string"),
        ({"q": "x" * 4_097}, "q is a string of at most 4096"),
        ({"address": "\ud800"}, "address is a string"),
        ({"agent": None}, "agent is a string"),
        ({"older_than": -1}, "older_than is a number"),
        ({"younger_than": "5"}, "younger_than is a number"),
    ],
)
async def test_what_cannot_be_looked_for_is_named(node: Node, given: Any, named: str) -> None:
    with pytest.raises(InvalidMessage, match=named):
        await api.afind_live_sessions(**given)


async def test_sessions_are_found(node: Node) -> None:
    one = await client(node, "7")
    found = await api.afind_live_sessions(
        q="7",
        kind="client",
        health=Health.HEALTHY,
        order=Order.USER,
        younger_than=10**9,
    )
    assert [live.info.id for live in found.sessions] == [one.info.id]
    assert not (await api.afind_live_sessions(q="7", agent="Chrome")).sessions
    report = await api.asession_report(one.info.id.lower())
    assert report is not None and report.session.info.id == one.info.id


@pytest.mark.parametrize(
    "call",
    [
        lambda: api.asession_report("42"),
        lambda: api.asession_report(7),  # type: ignore[arg-type]
        lambda: api.arelease_task("42"),
        lambda: api.arefusals(limit=1_001),
        lambda: api.arefusals(user=7),  # type: ignore[arg-type]
        lambda: api.aoverview(after=-1),
        lambda: api.atrace_user("42", minutes=0),
        lambda: api.atrace_user("42", minutes=15.1),
        lambda: api.atrace_user("42", minutes=True),
        lambda: api.aread_trace("42", after=7),  # type: ignore[arg-type]
        lambda: api.aread_trace("42", after="none"),
    ],
)
async def test_what_cannot_be_asked_is_refused(node: Node, call: Any) -> None:
    with pytest.raises(InvalidMessage):
        await call()


async def test_a_trace_is_audited(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gateway.audit"):
        found = await api.atrace_user("42", minutes=1, bodies=True, by="staff:ann")
        token = audit.actor.set("key:backend")
        try:
            other = await api.atrace_user("7")
        finally:
            audit.actor.reset(token)
    assert (found.by, other.by, other.until - other.started_at) == ("staff:ann", "key:backend", 900)
    lines = [record.audit for record in caplog.records if record.getMessage() == "traced"]  # type: ignore[attr-defined]
    assert lines == [
        {"user": "42", "minutes": 1.0, "bodies": True, "by": "staff:ann"},
        {"user": "7", "minutes": 15.0, "bodies": False, "by": "key:backend"},
    ]


async def test_the_history_of_a_user_is_in_the_report(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sockets.api.operations.visits_of", lambda user: [f"of {user}"])
    assert (await api.auser_report(42)).visits == ["of 42"]  # type: ignore[comparison-overlap]


async def test_ages_are_told_in_steps(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no node could keep an answer for who asks the same again."""
    asked: list[Query] = []

    async def find(q: str, of: str | None, query_at: Any) -> None:
        asked.extend(query_at(1_000_000_000.0 + moment) for moment in (1.25, 9.75, 10.5))

    monkeypatch.setattr(node.operations, "find", find)
    await api.afind_live_sessions(older_than=60, younger_than=3600)
    assert asked[0] == asked[1] != asked[2]
    assert (asked[0].born_before, asked[0].born_after) == (999_999_940.0, 999_996_400.0)
