"""One answer for all who ask the same."""

from __future__ import annotations

import asyncio

import pytest

from sockets.operations.shared import MAX_WAITING, MOST, Shared, TooManyQuestions
from tests.support.doubles import MovedClock
from tests.support.patience import PATIENCE


async def test_who_asks_the_same_gets_the_same_for_a_while() -> None:
    clock, made = MovedClock(), 0

    async def make() -> int:
        nonlocal made
        await asyncio.sleep(0)
        made += 1
        return made

    shared = Shared(clock)
    asked = [shared.get("a", 5.0, make) for _ in range(3)]
    assert await asyncio.gather(*asked) == [1, 1, 1]
    assert await shared.get("b", 5.0, make) == 2
    clock.advance(4.9)
    assert await shared.get("a", 5.0, make) == 1
    clock.advance(0.1)
    assert await shared.get("a", 5.0, make) == 3


async def test_what_takes_long_is_kept_for_longer() -> None:
    """A page asks each second, and an answer takes two: it is made now and then."""
    clock, made = MovedClock(), 0

    async def make() -> int:
        nonlocal made
        made += 1
        clock.advance(2)
        return made

    shared = Shared(clock)
    found = []
    for _ in range(45):
        found.append(await shared.get("a", 0.5, make))
        clock.advance(1)
    assert found == [1] * 40 + [2] * 5


async def test_after_what_takes_long_comes_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    clock = MovedClock()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.advance(seconds)

    async def make() -> None:
        clock.advance(0.2)

    monkeypatch.setattr("sockets.operations.shared.asyncio.sleep", sleep)
    shared = Shared(clock)
    for key in "abc":
        await shared.get(key, 0.5, make)
    assert pauses == pytest.approx([0.2, 0.2])


async def test_more_than_so_many_questions_are_not_answered() -> None:
    shared, may_go_on = Shared(MovedClock()), asyncio.Event()

    async def make() -> str:
        await may_go_on.wait()
        return "made"

    waiting = [asyncio.ensure_future(shared.get(n, 5.0, make)) for n in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyQuestions):
        await shared.get("one more", 5.0, make)
    may_go_on.set()
    assert set(await asyncio.gather(*waiting)) == {"made"}
    assert await shared.get("one more", 5.0, make) == "made"


async def test_one_that_fails_is_made_again() -> None:
    shared, fails = Shared(MovedClock()), True

    async def make() -> str:
        if fails:
            raise ValueError
        return "made"

    result = await asyncio.gather(shared.get("a", 5.0, make), return_exceptions=True)
    assert isinstance(result[0], ValueError)
    fails = False
    assert await shared.get("a", 5.0, make) == "made"


async def test_a_few_are_kept() -> None:
    shared = Shared(MovedClock())
    made: list[int] = []

    async def make(number: int) -> int:
        made.append(number)
        return number

    for number in [*range(MOST + 1), 0]:
        await shared.get(number, 5.0, lambda number=number: make(number))  # type: ignore[misc]
    assert made == [*range(MOST + 1), 0]


async def test_what_is_kept_waits_for_nobody() -> None:
    shared, may_go_on = Shared(MovedClock()), asyncio.Event()

    async def make_at_once() -> str:
        return "kept"

    async def make() -> str:
        await may_go_on.wait()
        return "made"

    await shared.get("kept", 5.0, make_at_once)
    waiting = [asyncio.ensure_future(shared.get(n, 5.0, make)) for n in range(MAX_WAITING)]
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        assert await shared.get("kept", 5.0, make_at_once) == "kept"
    may_go_on.set()
    await asyncio.gather(*waiting)
