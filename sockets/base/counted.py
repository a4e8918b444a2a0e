"""What this process has counted so far, as plain numbers: for whoever shows how it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sockets.base import metrics


@dataclass(frozen=True, slots=True)
class Counted:
    """Totals since this process began. `closes`: by close code. `delivery`: how many deliveries
    took how long, for each of `metrics.DELIVERY_BOUNDS` and beyond."""

    connects: int = 0
    closes: Mapping[str, int] = field(default_factory=dict)
    messages_in: int = 0
    messages_out: int = 0
    refusals: int = 0
    recovered: int = 0
    unrecovered: int = 0
    dropped: int = 0
    delivery: tuple[int, ...] = ()


def counted() -> Counted:
    """Return what has been counted by now. Without prometheus_client nothing is."""
    closes: dict[str, int] = {}
    for labels, value in _children(metrics.DISCONNECTS):
        closes[labels["code"]] = closes.get(labels["code"], 0) + value
    return Counted(
        connects=_total(metrics.CONNECTS),
        closes=closes,
        messages_in=_total(metrics.MESSAGES_IN),
        messages_out=_total(metrics.DELIVERIES),
        refusals=_total(metrics.REFUSALS) + _total(metrics.TURNED_AWAY),
        recovered=metrics.recovered.read()[0][-1],
        unrecovered=_total(metrics.UNRECOVERED),
        dropped=_total(metrics.DROPPED),
        delivery=_buckets([child.read()[0] for child in metrics.delivery.values()]),
    )


def _children(counter: Any) -> list[tuple[Mapping[str, str], int]]:
    return [
        (sample.labels, int(sample.value))
        for family in counter.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    ]


def _total(counter: Any) -> int:
    return sum(value for _, value in _children(counter))


def _buckets(cumulative: list[list[int]]) -> tuple[int, ...]:
    sums = [sum(column) for column in zip(*cumulative, strict=True)]
    return tuple(after - before for before, after in pairwise([0, *sums]))
