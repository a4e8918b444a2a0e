"""What a node does by the clock: to one session, to all of them, and when something fails."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from sockets.base import metrics
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.delivery.hub import Hub, LocalSession
from sockets.layers.memory import MemoryChannelLayer
from sockets.node import heartbeat
from sockets.node.heartbeat import beat, look_at, look_at_all, tick_interval
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
    await look_at_all(hub)
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
        await look_at_all(hub)
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


async def test_the_heart_looks_and_outlasts_a_failure(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(MemoryChannelLayer())
    session = local_session(kind=Kind.WORKER)
    session.connection.expires_at = 1.0
    hub.add(session)
    looked = asyncio.Event()
    rounds = 0

    async def look(hub: Hub) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("a bug")
        await look_at_all(hub)
        looked.set()

    monkeypatch.setattr(heartbeat, "look_at_all", look)
    task = asyncio.ensure_future(beat(Conf(heartbeat=0.1), hub))
    async with asyncio.timeout(5):
        await looked.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert session.close_code == CloseCode.TOKEN_EXPIRED
    assert "a bug" in caplog.text


async def test_a_process_that_stood_still_does_not_blame_its_peers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their pongs may wait to be read: a frozen node came back, and would close everybody."""
    hub = Hub(MemoryChannelLayer())
    session = session_with(RecordingOutbox())
    hub.add(session)
    excused: list[float] = []
    monkeypatch.setattr(
        type(session.connection), "excuse", lambda self, seconds: excused.append(seconds)
    )
    readings = iter([0.0, 60.0])
    conf = Conf(heartbeat=0.2, pong_timeout=0.2, slow_timeout=0.2)
    task = asyncio.ensure_future(beat(conf, hub, lambda: next(readings, 60.0)))
    await until(lambda: excused)
    task.cancel()
    assert excused[0] == pytest.approx(60, abs=0.1)
    assert "stood still for 60.0 s" in caplog.text
