"""What a node does by the clock: to one session, to all of them, and when something fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from sockets.base import metrics
from sockets.base.timetable import Timetable
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.delivery.hub import Hub, LocalSession
from sockets.layers.memory import MemoryChannelLayer
from sockets.node import heartbeat
from sockets.node.heartbeat import beat, look_at, look_at_each, tick_interval
from sockets.types import Kind
from tests.support.doubles import (
    NOON,
    RecordingOutbox,
    TricklingOutbox,
    connection,
    info,
    local_session,
    outbox_of,
    until,
)
from tests.support.observed import Observed
from tests.support.patience import PATIENCE


class StalledOutbox(RecordingOutbox):
    """Holds bytes that its reader never takes."""

    def flow(self) -> tuple[int, int]:
        return 500, 0


class BrokenOutbox(RecordingOutbox):
    """Raises where it should tell, as an outbox of ours with a bug would."""

    def flow(self) -> tuple[int, int]:
        raise RuntimeError("a bug in one session")


def session_with(outbox: RecordingOutbox, **given: Any) -> LocalSession:
    return LocalSession(info(), outbox, connection(**given))


# --- one session


def test_a_ping_is_sent_when_it_is_due() -> None:
    session = local_session()
    look_at(session, 24, NOON)
    assert outbox_of(session).frames == []
    look_at(session, 25, NOON)
    assert outbox_of(session).frames == [{"type": "ping"}]
    look_at(session, 30, NOON)
    assert len(outbox_of(session).frames) == 1
    look_at(session, 35, NOON)
    assert outbox_of(session).closed == (CloseCode.NO_PONG, "no pong")


def test_a_ping_tells_what_was_missed() -> None:
    session = local_session()
    session.missed = 3
    look_at(session, 25, NOON)
    assert outbox_of(session).frames == [{"type": "ping", "missed": 3}]
    assert session.missed == 0


def test_a_ping_that_found_no_room_is_sent_later_and_no_pong_is_expected() -> None:
    outbox = TricklingOutbox(0)
    session = session_with(outbox)
    outbox.on_drain = session.drained
    session.missed = 1
    for now in (25, 60):
        look_at(session, now, NOON)
    assert session.missed == 1 and outbox.closed is None
    outbox.trickle(1)
    look_at(session, 61, NOON)
    assert outbox.frames == [{"type": "ping", "missed": 1}]


def test_a_stalled_reader_is_closed() -> None:
    outbox = StalledOutbox()
    session = session_with(outbox)
    look_at(session, 1, NOON)
    before = metrics.SLOW_CONSUMERS._value.get()
    for now in (11, 12, 13):
        look_at(session, now, NOON)
    assert metrics.SLOW_CONSUMERS._value.get() == before + 1
    assert session.close_code == CloseCode.SLOW_CONSUMER
    assert outbox.closed is not None and outbox.closed[0] == 4002


def test_the_end_of_a_token_is_told_by_the_wall_clock() -> None:
    session = session_with(RecordingOutbox(), expires_at=NOON)
    look_at(session, 1, NOON - 1)
    assert session.close_code is None
    look_at(session, 2, NOON)
    assert session.close_code == CloseCode.TOKEN_EXPIRED


def test_a_session_that_is_closing_is_left_alone() -> None:
    session = local_session()
    session.close(4503, "replaced")
    look_at(session, 1_000, NOON)
    assert session.close_code == 4503 and outbox_of(session).frames == []


# --- all sessions


async def test_everybody_is_looked_at_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SLICE", 2)
    hub = Hub(MemoryChannelLayer())
    sessions = [session_with(RecordingOutbox(), expires_at=1.0) for _ in range(7)]
    for session in sessions:
        hub.add(session)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(others())
    await look_at_each(hub, hub)
    other.cancel()
    assert all(session.close_code == CloseCode.TOKEN_EXPIRED for session in sessions)
    assert turns >= 3, "the loop was held"


async def test_one_broken_session_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Else nobody after it is ever pinged, and no lease of the whole node is renewed."""
    hub = Hub(MemoryChannelLayer())
    later = session_with(RecordingOutbox(), expires_at=1.0)
    for session in (session_with(BrokenOutbox()), later):
        hub.add(session)
    with caplog.at_level(logging.ERROR):
        await look_at_each(hub, hub)
    assert later.close_code == CloseCode.TOKEN_EXPIRED
    assert "a bug in one session" in caplog.text


# --- the task


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 1.0),
        ({"heartbeat": 2.5}, 0.5),
        ({"pong_timeout": 1}, 0.2),
        ({"slow_timeout": 0.5}, 0.1),
        ({"lease_renew": 0.5}, 1.0),
        ({"heartbeat": 0.001}, 0.02),
        ({"heartbeat": 600, "pong_timeout": 600, "slow_timeout": 600}, 1.0),
    ],
)
def test_how_often_we_look(settings: dict[str, float], expected: float) -> None:
    assert tick_interval(Conf(**settings)) == pytest.approx(expected)  # type: ignore[arg-type]


@asynccontextmanager
async def beating(hub: Hub) -> AsyncIterator[None]:
    task = asyncio.ensure_future(beat(Conf(), hub))
    yield
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


def hub_of(*sessions: LocalSession, **clocks: Any) -> Hub:
    hub = Hub(MemoryChannelLayer(), Timetable(0.02, **clocks))
    for session in sessions:
        hub.add(session)
    return hub


async def test_the_heart_looks_and_outlasts_a_failure(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = local_session(kind=Kind.WORKER)
    session.connection.expires_at = 1.0
    hub = hub_of(session)
    looked = asyncio.Event()
    rounds = 0

    async def look(hub: Hub, sessions: Iterable[LocalSession]) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("a bug")
        await look_at_each(hub, sessions)
        looked.set()

    monkeypatch.setattr(heartbeat, "look_at_each", look)
    async with beating(hub), asyncio.timeout(PATIENCE):
        await looked.wait()
        await until(lambda: session.close_code is not None)
    assert session.close_code == CloseCode.TOKEN_EXPIRED
    assert "a bug" in caplog.text


def _has_frames(session: LocalSession, count: int) -> bool:
    return len(outbox_of(session).frames) >= count


async def test_nobody_is_looked_at_for_whom_nothing_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever walks through all sessions each second works while nothing happens."""
    looked: Counter[str] = Counter()

    def look(session: LocalSession, now: float, wall: float) -> None:
        looked[session.info.id] += 1
        look_at(session, now, wall)

    monkeypatch.setattr(heartbeat, "look_at", look)
    soon = session_with(RecordingOutbox(), now=time.monotonic(), heartbeat=0.1)
    idle = [session_with(RecordingOutbox(), now=time.monotonic(), heartbeat=25.0) for _ in range(5)]
    hub = hub_of(soon, *idle)
    async with beating(hub):
        for pings in (1, 2, 3):
            await until(partial(_has_frames, soon, pings))
            soon.connection.pong(0.0)
    assert set(looked) == {soon.info.id}


async def test_a_socket_that_takes_nothing_is_looked_at_from_the_first_byte() -> None:
    outbox = StalledOutbox()
    session = session_with(outbox, now=time.monotonic(), slow_timeout=0.05)
    hub = hub_of(session)
    outbox.on_stall = partial(hub.stalled, session)
    async with beating(hub):
        await asyncio.sleep(0.1)
        assert session.close_code is None, "nothing has been written yet"
        outbox.on_stall()
        await until(lambda: session.close_code is not None, 20)  # a ping would be due after 25
    assert session.close_code == CloseCode.SLOW_CONSUMER


async def test_who_is_gone_is_looked_at_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "look_at", lambda *given: pytest.fail("it is gone"))
    session = session_with(RecordingOutbox(), expires_at=1.0)
    hub = hub_of(session)
    hub.discard(session)
    async with beating(hub):
        await asyncio.sleep(0.1)


async def test_a_process_that_stood_still_does_not_blame_its_peers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Their pongs may wait to be read: a frozen node came back, and would close everybody."""
    shift = 0.0

    def clock() -> float:
        return time.monotonic() + shift

    hub = Hub(MemoryChannelLayer(), Timetable(0.02, clock, clock))
    now = hub.timetable.now()
    waited_for, stalled = (session_with(StalledOutbox(), now=now) for _ in range(2))
    waited_for.outbox.flow = lambda: (0, 0)  # type: ignore[method-assign]
    waited_for.connection.ping_sent(now)
    for session in (waited_for, stalled):
        hub.add(session)
    hub.stalled(stalled)
    async with beating(hub):
        await asyncio.sleep(0.05)
        shift = 60.0
        await until(lambda: "stood still for" in caplog.text)
        await asyncio.sleep(0.1)
        assert [session.close_code for session in (waited_for, stalled)] == [None, None]
        assert hub.timetable.now() - now < 10
        for part in range(1, 10):  # not so quickly that it counts as standing still
            shift = 60.0 + 2 * part
            await asyncio.sleep(0.06)
    assert waited_for.close_code == CloseCode.NO_PONG
    assert stalled.close_code == CloseCode.SLOW_CONSUMER


async def test_a_token_that_ended_while_the_process_stood_still_ends_now() -> None:
    """By the wall clock, which goes on; not as much later as the process was away."""
    shift = 0.0

    def clock() -> float:
        return time.monotonic() + shift

    hub = Hub(MemoryChannelLayer(), Timetable(0.02, clock, clock))
    now = hub.timetable.now()
    ends = session_with(RecordingOutbox(), now=now, heartbeat=None, expires_at=clock() + 50)
    hub.add(ends)
    async with beating(hub):
        await asyncio.sleep(0.05)
        shift = 60.0
        await until(lambda: ends.close_code is not None, 30)  # it was due in 50
    assert ends.close_code == CloseCode.TOKEN_EXPIRED


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_step_of_the_wall_clock_moves_the_ends_of_tokens_only(hours: int) -> None:
    shift = 0.0

    def wall() -> float:
        return time.time() + shift

    ends = session_with(RecordingOutbox(), now=time.monotonic(), expires_at=time.time() + 1_800)
    stays = session_with(RecordingOutbox(), now=time.monotonic())
    hub = hub_of(ends, stays, wall=wall)
    async with beating(hub):
        await asyncio.sleep(0.05)
        shift = 3_600.0 * hours
        if hours > 0:
            await until(lambda: ends.close_code is not None)
        else:
            await asyncio.sleep(0.1)
    assert ends.close_code == (CloseCode.TOKEN_EXPIRED if hours > 0 else None)
    assert stays.close_code is None and outbox_of(stays).frames == []


async def test_how_late_it_was_woken_is_counted_each_time() -> None:
    lag = Observed(metrics.loop_lag)
    async with beating(hub_of()):
        await until(lambda: lag.count == 2)
        before = lag.sum
        time.sleep(0.3)  # noqa: ASYNC251  (that is the point)
        await until(lambda: lag.count == 3)
    assert 0.25 <= lag.sum - before < 10


async def test_it_is_never_early() -> None:
    """A timer may be, by less than the loop's clock can tell."""
    lag = Observed(metrics.loop_lag)
    async with beating(hub_of(clock=lambda: 0.0)):
        await until(lambda: lag.count == 2)
    assert lag.sum == 0


async def test_each_round_is_told() -> None:
    told: list[float] = []
    hub = hub_of()
    task = asyncio.ensure_future(beat(Conf(), hub, told.append))
    await until(lambda: len(told) >= 2)
    task.cancel()
    assert min(told) >= 0
