"""When a server is left alone, and who may see whether it is back."""

from __future__ import annotations

import pytest

from sockets.auth.breaker import FAILURES, MAX_TRIED, SEVERAL, Breaker
from tests.support.doubles import MovedClock


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def breaker(clock: MovedClock) -> Breaker:
    return Breaker(clock)


def opened(breaker: Breaker, address: str = "a") -> Breaker:
    assert [breaker.failed(address) for _ in range(FAILURES)] == [False] * 4 + [True]
    assert not breaker.may_ask(address)
    return breaker


def test_the_tries_of_one_address_come_at_longer_and_longer_intervals(
    clock: MovedClock, breaker: Breaker
) -> None:
    opened(breaker)
    pauses = []
    for _ in range(8):
        began = clock()
        while not breaker.may_ask("a"):
            clock.advance(0.5)
        assert not breaker.may_ask("a"), "the other one has not come back yet"
        pauses.append(clock() - began)
        breaker.failed("a")
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    clock.advance(30)
    assert breaker.may_ask("a") and breaker.answered() and breaker.may_ask("a")
    assert not breaker.answered()
    opened(breaker)
    clock.advance(1)
    assert breaker.may_ask("a"), "a new outage begins with a short pause"


def test_one_try_a_second_whoever_comes(clock: MovedClock, breaker: Breaker) -> None:
    opened(breaker)
    for _ in range(10):
        clock.advance(0.5)
        assert not breaker.may_ask("fresh")
        clock.advance(0.5)
        assert [breaker.may_ask(f"{clock()}.{n}") for n in range(5)] == [True] + [False] * 4


def test_silences_count_when_several_addresses_see_them(breaker: Breaker) -> None:
    for _ in range(100):
        assert not breaker.was_silent("a")
    seen = [breaker.was_silent(f"b{n}") for n in range(SEVERAL - 1)]
    assert seen == [False] * (SEVERAL - 2) + [True]


def test_an_answer_to_anybody_ends_a_row(breaker: Breaker) -> None:
    for n in range(100):
        assert not breaker.was_silent(f"{n}")
        assert not breaker.failed(f"{n}")
        if n % 2:
            breaker.answered()
    assert breaker.may_ask("a")


def test_what_was_asked_before_it_was_left_alone_makes_no_pause_longer(
    clock: MovedClock, breaker: Breaker
) -> None:
    opened(breaker)
    for _ in range(100):
        breaker.failed("a")
        breaker.was_silent("b")
    clock.advance(1)
    assert breaker.may_ask("a")


def test_what_it_knows_has_a_bound(clock: MovedClock, breaker: Breaker) -> None:
    opened(breaker)
    for n in range(MAX_TRIED + 10):
        clock.advance(1)
        assert breaker.may_ask(f"{n}")
        breaker.was_silent(f"{n}")
    assert len(breaker._tries) == MAX_TRIED and len(breaker._unheard) <= SEVERAL
