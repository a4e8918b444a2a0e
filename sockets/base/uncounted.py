"""Metrics that count nothing, where prometheus_client is not installed.

They have the form of its metrics, as far as the gateway uses it. A web worker that only notifies
has nobody who would read its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self


class Nothing:
    """A counter, gauge or histogram without a number."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        *,
        buckets: Sequence[float] = (),
    ) -> None:
        pass

    def labels(self, *values: object) -> Self:
        """Return the same again: it needs no children."""
        return self

    def inc(self, amount: float = 1) -> None:
        """Count nothing."""

    def dec(self, amount: float = 1) -> None:
        """Count nothing."""

    def set(self, value: float) -> None:
        """Keep nothing."""

    def observe(self, amount: float) -> None:
        """Keep nothing."""

    def set_function(self, f: Callable[[], float]) -> None:
        """Ask nothing."""

    def clear(self) -> None:
        """Forget nothing."""

    def collect(self) -> Sequence[Any]:
        """Return that there is nothing."""
        return ()

    def read(self) -> tuple[list[int], float]:
        """Return that nothing was observed."""
        return [0], 0.0


Counter = Gauge = Histogram = PlainHistogram = Nothing
