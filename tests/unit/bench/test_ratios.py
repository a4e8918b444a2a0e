"""Medians, ratios and their intervals."""

from __future__ import annotations

import random
from itertools import repeat
from statistics import median

import pytest

from bench.peers.ratios import CONFIDENCE, confidence, interval, ratio


@pytest.mark.parametrize(
    ("count", "skipped", "chance"), [(5, 0, 0.9375), (9, 1, 0.9609), (9, 2, 0.8203), (3, 0, 0.75)]
)
def test_the_chance_is_that_of_the_sign_test(count: int, skipped: int, chance: float) -> None:
    assert confidence(count, skipped) == pytest.approx(chance, abs=1e-4)


def test_of_nine_values_the_outermost_two_are_left_out() -> None:
    found = interval([5, 1, 9, 3, 7, 2, 8, 4, 6])
    assert (found.low, found.high) == (2, 8)
    assert found.confidence >= CONFIDENCE


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_of_few_values_it_is_all_that_there_is(count: int) -> None:
    found = interval(range(count))
    assert (found.low, found.high) == (0, count - 1)
    assert found.confidence < CONFIDENCE


def test_an_interval_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        interval([])


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    chance = random.Random(7)
    hits = sum(
        found.low <= 0 <= found.high
        for found in (interval([chance.gauss(0, 1) for _ in repeat(None, 9)]) for _ in range(4000))
    )
    assert hits / 4000 == pytest.approx(confidence(9, 1), abs=0.02)


def test_a_ratio_is_that_of_pairs_and_not_of_medians() -> None:
    ours, theirs = [10, 40, 90], [10, 20, 30]
    found = ratio(ours, theirs)
    assert found is not None
    assert (found.median, found.pairs) == (2, 3)
    assert (found.interval.low, found.interval.high) == (1, 3)
    assert median(ours) / median(theirs) == 2


def test_what_slows_down_a_whole_round_changes_nothing() -> None:
    steady = ratio([2, 2, 2, 2, 2], [1, 1, 1, 1, 1])
    shaken = ratio([2, 20, 4, 2, 6], [1, 10, 2, 1, 3])
    assert steady == shaken


@pytest.mark.parametrize("theirs", [[], [0, 0]])
def test_there_is_no_ratio_to_nothing(theirs: list[float]) -> None:
    assert ratio([1, 2], theirs) is None
