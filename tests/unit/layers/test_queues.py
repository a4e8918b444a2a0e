"""Queues of channels: bounded, in order, and gone with their timer when nobody waits any more."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from channels.exceptions import ChannelFull

from sockets.base import metrics
from sockets.layers.queues import Queues, require_dict
from tests.support.doubles import MovedClock

EXPIRY = 60.0


class Kept(Queues):
    """Queues of this test's loop, for two messages each. `left`: the channels that were given up;
    `worth_telling`: what is said of them."""

    def __init__(self, clock: MovedClock, *, homeless: bool = False) -> None:
        self.left: list[str] = []
        self.worth_telling = False
        loop = None if homeless else asyncio.get_running_loop()
        super().__init__(self._gone, lambda _: 2, EXPIRY, clock, loop)

    def _gone(self, channel: str) -> bool:
        self.left.append(channel)
        return self.worth_telling


def message(n: int = 0) -> dict[str, Any]:
    return {"type": "t", "n": n}


def timer_of(queues: Queues) -> asyncio.TimerHandle | None:
    return queues._timer


def dropped() -> float:
    value: float = metrics.dropped_layer._value.get()
    return value


async def test_messages_come_in_their_order() -> None:
    queues = Kept(MovedClock())
    queues.put("c", message(1))
    queues.offer("c", message(2))
    assert [(await queues.get("c"))["n"] for _ in range(2)] == [1, 2]


async def test_a_full_queue_is_told_to_who_waits_for_it_and_counted_for_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queues, before = Kept(MovedClock()), dropped()
    for n in range(2):
        queues.put("c", message(n))
    with pytest.raises(ChannelFull):
        queues.put("c", message())
    assert dropped() == before
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            queues.offer("c", message())
    assert dropped() == before + 3
    assert caplog.text.count("as many as it takes wait already") == 1


async def test_what_is_offered_to_a_channel_that_was_given_up_makes_no_queue() -> None:
    queues = Kept(MovedClock())
    queues.offer("c", message())
    assert "c" not in queues and len(queues) == 0


async def test_a_message_that_has_waited_for_too_long_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, before = MovedClock(), dropped()
    queues = Kept(clock)
    queues.put("c", message(1))
    clock.advance(EXPIRY - 1)
    reading = asyncio.ensure_future(queues.get("c"))
    await reading
    queues.put("c", message(2))
    waiting = asyncio.ensure_future(queues.get("d"))
    await asyncio.sleep(0)
    clock.advance(EXPIRY - 1)
    queues.open("c")  # is looked at, and may stay
    queues.put("c", message(3))
    queues._unattended.pop("c")  # as while somebody waits for it
    clock.advance(1)
    assert (await queues.get("c"))["n"] == 3
    assert dropped() == before + 1 and "it had waited for too long" in caplog.text
    waiting.cancel()


async def test_a_queue_is_discarded_only_when_it_is_empty_and_nobody_waits() -> None:
    queues = Kept(MovedClock())
    assert queues.discard("never was")
    queues.put("c", message())
    assert not queues.discard("c")
    await queues.get("c")
    waiting = asyncio.ensure_future(queues.get("c"))
    await asyncio.sleep(0)
    assert not queues.discard("c")
    waiting.cancel()
    await asyncio.wait({waiting})
    assert queues.discard("c") and "c" not in queues


@pytest.mark.parametrize("worth_telling", [False, True])
async def test_a_queue_that_nobody_waits_on_goes_with_its_messages(
    caplog: pytest.LogCaptureFixture, worth_telling: bool
) -> None:
    clock, before = MovedClock(), dropped()
    queues = Kept(clock)
    queues.worth_telling = worth_telling
    queues.open("empty")
    clock.advance(EXPIRY)
    queues.open("c")
    assert queues.left == ["empty"]
    assert ("channel empty: nobody" in caplog.text) is worth_telling
    queues.put("c", message())
    clock.advance(EXPIRY)
    queues.open("d")
    assert queues.left == ["empty", "c"] and dropped() == before + 1
    assert "channel c: nobody has waited" in caplog.text, "its message is lost"


async def test_a_queue_with_a_receiver_stays() -> None:
    clock = MovedClock()
    queues = Kept(clock)
    waiting = asyncio.ensure_future(queues.get("c"))
    await asyncio.sleep(0)
    clock.advance(10 * EXPIRY)
    queues.put("c", message(7))
    assert queues.left == [] and (await waiting)["n"] == 7


async def test_a_timer_runs_only_while_there_is_something_to_look_for() -> None:
    clock = MovedClock()
    queues = Kept(clock)
    assert timer_of(queues) is None
    queues.open("a")
    clock.advance(EXPIRY / 2)
    queues.open("b")
    timer = timer_of(queues)
    assert timer is not None
    timer.cancel()
    clock.advance(EXPIRY / 2)
    queues._on_timer()
    assert queues.left == ["a"]
    next_timer: Any = timer_of(queues)
    assert next_timer.when() - asyncio.get_running_loop().time() == pytest.approx(EXPIRY / 2, abs=1)
    clock.advance(EXPIRY)
    next_timer.cancel()
    queues._on_timer()
    assert queues.left == ["a", "b"] and timer_of(queues) is None


async def test_clearing_forgets_everything_and_its_timer() -> None:
    queues = Kept(MovedClock())
    queues.put("c", message())
    timer = timer_of(queues)
    assert timer is not None
    queues.clear()
    assert len(queues) == 0 and timer.cancelled() and timer_of(queues) is None


async def test_emptying_keeps_the_queues_that_somebody_waits_on() -> None:
    queues = Kept(MovedClock())
    queues.put("c", message())
    waiting = asyncio.ensure_future(queues.get("d"))
    await asyncio.sleep(0)
    queues.put("d", message(1))
    queues.put("d", message(2))
    assert queues.empty() == ["d"] and "c" not in queues
    queues.put("d", message(3))
    assert (await waiting)["n"] == 3


async def test_queues_without_a_loop_have_a_timer_when_they_move_to_one() -> None:
    queues = Kept(MovedClock(), homeless=True)
    for n in range(2):
        queues.put("c", message(n))
    assert timer_of(queues) is None
    queues.move(asyncio.get_running_loop())
    assert timer_of(queues) is not None
    assert [(await queues.get("c"))["n"] for _ in range(2)] == [0, 1]


@pytest.mark.parametrize("wrong", ["text", b"bytes", None, [("type", "t")]])
def test_a_message_is_a_dict(wrong: object) -> None:
    require_dict({})
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        require_dict(wrong)
