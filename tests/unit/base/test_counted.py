"""What this process has counted, as plain numbers."""

from __future__ import annotations

import pytest

from sockets.base import metrics, uncounted
from sockets.base.counted import Counted, counted
from sockets.types import Kind, Refusal


def test_it_is_what_the_metrics_count() -> None:
    before = counted()
    metrics.connects[Kind.CLIENT].inc()
    metrics.connects[Kind.WORKER].inc(2)
    metrics.count_disconnect(Kind.CLIENT, 4003)
    metrics.count_disconnect(Kind.WORKER, 4003)
    metrics.messages_in[Kind.CLIENT].inc(5)
    metrics.delivered_live.inc(3)
    metrics.delivered_recovered.inc()
    metrics.count_refusal(4501)
    metrics.refused[Refusal.SLOW].inc()
    metrics.recovered.observe(10)
    metrics.UNRECOVERED.inc()
    metrics.dropped_ephemeral.inc(7)
    metrics.delivery[True].observe(0.002)
    metrics.delivery[False].observe(100)
    after = counted()
    gained = {
        name: getattr(after, name) - getattr(before, name)
        for name in Counted.__slots__
        if name not in ("closes", "delivery")
    }
    assert gained == {
        "connects": 3,
        "messages_in": 5,
        "messages_out": 4,
        "refusals": 2,
        "recovered": 1,
        "unrecovered": 1,
        "dropped": 7,
    }
    assert after.closes["4003"] - before.closes.get("4003", 0) == 2
    buckets = [new - old for old, new in zip(before.delivery, after.delivery, strict=True)]
    assert len(buckets) == len(metrics.DELIVERY_BOUNDS) + 1
    assert (buckets[1], buckets[-1], sum(buckets)) == (1, 1, 2)


def test_without_prometheus_client_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = uncounted.Nothing("n", "d")
    for name in ("CONNECTS", "DISCONNECTS", "MESSAGES_IN", "DELIVERIES", "REFUSALS"):
        monkeypatch.setattr(metrics, name, nothing)
    for name in ("TURNED_AWAY", "UNRECOVERED", "DROPPED", "recovered"):
        monkeypatch.setattr(metrics, name, nothing)
    monkeypatch.setattr(metrics, "delivery", {True: nothing, False: nothing})
    assert counted() == Counted(delivery=(0,))
