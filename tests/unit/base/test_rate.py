"""The token bucket: never more than the burst and the rate allow, never less for the patient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockets.base.rate import Bucket, Seldom


def test_so_many_at_once_and_so_many_a_second() -> None:
    bucket = Bucket(0.0, rate=10, burst=5)
    assert [bucket.take(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert bucket.wait() == pytest.approx(0.1)
    assert not bucket.take(0.05)
    assert bucket.take(0.1) and not bucket.take(0.1)
    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(100.0, rate=10, burst=1)
    assert bucket.take(100.0)
    assert not bucket.take(50.0) and not bucket.take(100.05)
    assert bucket.take(100.11), "ten a second"


def test_seldom_says_how_many_it_held_back() -> None:
    seldom = Seldom(60)
    assert [seldom.passes(at) for at in (0, 0, 59.9, 60, 60.1, 120)] == [0, None, None, 2, None, 1]


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 100),
    st.lists(st.floats(0, 2), max_size=200),
)
def test_never_more_than_allowed(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now, taken = Bucket(0.0, rate=rate, burst=burst), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= burst + rate * now + 1e-6


@given(st.floats(0.1, 1_000), st.integers(1, 100))
def test_whoever_waits_as_told_is_served(rate: float, burst: int) -> None:
    bucket, now = Bucket(0.0, rate=rate, burst=burst), 0.0
    while bucket.take(now):
        pass
    assert bucket.take(now + bucket.wait() * 1.000001)
