"""The arithmetic of paired measurements: medians, ratios, and how sure they are.

Each round measures all contestants one after the other, so the values of one round are a pair:
what slows the machine down meanwhile slows both. The ratio of two contestants is the median of
the ratios of their pairs, and its interval lies between two of these ratios, counted from either
end. That a median lies between them has a chance that depends on how many there are and on
nothing else (it is the sign test turned round), so the interval needs no assumption about how
figures scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

CONFIDENCE = 0.90


@dataclass(frozen=True)
class Interval:
    """Where the median lies. `confidence`: the chance of that, at least 0.90 from five pairs on."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Ratio:
    """What `ours` is, as a multiple of the other's."""

    median: float
    interval: Interval
    pairs: int


def confidence(count: int, skipped: int) -> float:
    """Return the chance that the median lies between the values that are left, where `skipped` of
    `count` are left out at either end."""
    outside = sum(comb(count, below) for below in range(skipped + 1))
    return float(1 - 2 * outside / 2**count)


def interval(values: Sequence[float]) -> Interval:
    """Return the shortest interval that has the confidence; of fewer than five values, all that
    there is. Raises ValueError where there is no value."""
    if not values:
        raise ValueError("an interval needs at least one value")
    ordered, count = sorted(values), len(values)
    skipped = 0
    while 2 * (skipped + 1) < count and confidence(count, skipped + 1) >= CONFIDENCE:
        skipped += 1
    return Interval(ordered[skipped], ordered[-1 - skipped], confidence(count, skipped))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio | None:
    """Return the ratio over the pairs; None where the other's figure is too small to divide by."""
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=False) if other > 0]
    if not pairs:
        return None
    ratios = [one / other for one, other in pairs]
    return Ratio(median(ratios), interval(ratios), len(ratios))
