"""What is looked at when."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from sockets.base.timetable import AHEAD, NOT_LISTED, Timetable
from tests.support.doubles import MovedClock


def due(timetable: Timetable[str]) -> list[str]:
    return [thing for _, thing in timetable.due()]


def test_nothing_is_due_before_its_time_and_nothing_twice() -> None:
    clock = MovedClock(100.0)
    timetable = Timetable[str](1.0, clock)
    timetable.list("one", 102.5)
    clock.now = 102.9
    assert due(timetable) == []
    clock.now = 103.0
    assert due(timetable) == ["one"]
    clock.now = 200.0
    assert due(timetable) == []


def test_what_is_over_is_due_at_the_next_look() -> None:
    clock = MovedClock(100.0)
    timetable = Timetable[str](1.0, clock)
    timetable.list("one", 5.0)
    assert due(timetable) == []
    clock.now = 101.0
    assert due(timetable) == ["one"]


def test_what_is_listed_again_in_its_slot_has_one_entry() -> None:
    clock = MovedClock(100.0)
    timetable = Timetable[str](1.0, clock)
    slot = NOT_LISTED
    for at in (110.0, 109.7, 109.2):
        slot = timetable.list("one", at, slot)
    clock.now = 120.0
    assert list(timetable.due()) == [(slot, "one")]


def test_the_slot_that_was_returned_last_counts() -> None:
    clock = MovedClock(100.0)
    timetable = Timetable[str](1.0, clock)
    slot = NOT_LISTED
    for at in (150.0, 110.0, 130.0):
        slot = timetable.list("one", at, slot)
    clock.now = 200.0
    assert [found for found, _ in timetable.due() if found == slot] == [130]


def test_never_is_never() -> None:
    clock = MovedClock(100.0)
    timetable = Timetable[str](1.0, clock)
    assert timetable.list("one", inf) == NOT_LISTED
    clock.now = 1e6
    assert due(timetable) == []


def test_what_is_far_ahead_is_looked_at_in_between() -> None:
    """Else what is gone would be kept until then."""
    clock = MovedClock(100.0)
    timetable = Timetable[str](1.0, clock)
    timetable.list("a token of a month", 100.0 + 30 * 86_400)
    clock.now = 100.0 + AHEAD + 1
    assert due(timetable) == ["a token of a month"]
    assert not timetable._slots


def test_its_clock_stands_still_with_the_process() -> None:
    clock = MovedClock(100.0)
    timetable = Timetable[str](1.0, clock)
    timetable.list("one", 110.0)
    clock.now = 160.0
    timetable.stood_still(59.0)
    assert timetable.now() == 101.0 and due(timetable) == []
    clock.now = 169.0
    assert due(timetable) == ["one"]


@given(
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 5)), max_size=40),
    st.floats(0.05, 3.0),
)
def test_each_is_looked_at_within_an_interval_of_its_moment(
    script: list[tuple[float, float]], interval: float
) -> None:
    clock = MovedClock(100.0)
    timetable = Timetable[int](interval, clock)
    wanted: dict[int, float] = {}
    for number, (ahead, step) in enumerate(script):
        wanted[number] = clock.now + ahead
        timetable.list(number, clock.now + ahead)
        end = clock.now + step
        while clock.now < end:
            clock.now = min(end, clock.now + interval)
            for _, thing in timetable.due():
                assert wanted.pop(thing) <= clock.now + 1e-6
        for at in wanted.values():
            assert at > clock.now - interval - 1e-6
