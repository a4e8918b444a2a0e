"""The overview: totals, nodes, the last hour."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from tests.unit.admin.operations import values
from tests.unit.admin.operations.conftest import ROOT, page, words
from tests.unit.admin.operations.values import NOW, FixedSource


def parts(client: Client, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.get(f"{ROOT}overview/data/{query}").content)["parts"]
    return found


def tile(found: dict[str, Any], label: str, part: str = "totals") -> str:
    return str(dict(found[part]["facts"])[label]["text"])


def test_totals(reader: Client, fixed: FixedSource) -> None:
    found = parts(reader)
    assert tile(found, "Sessions") == "20,163"
    assert tile(found, "Nodes") == "3 of 4"
    assert tile(found, "Messages out") == "836/s"
    assert tile(found, "Delivery, 99 of 100") == "27.0 ms"
    assert (tile(found, "Slow readers"), tile(found, "Webhooks waiting")) == ("3", "4")
    assert (tile(found, "Redis"), tile(found, "Database")) == ("well", "well")
    assert found["totals"]["note"].endswith("shown as they last were: node-4.")


def test_what_is_wrong_with_redis_is_said(reader: Client, fixed: FixedSource) -> None:
    found = values.overview()
    ill = [replace(node, redis="no answer", database="locked") for node in found.nodes]
    fixed.answers["overview"] = replace(found, nodes=ill)
    shown = parts(reader)
    assert (tile(shown, "Redis"), tile(shown, "Database")) == ("no answer", "locked")


def test_a_gateway_that_has_just_begun(reader: Client, fixed: FixedSource) -> None:
    fixed.answers["overview"] = values.overview(samples=[], nodes=[], silent=[], step=0.0)
    found = parts(reader)
    assert tile(found, "Messages out") == tile(found, "Redis") == "–"
    assert "No node is alive." in words(page(reader, "overview/"))


def test_nodes(reader: Client, fixed: FixedSource) -> None:
    rows = {row["cells"][0]["text"]: row["cells"] for row in parts(reader)["nodes"]["rows"]}
    assert [rows[name][1]["text"] for name in sorted(rows)] == [
        *("ready", "ready", "draining", "lost")
    ]
    assert rows["node-1"][0]["href"] == f"{ROOT}livesession/?node=node-1"
    assert rows["node-4"][2]["text"] == "–", "what a lost node said last is not what is there"
    assert not any("href" in cells[-1] for cells in rows.values()), "read-only: no drain"


def test_only_what_can_be_drained_is_offered(operator: Client, fixed: FixedSource) -> None:
    rows = parts(operator)["nodes"]["rows"]
    offered = [row["cells"][0]["text"] for row in rows if "href" in row["cells"][-1]]
    assert offered == ["node-1", "node-2"]


def test_ends_in_words_and_only_those_that_occur(reader: Client, fixed: FixedSource) -> None:
    rows = [
        (row["cells"][0]["text"], row["cells"][0]["below"], row["cells"][1]["text"])
        for row in parts(reader)["closes"]["rows"]
    ]
    assert rows == [
        ("going away", "1001", "4,320"),
        ("connection lost", "1006", "3,960"),
        ("replaced", "4503", "360"),
    ]
    assert tile(parts(reader), "Came back, missed nothing", "hour") == "2,880"


def test_codes_without_a_number_have_a_line_of_their_own(
    reader: Client, fixed: FixedSource
) -> None:
    found = values.overview()
    sample = replace(found.samples[-1], closes={"other": 3, "0": 2})
    fixed.answers["overview"] = replace(found, samples=[sample])
    rows = [[cell["text"] for cell in row["cells"]] for row in parts(reader)["closes"]["rows"]]
    assert rows == [["any other code", "3"], ["cut", "2"]]


@pytest.mark.parametrize("code", ["²", "--5", "", "newer", "1" * 5_000])
def test_what_is_no_close_code_breaks_no_page(
    reader: Client, fixed: FixedSource, code: str
) -> None:
    last = replace(values.sample(NOW, 1), closes={code: 3})
    fixed.answers["overview"] = values.overview(samples=[last])
    (row,) = parts(reader)["closes"]["rows"]
    assert [cell["text"] for cell in row["cells"]] == ["cut", "3"]


def test_charts_have_rates_and_milliseconds(reader: Client, fixed: FixedSource) -> None:
    charts = parts(reader)["charts"]
    assert charts["whole"] is True and len(charts["samples"]["at"]) == 360
    assert {len(line) for line in charts["samples"].values()} == {360}
    assert charts["samples"]["messages_out"][0] == 600.0
    assert charts["samples"]["delivery_p50"][0] == pytest.approx(4.0)
    assert charts["samples"]["closes"][0] == 22


def test_what_is_long_ago_does_not_stand_as_now(reader: Client, fixed: FixedSource) -> None:
    for late, told in ((20.0, "836/s"), (60.0, "–")):
        fixed.answers["overview"] = values.overview(at=NOW + late)
        found = parts(reader)
        assert tile(found, "Messages out") == told
        assert (tile(found, "Delivery, 99 of 100") == "–") is (told == "–")


def test_charts_are_in_the_zone_of_the_tables(
    reader: Client, fixed: FixedSource, settings: LazySettings
) -> None:
    settings.TIME_ZONE = "Asia/Seoul"
    text = page(reader, "overview/").partition('id="gateway-chart-texts"')[2]
    assert '"zone": "Asia/Seoul"' in text.partition("</script>")[0]


def test_the_script_asks_for_what_is_new(reader: Client, fixed: FixedSource) -> None:
    found = parts(reader, f"?after={NOW - 25}")
    assert fixed.calls[-1] == ("overview", (), {"after": NOW - 25})
    assert found["charts"]["samples"]["at"] == [NOW - 20, NOW - 10]
    assert found["charts"]["whole"] is False
    assert "closes" not in found and "hour" not in found, "they are of all the hour"
    assert tile(found, "Messages out") == "836/s"


@pytest.mark.parametrize("after", ["", "x", "-7", "nan", "1e999"])
def test_a_strange_after_is_no_error(reader: Client, fixed: FixedSource, after: str) -> None:
    assert reader.get(f"{ROOT}overview/data/?after={after}").status_code == 200


def test_in_small_the_totals_alone(reader: Client, fixed: FixedSource) -> None:
    assert set(parts(reader, "?small=1")) == {"totals"}
    asked = fixed.calls[-1][2]
    assert asked == {"last": 60.0}, "no hour is fetched for it, and no clock of the web host counts"
