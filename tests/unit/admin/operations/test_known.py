"""The overview while Redis is away: what is known, and of which moment."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from sockets.exceptions import GatewayUnavailable
from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, page, words
from tests.unit.admin.operations.test_overview import parts, tile
from tests.unit.admin.operations.values import NOW, FixedSource

AWAY = "Redis cannot be reached"
REMEDY = "See that Redis runs, and that REDIS_URL is reached from here."


def alone(name: str = "node-2", **given: Any) -> Any:
    """What a node says that can ask nobody, half a minute after the cut."""
    told = {
        "at": NOW + 60,
        "sessions": 8_090,
        "users": 7_001,
        "workers": 6,
        "nodes": [replace(values.overview().nodes[1], info=values.node(name), redis=AWAY)],
        "silent": [],
        "unreachable": AWAY,
        "unreachable_since": NOW + 30,
    }
    return values.overview(**told | given)


def states(found: dict[str, Any]) -> dict[str, list[str]]:
    return {
        row["cells"][0]["text"]: [row["cells"][1]["text"], row["cells"][1].get("below", "")]
        for row in found["nodes"]["rows"]
    }


def test_a_node_s_own_figures_beside_what_the_others_were(
    operator: Client, fixed: FixedSource
) -> None:
    assert "Redis is unreachable" not in page(operator, "overview/")
    fixed.answers["overview"] = alone()
    found = parts(operator)
    assert tile(found, "Sessions") == "8,090"
    assert tile(found, "Redis") == AWAY
    note = found["totals"]["note"]
    assert f"Redis is unreachable since 2026-03-04 12:00:30 UTC ({AWAY})." in note
    assert "figures of node node-2 alone" in note and REMEDY in note
    assert "had 20,163 sessions of 15,204 users at 2026-03-04 12:00:00 UTC" in note
    then = ["not asked", "as of 2026-03-04 12:00:00 UTC"]
    assert states(found) == {
        "node-1": then,
        "node-2": ["ready", ""],
        "node-3": then,
        "node-4": ["lost", ""],
    }
    offered = [row["key"] for row in found["nodes"]["rows"] if "href" in row["cells"][-1]]
    assert offered == ["id-node-2"], "nobody else can be told to drain"
    assert AWAY in words(page(operator, "overview/"))
    fixed.answers["overview"] = values.overview()
    assert tile(parts(operator), "Sessions") == "20,163"


def test_a_node_that_was_never_asked_before(reader: Client, fixed: FixedSource) -> None:
    fixed.answers["overview"] = alone()
    found = parts(reader)
    assert states(found) == {"node-2": ["ready", ""]}
    assert "All nodes together" not in found["totals"]["note"]


def test_a_web_worker_shows_what_it_was_told_last(operator: Client, fixed: FixedSource) -> None:
    page(operator, "overview/")
    fixed.error = GatewayUnavailable(AWAY)
    for query in ("", f"?after={NOW - 25}", "?small=1"):
        found = parts(operator, query)
        assert (tile(found, "Sessions"), tile(found, "Redis")) == ("20,163", AWAY)
        note = found["totals"]["note"]
        assert "All figures are as of 2026-03-04 12:00:00 UTC." in note and REMEDY in note
    found = parts(operator)
    assert {state for state, _ in states(found).values()} == {"not asked", "lost"}
    assert not [row for row in found["nodes"]["rows"] if "href" in row["cells"][-1]]
    assert len(found["charts"]["samples"]["at"]) == 360
    assert "20,163" in page(operator, "overview/")


def test_what_came_bit_by_bit_is_the_last_hour_too(reader: Client, fixed: FixedSource) -> None:
    page(reader, "overview/")
    fixed.answers["overview"] = values.overview(
        at=NOW + 10, samples=[*values.overview().samples, values.sample(NOW + 5, 1)]
    )
    parts(reader, f"?after={NOW - 10}")
    fixed.error = GatewayUnavailable(AWAY)
    at = parts(reader)["charts"]["samples"]["at"]
    assert at[-1] == NOW + 5 and at == sorted(set(at)) and at[0] == NOW - 3_580


@pytest.mark.parametrize("path", ["overview/", "livesession/", "worker/", "refusal/"])
def test_where_nothing_is_known_the_remedy_is_said(
    reader: Client, fixed: FixedSource, path: str
) -> None:
    fixed.error = GatewayUnavailable(AWAY)
    assert f"The gateway was not asked: {AWAY}. {REMEDY}" in words(page(reader, path))
    answer = reader.get(f"{ROOT}{path}data/")
    assert (answer.status_code, json.loads(answer.content)) == (503, {"problem": AWAY})


def test_and_where_an_action_is_confirmed(operator: Client, fixed: FixedSource) -> None:
    fixed.error = GatewayUnavailable(AWAY)
    assert REMEDY in words(page(operator, "gatewayuser/disconnect/", user="kim"))
