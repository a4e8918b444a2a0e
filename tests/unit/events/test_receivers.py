"""Threads for receivers: turns of users, order, bounds, and what is told of a job."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from sockets.base import metrics
from sockets.conf import Conf
from sockets.events import receivers as module
from sockets.events.receivers import ReceiverPool, Receivers
from tests.support.doubles import until
from tests.support.patience import PATIENCE

NAME = "messages"


class Gate:
    """Work that waits until it is let through; `begun`, in order, and the thread of each."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.threads: set[str] = set()
        self.most = 0
        self._at_work = 0
        self._lock = threading.Lock()
        self._open = threading.Semaphore(0)

    def work(self, name: str) -> None:
        with self._lock:
            self.begun.append(name)
            self.threads.add(threading.current_thread().name)
            self._at_work += 1
            self.most = max(self.most, self._at_work)
        assert self._open.acquire(timeout=2 * PATIENCE)
        with self._lock:
            self._at_work -= 1

    def let(self, count: int = 1) -> None:
        self._open.release(count)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    made = Gate()
    yield made
    made.let(10_000)


@pytest.fixture
async def pool(gate: Gate) -> AsyncIterator[ReceiverPool]:
    made = ReceiverPool(NAME, 2)
    yield made
    made.close()


def submit(pool: ReceiverPool, gate: Gate, *names: str) -> list[asyncio.Future[bool]]:
    """Jobs `a1`, `a2` are of user `a`."""
    return [pool.submit(name[0], partial(gate.work, name)) for name in names]


def value(metric: Any) -> float:
    return float(metric._value.get())


async def test_users_take_turns_and_each_keeps_its_order(pool: ReceiverPool, gate: Gate) -> None:
    jobs = submit(pool, gate, "a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1")
    await until(lambda: gate.begun == ["a1", "b1"])
    gate.let()  # one alone: two threads note what they begin in any order
    await until(lambda: len(gate.begun) == 3)
    gate.let(7)
    assert await asyncio.gather(*jobs) == [True] * 8
    for user, names in (("a", "12345"), ("b", "12"), ("c", "1")):
        assert [name[1] for name in gate.begun if name[0] == user] == list(names)
    assert gate.begun.index("c1") == 2, "not behind what others have waiting"
    assert gate.most == 2 and all(
        name.startswith("gateway-signal-messages") for name in gate.threads
    )


async def test_a_user_has_one_job_at_work(pool: ReceiverPool, gate: Gate) -> None:
    jobs = submit(pool, gate, "a1", "a2", "a3")
    gate.let(3)
    await asyncio.gather(*jobs)
    assert (gate.begun, gate.most) == (["a1", "a2", "a3"], 1)


async def test_a_user_may_have_some_at_work_and_never_all_threads(gate: Gate) -> None:
    pool = ReceiverPool(NAME, 3, at_once=2)
    jobs = submit(pool, gate, "a1", "a2", "a3", "a4")
    await until(lambda: gate.begun == ["a1", "a2"])
    jobs += submit(pool, gate, "b1", "b2", "c1")
    await until(lambda: len(gate.begun) == 3)
    gate.let(7)
    assert await asyncio.gather(*jobs) == [True] * 7
    assert gate.begun[:3] == ["a1", "a2", "b1"] and gate.begun.index("c1") < 6
    assert gate.most == 3
    pool.close()


async def test_a_newcomer_is_next_however_much_waits(pool: ReceiverPool, gate: Gate) -> None:
    """Sixty of one user; then one of another."""
    submit(pool, gate, *(["a"] * 60), "b1")
    await until(lambda: gate.begun == ["a", "b1"])
    submit(pool, gate, "c1", "d1")
    gate.let(2)
    await until(lambda: len(gate.begun) == 4)
    assert set(gate.begun[2:]) == {"c1", "d1"}


async def test_what_hangs_for_one_user_leaves_the_other_threads(
    pool: ReceiverPool, gate: Gate
) -> None:
    submit(pool, gate, "a1", "a2")
    await until(lambda: gate.begun == ["a1"])
    others = [pool.submit(f"u{n}", lambda: None) for n in range(50)]
    assert await asyncio.wait_for(asyncio.gather(*others), PATIENCE) == [True] * 50
    assert gate.begun == ["a1"]


async def test_the_pools_of_a_process_do_not_wait_for_each_other(gate: Gate) -> None:
    pools = Receivers(Conf(message_threads=2, presence_threads=1, task_threads=3))
    for n in range(60):
        pools.messages.submit(f"u{n}", partial(gate.work, f"{n}"))
    await until(lambda: len(gate.begun) == 2)
    for pool in (pools.presence, pools.tasks):
        assert await asyncio.wait_for(pool.submit("u1", lambda: None), PATIENCE)
    for n in range(9):
        pools.tasks.submit(f"u{n}", partial(gate.work, "t"))
    await until(lambda: len(gate.begun) == 5)
    pools.close()


async def test_so_much_of_one_user_waits_and_no_more(
    pool: ReceiverPool, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OF_USER", 2)
    before = value(metrics.dropped_receivers[NAME])
    jobs = submit(pool, gate, "a1", "a2", "a3", "a4", "b1", "b2", "b3")
    assert (await jobs[1], value(metrics.dropped_receivers[NAME])) == (False, before + 1)
    gate.let(6)
    assert await asyncio.gather(*jobs) == [True, False, True, True, True, True, True]


async def test_so_much_waits_and_no_more(
    pool: ReceiverPool, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    before = value(metrics.dropped_receivers[NAME])
    jobs = submit(pool, gate, "a1", "b1", "c1", "d1", "d2", "e1", "a2")
    gate.let(7)
    done = await asyncio.gather(*jobs)
    assert done == [True, True, False, False, True, True, True], "of who has most, the oldest"
    assert value(metrics.dropped_receivers[NAME]) == before + 2
    assert value(metrics.receivers_waiting[NAME]) == 0


async def test_a_crowd_of_one_user_takes_no_place_from_others(
    pool: ReceiverPool, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has least is next in turn, and must not go for those who have most."""
    monkeypatch.setattr(module, "MAX_WAITING", 4)
    jobs = submit(pool, gate, "a1", "b1", "c1", "d1", "d2", "d3", "d4", "d5")
    gate.let(8)
    assert await asyncio.gather(*jobs) == [True, True, True, False, False, True, True, True]


async def test_the_bound_holds_where_all_that_waits_is_of_users_at_work(
    pool: ReceiverPool, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    jobs = submit(pool, gate, "a1", "b1", "a2", "b2", "a3")
    gate.let(5)
    assert await asyncio.gather(*jobs) == [True, True, False, True, True]


async def test_what_is_taken_back_does_not_begin(pool: ReceiverPool, gate: Gate) -> None:
    jobs = submit(pool, gate, "a1", "b1", "a2", "c1", "c2")
    await until(lambda: len(gate.begun) == 2)
    for job in (jobs[0], jobs[2], jobs[3]):
        job.cancel()
    gate.let(3)
    assert await jobs[4] and await jobs[1]
    assert gate.begun == ["a1", "b1", "c2"]
    # The turn of what was taken back comes when the work before it has ended.
    await until(lambda: value(metrics.receivers_waiting[NAME]) == 0)


async def test_the_wait_is_measured(pool: ReceiverPool, gate: Gate) -> None:
    wait = metrics.receiver_wait[NAME]
    before = sum(bucket.get() for bucket in wait._buckets)
    jobs = submit(pool, gate, "a1", "a2", "b1")
    assert value(metrics.receivers_waiting[NAME]) == 1
    gate.let(3)
    await asyncio.gather(*jobs)
    assert sum(bucket.get() for bucket in wait._buckets) == before + 3
    assert value(metrics.receivers_waiting[NAME]) == 0


async def test_a_closed_pool_does_nothing_more(pool: ReceiverPool, gate: Gate) -> None:
    jobs = submit(pool, gate, "a1", "a2", "b1", "c1")
    await until(lambda: len(gate.begun) == 2)
    pool.close()
    assert [await jobs[n] for n in (1, 3)] == [False, False]
    async with asyncio.timeout(PATIENCE):  # nobody has let those go on that are at work
        assert await pool.submit("d", lambda: None) is False
    gate.let(2)
    assert [await jobs[n] for n in (0, 2)] == [True, True]
    assert value(metrics.receivers_waiting[NAME]) == 0


async def test_work_that_raises_is_logged_and_keeps_no_thread(
    pool: ReceiverPool, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a fault of ours")

    with caplog.at_level(logging.ERROR):
        jobs = [pool.submit("a", fail) for _ in range(5)]
        assert await asyncio.gather(*jobs) == [True] * 5
    assert caplog.text.count("RuntimeError: a fault of ours") == 5
