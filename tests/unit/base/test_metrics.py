"""The metrics: bounded labels, stable names."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY, generate_latest

from sockets.base import metrics
from sockets.codes import ABNORMAL, CloseCode
from sockets.types import Kind

# Dashboards are built on these names; a change of this list is a change of the interface.
NAMES = {
    "gateway_sessions",
    "gateway_connects",
    "gateway_disconnects",
    "gateway_refusals",
    "gateway_messages_in",
    "gateway_notifications",
    "gateway_deliveries",
    "gateway_dropped",
    "gateway_layer_errors",
    "gateway_paused_sockets",
    "gateway_slow_consumers",
    "gateway_recorder_pending",
    "gateway_recorder_written",
    "gateway_recorder_failures",
    "gateway_recorder_pruned",
    "gateway_webhooks",
    "gateway_webhooks_pending",
    "gateway_ready",
    "gateway_users",
    "gateway_unrecovered",
    "gateway_delivery_seconds",
    "gateway_welcome_seconds",
    "gateway_recovered_messages",
    "gateway_redis_call_seconds",
    "gateway_renewal_seconds",
    "gateway_loop_lag_seconds",
}


def test_names_are_stable_and_every_metric_says_what_it_is() -> None:
    ours = {m.name: m for m in REGISTRY.collect() if m.name.startswith("gateway_")}
    assert set(ours) >= NAMES
    assert all(metric.documentation.endswith(".") for metric in ours.values())


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (CloseCode.REPLACED, "4503"),
        (1000, "1000"),
        (ABNORMAL, "1006"),
        (3777, "other"),
        (4321, "other"),
        (-1, "other"),
    ],
)
def test_a_peer_cannot_invent_labels(code: int, label: str) -> None:
    assert metrics.code_label(code) == label


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_an_ended_session_is_counted_by_kind_and_code() -> None:
    labels = {"kind": "worker", "code": "other"}
    before = sample("gateway_disconnects_total", **labels)
    metrics.count_disconnect(Kind.WORKER, 3777)
    assert sample("gateway_disconnects_total", **labels) == before + 1


def test_a_refusal_is_counted_by_code() -> None:
    before = sample("gateway_refusals_total", code="4501")
    metrics.count_refusal(CloseCode.UNAUTHORIZED)
    assert sample("gateway_refusals_total", code="4501") == before + 1


def test_the_hot_series_exist_before_anything_happened() -> None:
    text = generate_latest(REGISTRY).decode()
    for series in (
        'gateway_sessions{kind="client"}',
        'gateway_connects_total{kind="worker"}',
        'gateway_notifications_total{durable="true"}',
        'gateway_deliveries_total{path="recovered"}',
        'gateway_dropped_total{what="recorder"}',
        'gateway_dropped_total{what="webhook"}',
        'gateway_webhooks_total{outcome="sent"}',
        'gateway_delivery_seconds_count{durable="true"}',
        'gateway_welcome_seconds_bucket{kind="worker",le="+Inf"}',
        "gateway_loop_lag_seconds_sum",
    ):
        assert series in text
