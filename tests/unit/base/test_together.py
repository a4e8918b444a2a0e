"""One step for many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sockets.base.together import Together
from tests.support.patience import PATIENCE


class Steps:
    """A step that waits to be let go on, and notes who was in it."""

    def __init__(self) -> None:
        self.done: list[list[str]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[str]) -> None:
        self.done.append(list(items))
        await self.go.wait()
        if self.error is not None:
            raise self.error


async def test_who_comes_while_one_is_under_way_is_in_the_next() -> None:
    steps = Steps()
    together = Together(steps, 2)
    first = asyncio.ensure_future(together.do("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(together.do(name)) for name in "bcd"]
    await asyncio.sleep(0)
    assert steps.done == [["a"]] and not first.done()
    steps.go.set()
    await asyncio.gather(first, *others)
    assert steps.done == [["a"], ["b", "c"], ["d"]]


async def test_a_failure_is_of_all_who_were_in_it_and_of_nobody_else() -> None:
    steps = Steps()
    steps.error = OSError("away")
    together = Together(steps, 2)
    steps.go.set()
    failed = await asyncio.gather(*map(together.do, "ab"), return_exceptions=True)
    assert all(isinstance(error, OSError) for error in failed)
    steps.error = None
    await together.do("c")


async def test_it_is_done_for_who_is_cancelled_and_for_those_beside() -> None:
    steps = Steps()
    together = Together(steps, 10)
    gone, stays = (asyncio.ensure_future(together.do(name)) for name in "ab")
    await asyncio.sleep(0)
    gone.cancel()
    steps.go.set()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert steps.done == [["a", "b"]]


async def test_who_comes_back_at_once_is_in_a_step_of_its_own() -> None:
    steps = Steps()
    steps.go.set()
    together = Together(steps, 1)
    async with asyncio.timeout(PATIENCE):
        for name in "abc":  # before the task of the step before has told that it is over
            await together.do(name)
    assert steps.done == [["a"], ["b"], ["c"]]


async def test_nobody_is_left_waiting_when_it_is_cancelled_before_it_has_begun() -> None:
    steps = Steps()
    together = Together(steps, 1)
    waiting = asyncio.ensure_future(together.do("a"))
    await asyncio.sleep(0)
    assert together._running is not None and steps.done == []
    together._running.cancel()
    await asyncio.wait({waiting}, timeout=PATIENCE)
    assert waiting.cancelled() and together.idle
    steps.go.set()
    async with asyncio.timeout(PATIENCE):
        await together.do("b")
    assert steps.done == [["b"]]


async def test_nobody_is_left_waiting_when_the_process_ends_in_a_step() -> None:
    class Ending(BaseException):
        pass

    async def end(_: Sequence[str]) -> None:
        raise Ending

    together = Together(end, 1)
    waiting = [asyncio.ensure_future(together.do(name)) for name in "ab"]
    await asyncio.sleep(0)
    assert together._running is not None
    running = together._running
    await asyncio.wait(waiting, timeout=PATIENCE)
    assert all(one.cancelled() for one in waiting) and together.idle
    assert isinstance(running.exception(), Ending)


async def test_nobody_is_left_waiting_when_it_is_cancelled() -> None:
    steps = Steps()
    together = Together(steps, 1)
    waiting = [asyncio.ensure_future(together.do(name)) for name in "ab"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert steps.done == [["a"]]
    assert together._running is not None
    together._running.cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in done)
