"""Histograms for the hot path: plain numbers, which become Prometheus' when somebody asks for them.

prometheus_client's own take a lock for each bucket and for the sum, and walk the buckets one by
one. Here an observation is a bisection and two additions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


class Observations:
    """What was observed under one set of labels.

    For one thread, the event loop's: others that observe at the same moment may lose one. Any
    thread may read.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(bounds) + 1)  # the last: above all bounds
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Count this amount, a finite number."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def read(self) -> tuple[list[int], float]:
        """Return how many were up to each bound, the last being their number; and their sum."""
        return list(accumulate(self._counts)), self._sum


class PlainHistogram(Collector):
    """A family of them: one without labels, or one for each set of label values.

    `buckets`: upper bounds, ascending, without the infinite one.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        if not buckets or list(buckets) != sorted(set(buckets)):
            raise ValueError("buckets are upper bounds, in ascending order")
        self._name = name
        self._documentation = documentation
        self._labelnames = tuple(labelnames)
        self._buckets = tuple(buckets)
        self._children: dict[tuple[str, ...], Observations] = {}
        registry.register(self)

    def labels(self, *values: object) -> Observations:
        """Return what counts under these label values; its series is there from now on, as 0."""
        if len(values) != len(self._labelnames):
            raise ValueError(f"{self._name} has the labels {self._labelnames}")
        return self._children.setdefault(tuple(map(str, values)), Observations(self._buckets))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the family as it is now."""
        family = self._family()
        bounds = [*map(floatToGoString, self._buckets), "+Inf"]
        for values, child in tuple(self._children.items()):
            counts, total = child.read()
            family.add_metric(values, list(zip(bounds, counts, strict=True)), total)
        yield family

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield its name, by which the registry finds that there is no other of it."""
        yield self._family()

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)
