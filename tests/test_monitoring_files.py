"""The dashboard and the alerts: of a form that their tools take, of metrics that there are.

What PromQL itself would take is for `promtool`, where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, Counter
from prometheus_client.metrics import MetricWrapperBase

from sockets.base import metrics
from sockets.base.histograms import PlainHistogram
from tests.support.gateway import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/gateway.json").read_text())
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
PAGE = (ROOT / "docs/monitoring.md").read_text()

OF_PROMETHEUS = {"up"}
"""Not told by a process, but of it."""
OF_A_TARGET = {"job", "instance"}
"""Labels that Prometheus gives whatever it asks for."""

_WORDS = {"and", "or", "unless", "by", "on", "without", "ignoring", "group_left", "group_right"}
_GROUPS = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^{}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def labels_by_name() -> dict[str, set[str]]:
    """Each series that the code has, with its labels."""
    known: dict[str, set[str]] = {}
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase | PlainHistogram):
            labels = set(one._labelnames)
            if isinstance(one, Counter):
                known[f"{one._name}_total"] = labels
            elif isinstance(one, PlainHistogram) or one._type == "histogram":
                known[f"{one._name}_bucket"] = labels | {"le"}
                known |= {f"{one._name}_{end}": labels for end in ("sum", "count")}
            else:
                known[one._name] = labels
    for family in REGISTRY.collect():  # those of every process: CPU, memory, files
        if family.name.startswith("process_"):
            known |= {one.name: set(one.labels) for one in family.samples}
    return known


KNOWN = labels_by_name()


def values_of(name: str, label: str) -> set[str]:
    """Those that the series has from the start."""
    samples = (one for family in REGISTRY.collect() for one in family.samples)
    return {one.labels[label] for one in samples if one.name == name and label in one.labels}


def wrong_in(expression: str) -> Iterator[str]:
    """Yield what in an expression is no name, label or label value of ours."""
    named: set[str] = set()
    for name, inside in _SELECTOR.findall(expression):
        for label, operator, value in _MATCHER.findall(inside):
            if label in OF_A_TARGET:
                continue
            if label not in KNOWN.get(name, ()):
                yield f"{name} has no label {label}"
            elif operator in ("=", "!=") and value not in values_of(name, label):
                yield f'{name} has never {label}="{value}"'
    bare = re.sub(r"\{[^{}]*\}|\[[^\]]*\]", " ", expression)
    grouped = {one.strip() for inside in _GROUPS.findall(bare) for one in inside.split(",")}
    bare = _GROUPS.sub(" ", bare)
    for name, call in re.findall(r"(?<![\w.$])([a-zA-Z_:][\w:]*)\s*(\(?)", bare):
        if call or name in _WORDS:
            continue
        named.add(name)
        if name not in KNOWN.keys() | OF_PROMETHEUS:
            yield f"there is no metric {name}"
    labels = set[str]().union(*(KNOWN.get(name, set()) for name in named)) | OF_A_TARGET
    yield from (f"nothing in {named} has the label {one}" for one in grouped - labels - {""})
    if not named:
        yield "it names no metric"


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_it_asks_for_what_there_is(place: str, expression: str) -> None:
    assert list(wrong_in(expression)) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(gateway_connect_total[5m])", "no metric gateway_connect_total"),
        ("gateway_connects", "no metric gateway_connects"),
        ("gateway_ready_seconds_bucket{job='x'} > 1", "no metric"),
        ('gateway_sessions{king="client"}', "no label king"),
        ('gateway_sessions{kind="clients"}', 'never kind="clients"'),
        ('gateway_dropped_total{what!="ephemerals"}', "never what="),
        ("sum by (kind, code) (gateway_sessions)", "has the label code"),
        ("sum by (le) (rate(gateway_delivery_seconds_sum[5m]))", "has the label le"),
        ("a * on (job) group_left (nodes) gateway_node", "has the label nodes"),
        ("1 > 0", "names no metric"),
    ],
)
def test_it_would_find_what_there_is_not(expression: str, wrong: str) -> None:
    assert any(wrong in one for one in wrong_in(expression)), list(wrong_in(expression))


def test_each_metric_of_ours_is_on_the_dashboard() -> None:
    shown = " ".join(expression for panel in PANELS for expression in _asked_by(panel))
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase | PlainHistogram):
            assert re.search(rf"\b{one._name}(_total|_bucket|_count|_sum)?\b", shown), one._name


def _asked_by(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel.get("targets", ())]


# --- the dashboard


def test_grafana_takes_it() -> None:
    assert DASHBOARD["schemaVersion"] >= 36 and DASHBOARD["title"] and DASHBOARD["uid"]
    assert "id" not in DASHBOARD, "Grafana's own: with one it would replace another dashboard"
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids) > 20
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    for panel in PANELS:
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        assert references or panel["type"] == "row"


def test_whoever_loads_it_chooses_the_source() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    source = {"type": "prometheus", "uid": "${datasource}"}
    found = [panel for panel in PANELS if panel["type"] != "row"]
    asked = [target for panel in found for target in panel["targets"]]
    others = [one for name, one in variables.items() if name != "datasource"]
    assert all(one["datasource"] == source for one in (*found, *asked, *others))
    assert variables.keys() == {"datasource", "job", "instance"}
    for target in asked:
        used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval"}
        assert used == {"job", "instance"}, target["expr"]
    for one in others:
        (name,) = re.findall(r"label_values\((\w+)", one["query"]["query"])
        assert name in KNOWN


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_a_legend_names_labels_that_the_series_have() -> None:
    for panel in PANELS:
        for target in panel.get("targets", ()):
            kept = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            expression = target["expr"]
            lists = [one.split(",") for one in _GROUPS.findall(expression)]
            grouped = {one.strip() for names in lists for one in names}
            assert kept <= grouped or ("by (" not in expression and kept <= OF_A_TARGET), expression


# --- the alerts


def test_each_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names) > 10
    for rule in RULES:
        assert re.fullmatch(r"\d+[ms]", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        told = rule["annotations"]
        assert told["summary"] and told["description"], rule["alert"]
        page, _, anchor = told["docs"].partition("#")
        assert page == "docs/monitoring.md" and anchor in anchors, told["docs"]
        section = PAGE.split(f"\n### {_heading(anchor, headings)}\n")[1].split("\n### ")[0]
        assert f"`{rule['alert']}`" in section, f"{rule['alert']} is not at {told['docs']}"


def _heading(anchor: str, headings: list[str]) -> str:
    return next(one for one in headings if one.lower().replace(" ", "-") == anchor)


def test_the_page_has_no_alert_that_there_is_not() -> None:
    assert set(re.findall(r"`(Gateway[A-Z]\w+)`", PAGE)) == {rule["alert"] for rule in RULES}


def test_labels_in_a_text_are_those_that_are_left() -> None:
    for rule in RULES:
        text = " ".join(rule["annotations"].values())
        used = set(re.findall(r"\$labels\.(\w+)", text))
        lists = [one.split(",") for one in re.findall(r"\bby \(([^()]*)\)", rule["expr"])]
        grouped = {one.strip() for names in lists for one in names}
        assert used <= (grouped or OF_A_TARGET), rule["alert"]


def promtool(*arguments: str | Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not here: it comes with Prometheus")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_alerts() -> None:
    promtool("check", "rules", ALERTS)


def test_prometheus_takes_what_the_dashboard_asks_for(tmp_path: Path) -> None:
    """As recording rules, with what Grafana puts in the place of its variables."""
    rules = []
    for number, (_, expression) in enumerate(expressions()):
        for variable, value in (("job", "gateway"), ("instance", ".*"), ("__rate_interval", "1m")):
            expression = expression.replace(f"${variable}", value)
        rules.append({"record": f"asked:{number}", "expr": expression})
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


WELL = {
    "up": "1+0x60",
    "gateway_ready": "1+0x60",
    "gateway_renewal_seconds_count": "0+6x60",
    "gateway_sessions": "1000+0x60",
    **{
        f'gateway_{name}_seconds_bucket{{le="{bound}"}}': "0+60x60"
        for name in ("loop_lag", "renewal", "delivery", "redis_call")
        for bound in ("0.1", "30", "+Inf")
    },
    "gateway_connects_total": "0+60x60",
    'gateway_deliveries_total{path="live"}': "0+6000x60",
    'gateway_dropped_total{what="ephemeral"}': "0+6x60",
    'gateway_dropped_total{what="recorder"}': "0+0x60",
    'gateway_refusals_total{code="4501"}': "0+1x60",
    'gateway_turned_away_total{why="node_rate"}': "0+1x60",
    "gateway_nodes_reaped_total": "0+0x60",
    "gateway_slow_consumers_total": "0+0x60",
    "gateway_unrecovered_total": "0+0x60",
    'gateway_redis_promise_broken{promise="append_only"}': "0+0x60",
    "gateway_layer_gaps_total": "0+0x60",
    "gateway_recorder_pending": "10+0x60",
    "gateway_webhooks_pending": "10+0x60",
    'gateway_webhooks_total{outcome="refused"}': "0+0x60",
    'gateway_receivers_waiting{pool="tasks"}': "1+0x60",
}
"""A node that does well, by the minute."""


def slow(name: str) -> dict[str, str]:
    return {
        f'gateway_{name}_seconds_bucket{{le="0.1"}}': "0+0x60",
        f'gateway_{name}_seconds_bucket{{le="30"}}': "0+60x60",
    }


ILL: dict[str, dict[str, str]] = {
    "GatewayAbsent": {"gateway_ready": "_x60"},
    "GatewayNodeDown": {"up": "0+0x60"},
    "GatewayNoNodeReady": {"gateway_ready": "0+0x60"},
    "GatewayNodeNotReady": {"gateway_ready": "0+0x60"},
    "GatewayNodeReaped": {"gateway_nodes_reaped_total": "0+0x25 1+0x34"},
    "GatewayLoopLag": slow("loop_lag"),
    "GatewayRenewalSlow": slow("renewal"),
    "GatewayRenewalStopped": {"gateway_renewal_seconds_count": "6+0x60"},
    "GatewayDeliverySlow": slow("delivery"),
    "GatewayDropped": {'gateway_dropped_total{what="recorder"}': "0+0x24 1+0x35"},
    "GatewayEphemeralDropped": {'gateway_dropped_total{what="ephemeral"}': "0+600x60"},
    "GatewaySlowConsumers": {"gateway_slow_consumers_total": "0+3x60"},
    "GatewayUnrecovered": {"gateway_unrecovered_total": "0+30x60"},
    "GatewayRefusals": {'gateway_refusals_total{code="4501"}': "0+120x60"},
    "GatewayTurnedAway": {'gateway_turned_away_total{why="node_rate"}': "0+600x60"},
    "GatewayPromiseBroken": {'gateway_redis_promise_broken{promise="append_only"}': "1+0x60"},
    "GatewayRedisSlow": slow("redis_call"),
    "GatewayLayerGaps": {"gateway_layer_gaps_total": "0+1x60"},
    "GatewayRecorderBehind": {"gateway_recorder_pending": "6000+0x60"},
    "GatewayWebhooksBehind": {"gateway_webhooks_pending": "2000+0x60"},
    "GatewayWebhooksRefused": {'gateway_webhooks_total{outcome="refused"}': "0+0x25 1+0x34"},
    "GatewayReceiversBehind": {'gateway_receivers_waiting{pool="tasks"}': "2000+0x60"},
}
"""What brings each alert, after half an hour."""


def test_each_alert_has_what_brings_it() -> None:
    assert ILL.keys() == {rule["alert"] for rule in RULES}
    assert all(changed.keys() <= WELL.keys() for changed in ILL.values())


def test_each_alert_comes_and_none_while_all_is_well(tmp_path: Path) -> None:
    tests = [_case({}), *(_case(changed, alert) for alert, changed in ILL.items())]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": tests}))
    promtool("test", "rules", file)


def _case(changed: dict[str, str], alert: str = "") -> dict[str, Any]:
    """As promtool takes it: this alert fires; without one, none does."""
    series = [
        {"series": _of_a_target(name), "values": values}
        for name, values in {**WELL, **changed}.items()
    ]
    name = f'alertname="{alert}",' if alert else ""
    asked = {
        "expr": f'count(ALERTS{{{name}alertstate="firing"}})',
        "eval_time": "30m",
        "exp_samples": [{"labels": "{}", "value": 1}] if alert else [],
    }
    return {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}


def _of_a_target(name: str) -> str:
    name, _, labels = name.partition("{")
    return f'{name}{{job="gateway",instance="a:4001"{"," + labels if labels else "}"}'
