"""Rounds by the clock, at once after a gap, and soon again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from sockets.base import metrics
from sockets.conf import Conf
from sockets.exceptions import AlreadyRunning, GatewayUnavailable
from sockets.node import renewal
from sockets.node.renewal import Renewal
from tests.support.doubles import until
from tests.support.observed import Observed
from tests.support.patience import PATIENCE

Until = Callable[[float], Awaitable[None]]
Renew = Callable[[Until], Awaitable[None]]

LONG = 100 * PATIENCE
"""Seconds between two rounds that nobody here waits for."""


class Rounds:
    """Counts rounds; each does what `outcomes` says, the later ones nothing."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes: Iterator[Exception | None] = iter(outcomes)
        self.count = 0

    async def __call__(self, until: Until) -> None:
        self.count += 1
        if (error := next(self.outcomes, None)) is not None:
            raise error


@asynccontextmanager
async def running(rounds: Renew, every: float) -> AsyncIterator[Renewal]:
    made = Renewal(Conf(lease_renew=every, lease_ttl=3 * every), rounds)
    task = asyncio.ensure_future(made.run())
    yield made
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_rounds_follow_the_clock() -> None:
    rounds = Rounds()
    async with running(rounds, 0.01) as made:
        await until(lambda: rounds.count >= 3)
        assert made.succeeded


async def test_a_gap_begins_a_round_at_once() -> None:
    rounds = Rounds()
    async with running(rounds, 100.0) as made:
        await asyncio.sleep(0.02)
        assert rounds.count == 0
        made.hurry()
        await until(lambda: rounds.count == 1)


async def test_an_outage_is_said_once_and_its_end_is_found_soon(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(renewal, "RETRY", 0.01)
    away = GatewayUnavailable("Redis is away")
    rounds = Rounds(away, away, away)
    async with running(rounds, 100.0) as made:
        made.hurry()
        await until(lambda: rounds.count == 1)
        assert not made.succeeded
        await until(lambda: rounds.count == 4)
        await until(lambda: made.succeeded)
    assert caplog.text.count("Redis is away") == 1
    assert caplog.text.count("compared again") == 1


async def test_a_bug_does_not_end_the_rounds(caplog: pytest.LogCaptureFixture) -> None:
    rounds = Rounds(RuntimeError("a bug"))
    async with running(rounds, 0.01):
        await until(lambda: rounds.count >= 2)
    assert "a bug" in caplog.text


# --- a round takes its time


class Spread:
    """Rounds of which each waits for its shares; notes when they were due."""

    def __init__(self, *shares: float) -> None:
        self.shares = shares
        self.noted: list[list[float]] = []
        self.fails = False

    async def __call__(self, until: Until) -> None:
        noted: list[float] = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.noted.append(noted)
        for share in self.shares:
            await until(share)
            noted.append(loop.time() - began)
            if self.fails:
                raise GatewayUnavailable("away")

    @property
    def complete(self) -> int:
        return sum(len(noted) == len(self.shares) for noted in self.noted)


async def test_a_round_is_spread_and_the_next_one_begins_in_time() -> None:
    rounds = Spread(0.0, 0.5, 0.9)
    loop = asyncio.get_running_loop()
    async with running(rounds, 0.2):
        began = loop.time()
        await until(lambda: rounds.complete == 2)
    for noted in rounds.noted[:2]:
        assert noted[0] < 0.05 <= 0.08 <= noted[1] <= noted[2]
        assert noted[2] >= 0.14
    assert loop.time() - began < 5


async def test_after_a_round_at_once_no_part_waits_longer_than_a_round() -> None:
    """All were renewed at the same moment: the last part of the next round is due a round later."""
    moments: list[float] = []
    loop = asyncio.get_running_loop()

    async def rounds(until: Until) -> None:
        await until(0.95)
        moments.append(loop.time())

    made = Renewal(Conf(lease_renew=0.4, lease_ttl=1.2), rounds)
    made.hurry()
    task = asyncio.ensure_future(made.run())
    await until(lambda: len(moments) == 4)
    task.cancel()
    await asyncio.wait({task})
    gaps = [later - before for before, later in pairwise(moments)]
    assert all(gap < 0.4 + 0.15 for gap in gaps), gaps


async def test_who_hurries_does_not_wait_for_a_round_that_takes_its_time() -> None:
    rounds = Spread(0.0, 0.5, 0.9)
    async with running(rounds, LONG) as made:
        made._began = made._clock() - LONG  # a round is due now
        await until(lambda: rounds.noted and len(rounds.noted[0]) == 1)
        async with asyncio.timeout(PATIENCE):
            await made.caught_up()
        assert rounds.complete == 2, "the one that ran, and one that began when it was asked for"


async def test_a_node_that_was_forgotten_registers_everybody_at_once() -> None:
    rounds = Spread(0.0, 0.9)
    async with running(rounds, LONG) as made:

        async def forgotten(until: Until) -> None:
            made.make_haste()
            await rounds(until)

        made._renew = forgotten
        made._began = made._clock() - LONG  # a round is due now
        await until(lambda: rounds.complete == 1)


async def test_after_a_failure_all_are_renewed_at_once() -> None:
    rounds = Spread(0.0, 0.9)
    rounds.fails = True
    async with running(rounds, LONG) as made:
        made.hurry()
        await until(lambda: not made.succeeded)
        rounds.fails = False
        await until(lambda: rounds.complete >= 1)
        assert made.succeeded


# --- a process that was frozen


async def test_leases_that_ran_out_unnoticed_are_renewed_before_anything_is_served() -> None:
    now = [0.0]
    rounds = Rounds()
    made = Renewal(Conf(lease_renew=10, lease_ttl=30), rounds, clock=lambda: now[0])
    overdue: list[bool] = []
    for now[0] in (29.0, 31.0):
        overdue.append(made.overdue)
    assert overdue == [False, True]
    task = asyncio.ensure_future(made.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(made.caught_up() for _ in range(5)))
        assert rounds.count == 1, "one round for all who wait"
        assert not made.overdue
    finally:
        task.cancel()


async def test_a_round_that_was_frozen_itself_proves_nothing() -> None:
    """Its leases were renewed before the freeze; only its last answer came after."""
    now = [0.0]
    gates = [asyncio.Event(), asyncio.Event()]
    count = 0

    async def renew(until: Until) -> None:
        nonlocal count
        count += 1
        await gates[count - 1].wait()

    made = Renewal(Conf(lease_renew=10, lease_ttl=30), renew, clock=lambda: now[0])
    made.hurry()
    task = asyncio.ensure_future(made.run())
    try:
        await until(lambda: count == 1)
        now[0] = 40.0
        waiting = asyncio.ensure_future(made.caught_up())
        await asyncio.sleep(0)
        gates[0].set()
        await until(lambda: count == 2)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        gates[1].set()
        async with asyncio.timeout(PATIENCE):
            await waiting
        assert not made.overdue
    finally:
        task.cancel()


async def test_what_a_frozen_round_renewed_is_overdue_when_it_ends() -> None:
    now = [0.0]

    async def renew(until: Until) -> None:
        now[0] += 40.0

    made = Renewal(Conf(lease_renew=10, lease_ttl=30), renew, clock=lambda: now[0])
    task = asyncio.ensure_future(made.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await made.caught_up()
        assert made.overdue
    finally:
        task.cancel()


async def test_nobody_waits_for_a_round_that_fails_for_ever() -> None:
    now = [0.0]
    rounds = Rounds(GatewayUnavailable("away"))
    made = Renewal(Conf(lease_renew=10, lease_ttl=30), rounds, clock=lambda: now[0])
    now[0] = 31.0
    task = asyncio.ensure_future(made.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await made.caught_up()
        assert not made.succeeded and not made.overdue, "an outage is known, and not waited for"
    finally:
        task.cancel()


async def test_each_cause_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A name that is taken, found when Redis has come, is another thing than Redis being away."""
    taken = AlreadyRunning("process 7 already runs as node 'a'")
    rounds = Rounds(*[GatewayUnavailable("away")] * 2, *[taken] * 300)
    async with running(rounds, 0.01):
        await until(lambda: rounds.count >= 6)
    told = [record.message for record in caplog.records]
    assert [text.rpartition(": ")[2] for text in told] == ["away", str(taken)]
    assert not any(record.exc_info for record in caplog.records)


# --- what is told of it


async def test_the_pauses_of_a_round_are_no_part_of_its_time() -> None:
    rounds = Spread(0.0, 0.5, 0.9)
    took = Observed(metrics.renewal)
    async with running(rounds, 0.4):
        await until(lambda: took.count == 1)
    assert rounds.noted[0][-1] > 0.25 and 0 <= took.sum < 0.1


async def test_a_round_takes_as_long_as_its_work() -> None:
    took = Observed(metrics.renewal)

    async def slow(until: Until) -> None:
        await asyncio.sleep(0.1)

    async with running(slow, 100.0) as made:
        made.hurry()
        await until(lambda: took.count == 1)
    assert took.sum >= 0.1


async def test_a_round_that_failed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "RETRY", 0.01)
    took = Observed(metrics.renewal)
    rounds = Rounds(GatewayUnavailable("away"), RuntimeError("a bug"), None)
    async with running(rounds, LONG) as made:  # no fourth one comes
        made.hurry()
        await until(lambda: took.count == 1)
        assert rounds.count == 3
