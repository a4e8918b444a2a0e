"""Shrinking against oracles that are made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.search.schedule import Schedule, draw
from tests.search.shrink import shrink

BIG = draw(3, frozenset(), steps=12)


def counted(fails: Callable[[Schedule], bool]) -> tuple[list[Schedule], Callable[..., object]]:
    asked: list[Schedule] = []

    async def answer(schedule: Schedule) -> bool:
        asked.append(schedule)
        return fails(schedule)

    return asked, answer


@pytest.mark.parametrize("place", [0, 7, -1])
async def test_one_fault_is_found_among_many(place: int) -> None:
    guilty = BIG.faults[place]
    asked, fails = counted(lambda schedule: guilty in schedule.faults)
    least = await shrink(BIG, fails, deadline=1, clock=lambda: 0)  # type: ignore[arg-type]
    assert least.faults == (guilty,)
    assert len(asked) < 3 * len(BIG.faults)
    assert least.setting == BIG.setting


async def test_two_faults_that_need_each_other() -> None:
    guilty = {BIG.faults[1], BIG.faults[-2]}
    _, fails = counted(lambda schedule: guilty <= set(schedule.faults))
    least = await shrink(BIG, fails, deadline=1, clock=lambda: 0)  # type: ignore[arg-type]
    assert set(least.faults) == guilty


async def test_what_needs_all_stays_whole() -> None:
    _, fails = counted(lambda schedule: schedule == BIG)
    least = await shrink(BIG, fails, deadline=1, clock=lambda: 0)  # type: ignore[arg-type]
    assert least == BIG


async def test_the_deadline_ends_it_with_something_that_failed() -> None:
    guilty = BIG.faults[0]
    asked, fails = counted(lambda schedule: guilty in schedule.faults)
    least = await shrink(BIG, fails, deadline=4, clock=lambda: len(asked))  # type: ignore[arg-type]
    assert len(asked) == 4
    assert guilty in least.faults and len(least.faults) < len(BIG.faults)
