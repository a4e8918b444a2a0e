"""What is the memory layer's own: dead channels, queues that go, threads and loops."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest
from channels.exceptions import ChannelFull

from sockets.base import metrics
from sockets.layers import memory
from sockets.layers.memory import MemoryChannelLayer
from tests.support.doubles import MovedClock
from tests.support.patience import PATIENCE


def dropped() -> float:
    value: float = metrics.dropped_layer._value.get()
    return value


async def test_a_channel_that_nobody_reads_is_buried_visibly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = MovedClock()
    layer = MemoryChannelLayer(capacity=2, expiry=60, clock=clock)
    await layer.group_add("g", "dead")
    await layer.group_add("h", "dead")
    before = dropped()
    for _ in range(3):
        await layer.group_send("g", {"type": "t"})
    assert dropped() == before + 1, "a full queue is counted"
    clock.advance(59)
    await layer.group_send("g", {"type": "t"})
    assert "nobody has waited" not in caplog.text, "slow is not dead"
    clock.advance(1)
    with caplog.at_level(logging.WARNING):
        await layer.group_send("g", {"type": "t"})
    assert "channel dead: nobody has waited for a message of it for 60 s" in caplog.text
    assert dropped() == before + 4, "two that it missed, and two that waited"
    await layer.group_send("g", {"type": "t"})
    await layer.group_send("h", {"type": "t"})
    assert dropped() == before + 4, "it left its groups"
    assert not layer._queues


async def test_a_reader_that_takes_one_in_time_stays() -> None:
    clock = MovedClock()
    layer = MemoryChannelLayer(capacity=2, expiry=60, clock=clock)
    await layer.group_add("g", "slow")
    for n in range(4):
        await layer.group_send("g", {"type": "t", "n": n})
        await layer.group_send("g", {"type": "t", "n": n})
        await layer.receive("slow")
        clock.advance(40)
    assert "g" in layer._fanout


async def test_a_full_channel_tells_a_direct_sender_until_it_is_given_up() -> None:
    clock = MovedClock()
    layer = MemoryChannelLayer(capacity=1, expiry=60, clock=clock)
    await layer.send("c", {"type": "t", "n": 1})
    clock.advance(59)
    with pytest.raises(ChannelFull):
        await layer.send("c", {"type": "t"})
    clock.advance(1)
    await layer.send("c", {"type": "t", "n": 2})
    assert (await layer.receive("c"))["n"] == 2


async def test_queues_go_with_their_last_message() -> None:
    layer = MemoryChannelLayer()
    for n in range(50):
        await layer.send(f"c{n}", {"type": "t"})
        await layer.receive(f"c{n}")
    assert not layer._queues


async def test_a_cancelled_receive_leaves_nothing_behind() -> None:
    layer = MemoryChannelLayer()
    waiting = asyncio.ensure_future(layer.receive("c"))
    await asyncio.sleep(0)
    assert layer._queues
    waiting.cancel()
    await asyncio.wait({waiting})
    assert not layer._queues


async def test_cancelling_at_the_moment_of_arrival_loses_nothing() -> None:
    layer = MemoryChannelLayer()
    waiting = asyncio.ensure_future(layer.receive("c"))
    await asyncio.sleep(0)
    await layer.send("c", {"type": "t", "n": 1})  # the waiter is woken, and has not run yet
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert (await layer.receive("c"))["n"] == 1


async def test_two_receivers_of_one_channel_share_its_queue() -> None:
    layer = MemoryChannelLayer()
    first, second = (asyncio.ensure_future(layer.receive("c")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    await layer.send("c", {"type": "t", "n": 1})
    assert (await asyncio.wait_for(second, PATIENCE))["n"] == 1


def test_a_new_loop_is_a_new_home() -> None:
    """Each test, and each reload of a server, has a loop of its own."""
    layer = MemoryChannelLayer()

    threads: list[threading.Thread] = []

    async def once(n: int) -> Any:
        await layer.group_add("g", "c")
        await layer.group_add_sink("g", lambda _: threads.append(threading.current_thread()))
        sending = layer.group_send("g", {"type": "t", "n": n})
        await asyncio.to_thread(asyncio.run, sending)
        return (await layer.receive("c"))["n"]

    assert [asyncio.run(once(n)) for n in range(3)] == [0, 1, 2]
    assert set(threads) == {threading.current_thread()}


async def test_sinks_run_on_the_loop_of_the_receivers_whoever_sends() -> None:
    layer = MemoryChannelLayer()
    heard: list[tuple[int, threading.Thread]] = []
    await layer.group_add_sink("g", lambda m: heard.append((m["n"], threading.current_thread())))

    def elsewhere() -> None:
        asyncio.run(layer.group_send("g", {"type": "t", "n": 1}))

    await asyncio.to_thread(elsewhere)
    assert heard == [(1, threading.current_thread())]


async def test_receivers_that_come_and_go_elsewhere_are_carried_home_too() -> None:
    layer = MemoryChannelLayer()
    heard: list[int] = []

    def sink(message: Any) -> None:
        heard.append(message["n"])

    await layer.group_add_sink("home", print)
    await asyncio.to_thread(lambda: asyncio.run(layer.group_add_sink("g", sink)))
    await layer.group_send("g", {"type": "t", "n": 1})
    await asyncio.to_thread(lambda: asyncio.run(layer.group_discard_sink("g", sink)))
    await layer.group_send("g", {"type": "t", "n": 2})
    assert heard == [1]


def in_a_thread(work: Callable[[], Awaitable[Any]]) -> Any:
    """What `asyncio.run` of it gives in another thread, while this one runs no loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_called(work))).result(30)


async def _called(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


def test_a_home_loop_that_does_not_run_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "HOME_TIMEOUT", 0.05)
    layer = MemoryChannelLayer()
    heard: list[int] = []
    with closing(asyncio.new_event_loop()) as home:
        home.run_until_complete(layer.group_add_sink("g", lambda m: heard.append(m["n"])))
        for call in (layer.group_send, layer.send):
            with pytest.raises(RuntimeError, match="Run that loop, or close it"):
                in_a_thread(lambda call=call: call("g", {"type": "t", "n": 1}))  # type: ignore[misc]
        home.run_until_complete(asyncio.sleep(0))
        assert heard == [], "what has been refused is not delivered after all"
        home.run_until_complete(layer.group_send("g", {"type": "t", "n": 2}))
        assert heard == [2]


def test_a_home_loop_that_runs_again_in_time_gets_it() -> None:
    layer = MemoryChannelLayer()
    heard: list[int] = []
    with closing(asyncio.new_event_loop()) as home, ThreadPoolExecutor(1) as pool:
        home.run_until_complete(layer.group_add_sink("g", lambda m: heard.append(m["n"])))
        sending = pool.submit(lambda: asyncio.run(layer.group_send("g", {"type": "t", "n": 1})))
        while not sending.done():
            home.run_until_complete(asyncio.sleep(0.01))
        sending.result()
    assert heard == [1]


def test_a_senders_loop_sees_to_no_queue() -> None:
    """Its timer would change the queues in the sender's thread."""
    layer = MemoryChannelLayer()
    with closing(asyncio.new_event_loop()) as sender, closing(asyncio.new_event_loop()) as home:
        sender.run_until_complete(layer.send("c", {"type": "t", "n": 1}))
        timers: list[object] = [layer._queues._timer]
        home.run_until_complete(layer.group_add_sink("g", print))
        timers.append(layer._queues._timer)
        assert timers[0] is None is not timers[1] and layer._queues._loop is home
        assert home.run_until_complete(layer.receive("c"))["n"] == 1


class Slow:
    """A pattern for `channel_capacity` that lets another thread go on in between."""

    def match(self, _: str) -> bool:
        time.sleep(0.05)
        return True


def test_threads_without_a_home_lose_nothing_to_each_other() -> None:
    layer = MemoryChannelLayer(channel_capacity={Slow(): 10})

    def sends(n: int) -> None:
        asyncio.run(layer.send("c", {"type": "t", "n": n}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sends, range(4)))

    async def received() -> list[int]:
        return [(await asyncio.wait_for(layer.receive("c"), PATIENCE))["n"] for _ in range(4)]

    assert sorted(asyncio.run(received())) == [0, 1, 2, 3]


def test_a_home_that_has_closed_with_a_receiver_stops_nobody() -> None:
    layer = MemoryChannelLayer()
    heard: list[int] = []
    home = asyncio.new_event_loop()
    waiting = home.create_task(layer.receive("a"))
    home.run_until_complete(layer.group_add("g", "a"))
    home.run_until_complete(layer.group_add("g", "b"))
    home.run_until_complete(layer.group_add_sink("g", lambda m: heard.append(m["n"])))
    home.close()

    async def sends() -> list[int]:
        await layer.group_send("g", {"type": "t", "n": 1})
        return [(await layer.receive(channel))["n"] for channel in ("a", "b")]

    assert asyncio.run(sends()) == [1, 1]
    assert heard == [1]
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # of asyncio's queue: its loop is closed
        waiting.get_coro().close()


def test_a_home_that_closes_while_a_call_waits_for_it() -> None:
    layer = MemoryChannelLayer()
    heard: list[int] = []
    home = asyncio.new_event_loop()
    home.run_until_complete(layer.group_add_sink("g", lambda m: heard.append(m["n"])))

    async def sends() -> None:
        sending = asyncio.ensure_future(layer.group_send("g", {"type": "t", "n": 1}))
        await asyncio.sleep(0.01)
        assert not heard and not sending.done()
        home.close()
        await sending

    asyncio.run(sends())
    assert heard == [1], "done here, for want of a home"


def test_a_queue_moves_to_the_next_loop_with_its_messages() -> None:
    layer = MemoryChannelLayer()

    async def first() -> None:
        waiting = asyncio.ensure_future(layer.receive("c"))
        await layer.group_add("g", "c")
        await asyncio.sleep(0)
        for n in range(2):
            await layer.group_send("g", {"type": "t", "n": n})
        assert (await waiting)["n"] == 0

    async def second() -> list[int]:
        numbers = [(await layer.receive("c"))["n"]]
        waiting = asyncio.ensure_future(layer.receive("c"))
        await asyncio.sleep(0)
        await layer.group_send("g", {"type": "t", "n": 2})
        return [*numbers, (await waiting)["n"]]

    asyncio.run(first())
    assert asyncio.run(second()) == [1, 2]
