"""A trace: begun, followed, ended; bodies for those alone who may see them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from django.test import Client

from sockets.reports import EndedTrace
from tests.unit.admin.operations.conftest import DOES, ROOT, VIEWS, allow, do, page, words
from tests.unit.admin.operations.values import NASTY, FixedSource, trace

TRACE = "gatewayuser/trace/?user=user-1"
DATA = f"{ROOT}gatewayuser/trace/data/?user=user-1"


def without_bodies() -> None:
    allow(*VIEWS, *[name for name in DOES if name != "trace_bodies_gatewayuser"])


def test_it_begins(operator: Client, fixed: FixedSource) -> None:
    said = words(page(operator, "gatewayuser/begin/", user="user-1"))
    assert "Of 1 session, and of those that come, the last 200 frames are kept." in said
    told = do(operator, "gatewayuser/begin/", user="user-1", minutes="5", bodies="on")
    assert told == ["success: The trace has begun."]
    call = next(call for call in fixed.calls if call[0] == "trace_user")
    assert call[1:] == (("user-1",), {"minutes": 5, "bodies": True, "by": "staff:staff"})


def test_at_most_fifteen_minutes(operator: Client, fixed: FixedSource) -> None:
    for minutes in ("0", "16", "x", ""):
        (told,) = do(operator, "gatewayuser/begin/", user="user-1", minutes=minutes)
        assert told.startswith("wrong: ")
    assert not fixed.done()


def test_bodies_need_a_permission_of_their_own(operator: Client, fixed: FixedSource) -> None:
    without_bodies()
    assert 'name="bodies"' not in page(operator, "gatewayuser/begin/", user="user-1")
    do(operator, "gatewayuser/begin/", user="user-1", minutes="5", bodies="on")
    call = next(call for call in fixed.calls if call[0] == "trace_user")
    assert call[2]["bodies"] is False
    fixed.calls.clear()
    assert "order&quot;: 7" not in page(operator, TRACE)
    assert fixed.calls[0][2]["bodies"] is False, "they are not even asked for"
    allow(*VIEWS, *DOES)
    assert "order&quot;: 7" in page(operator, TRACE)


def test_it_is_followed(operator: Client, fixed: FixedSource) -> None:
    assert 'data-next="3"' in page(operator, TRACE)
    first = json.loads(operator.get(DATA).content)
    assert first["wholly"] is True
    more = json.loads(operator.get(f"{DATA}&after=3").content)
    frames = more["parts"]["frames"]
    assert more["wholly"] is False and frames["next"] == "6"
    assert [row["key"].split()[1] for row in frames["rows"]] == ["6", "5", "4"], "newest first"


def test_there_is_none(operator: Client, fixed: FixedSource, monkeypatch: object) -> None:
    from sockets.admin.operations import source

    monkeypatch.setattr(source, "read_trace", lambda *_, **__: None)  # type: ignore[attr-defined]
    assert "No trace of this user is running." in words(page(operator, TRACE))
    assert json.loads(operator.get(DATA).content)["parts"]["frames"]["rows"] == []


def test_it_ends(operator: Client, fixed: FixedSource) -> None:
    assert do(operator, "gatewayuser/end/", user="user-1") == ["success: The trace has ended."]
    fixed.answers["end_trace"] = EndedTrace(ended=False)
    assert do(operator, "gatewayuser/end/", user="user-1") == ["warning: There was no trace."]


def test_silent_nodes_are_named(
    operator: Client, fixed: FixedSource, caplog: pytest.LogCaptureFixture
) -> None:
    fixed.answers["end_trace"] = EndedTrace(ended=True, silent=["node-3", NASTY])
    fixed.answers["trace_user"] = replace(trace(), silent=["node-3"])
    with caplog.at_level(logging.INFO, "gateway.audit"):
        begun = do(operator, "gatewayuser/begin/", user="user-1", minutes="5")
        ended = do(operator, "gatewayuser/end/", user="user-1")
    assert begun[1:] == ["warning: These nodes did not answer, and record nothing: node-3."]
    assert ended[1].startswith("warning: These nodes did not answer, and may record on until")
    assert "node-3, <script>alert(1)</script>\\u202e" in ended[1]
    results = [one.audit["result"] for one in caplog.records if hasattr(one, "audit")]
    assert [one["silent"] for one in results] == [["node-3"], ["node-3", NASTY]]
