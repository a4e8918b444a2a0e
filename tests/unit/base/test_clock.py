"""The store's time as a node knows it."""

from __future__ import annotations

import time

import pytest

from sockets.base.clock import StoreClock, steady_time
from tests.support.doubles import NOON, MovedClock


def test_until_the_store_was_heard_it_is_this_machines() -> None:
    assert StoreClock()() == pytest.approx(time.time(), abs=1)
    assert steady_time() == pytest.approx(time.time(), abs=3_600)


def test_what_the_store_says_counts() -> None:
    own = MovedClock(1_000.0)
    clock = StoreClock(own)
    clock.heard(NOON, asked=999.9)
    assert clock() == pytest.approx(NOON)
    own.advance(10)
    assert clock() == pytest.approx(NOON + 10)


def test_a_late_answer_changes_nothing_that_it_agrees_with() -> None:
    own = MovedClock(1_000.0)
    clock = StoreClock(own)
    clock.heard(NOON, asked=1_000.0)
    own.advance(10)
    clock.heard(NOON + 7, asked=1_003.0)  # it says so somewhere in 7 seconds
    assert clock() == pytest.approx(NOON + 10)


def test_a_store_whose_clock_was_set_is_believed() -> None:
    own = MovedClock(1_000.0)
    clock = StoreClock(own)
    for step in (0.0, 300.0, -300.0):
        clock.heard(NOON + step, asked=999.5)
        assert clock() == pytest.approx(NOON + step)
