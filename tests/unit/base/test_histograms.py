"""Plain numbers at the observation, a Prometheus histogram at the scrape."""

from __future__ import annotations

import math
import random

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from sockets.base.histograms import Observations, PlainHistogram

BUCKETS = (0.001, 0.5, 1, 2.5, 1_000)


def made(registry: CollectorRegistry, *labelnames: str) -> PlainHistogram:
    return PlainHistogram("x_seconds", "What.", labelnames, buckets=BUCKETS, registry=registry)


def without_created(text: str) -> list[str]:
    return [line for line in text.splitlines() if "_created" not in line]


@pytest.mark.parametrize("write", [generate_latest, openmetrics])
def test_it_is_shown_as_prometheus_own(write: object) -> None:
    """To the letter, whatever was observed: on a bound, between two, above all of them."""
    assert callable(write)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    plain = made(ours, "kind")
    own = Histogram("x_seconds", "What.", ["kind"], buckets=BUCKETS, registry=theirs)
    amounts = [0.0, *BUCKETS, 1e9, *(random.Random(7).expovariate(1) for _ in range(200))]
    for kind in ("a", "b"):
        for amount in amounts:
            plain.labels(kind).observe(amount)
            own.labels(kind).observe(amount)
    assert without_created(write(ours).decode()) == without_created(write(theirs).decode())


def test_a_series_is_there_before_anything_was_observed() -> None:
    registry = CollectorRegistry()
    made(registry).labels()
    made_later = PlainHistogram("y", "What.", ["a"], buckets=(1,), registry=registry)
    assert registry.get_sample_value("x_seconds_count") == 0
    assert registry.get_sample_value("x_seconds_bucket", {"le": "+Inf"}) == 0
    assert registry.get_sample_value("y_count", {"a": "1"}) is None
    made_later.labels(1)
    assert registry.get_sample_value("y_count", {"a": "1"}) == 0


def test_the_same_labels_are_the_same_numbers() -> None:
    plain = made(CollectorRegistry(), "kind")
    assert plain.labels("a") is plain.labels("a")
    assert plain.labels("a") is not plain.labels("b")
    for wrong in ((), ("a", "b")):
        with pytest.raises(ValueError, match="labels"):
            plain.labels(*wrong)


def test_two_of_one_name_are_found() -> None:
    registry = CollectorRegistry()
    made(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        made(registry)


@pytest.mark.parametrize("buckets", [(), (1, 1), (2, 1)])
def test_buckets_ascend(buckets: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        PlainHistogram("x", "What.", buckets=buckets, registry=CollectorRegistry())


def test_an_observation_has_no_surprises() -> None:
    one = Observations([1, 2])
    for amount in (-5.0, 1, 1.0000001, 2, 3, 1e300):
        one.observe(amount)
    counts, total = one.read()
    assert counts == [2, 4, 6] and math.isfinite(total)
