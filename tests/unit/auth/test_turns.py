"""Turns: so many at work, and the crowd of one address keeps nobody else waiting."""

from __future__ import annotations

import asyncio

import pytest

from sockets.auth.turns import Turns


class Crowd:
    """Tasks that each have a turn until they are told to end; `at_work`: who has one."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.at_work: list[str] = []
        self._tasks: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    async def come(self, name: str, address: str) -> asyncio.Event:
        """Let one more come. Returns the event that ends its turn."""
        end = asyncio.Event()

        async def work() -> None:
            async with self.turns.turn(address, 5):
                self.at_work.append(name)
                await end.wait()
                self.at_work.remove(name)

        self._tasks.append((asyncio.ensure_future(work()), end))
        await settled()
        return end

    async def go(self) -> None:
        """End all turns, the waiting ones too."""
        for _, end in self._tasks:
            end.set()
        await asyncio.gather(*(task for task, _ in self._tasks))


async def settled() -> None:
    """Let all go as far as they can without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_address_waits_for_its_own_share() -> None:
    crowd = Crowd(Turns(3, 2))
    first = await crowd.come("a1", "a")
    for name in ("a2", "a3"):
        await crowd.come(name, "a")
    await crowd.come("b1", "b")
    assert crowd.at_work == ["a1", "a2", "b1"]
    first.set()
    await settled()
    assert crowd.at_work == ["a2", "b1", "a3"]
    await crowd.go()


async def test_all_together_wait_for_the_whole() -> None:
    crowd = Crowd(Turns(2, 2))
    first = await crowd.come("a", "a")
    for name in "bc":
        await crowd.come(name, name)
    assert crowd.at_work == ["a", "b"]
    first.set()
    await settled()
    assert crowd.at_work == ["b", "c"]
    await crowd.go()


async def test_an_address_that_is_not_known_has_no_share() -> None:
    crowd = Crowd(Turns(3, 1))
    for name in "abc":
        await crowd.come(name, "")
    assert crowd.at_work == ["a", "b", "c"]
    await crowd.go()


async def test_who_waits_for_too_long_is_told_and_takes_nothing_with_it() -> None:
    turns = Turns(1, 1)
    crowd = Crowd(turns)
    await crowd.come("a", "a")
    for address in ("a", "b"):
        with pytest.raises(TimeoutError):
            async with turns.turn(address, 0.01):
                pytest.fail("there was no turn")
    await crowd.go()
    async with turns.turn("b", 5):
        assert list(turns._own) == ["b"], "whoever is gone is forgotten"


async def test_the_work_itself_may_take_longer() -> None:
    async with Turns(1, 1).turn("a", 0.01):
        await asyncio.sleep(0.05)  # longer than it may wait for its turn
