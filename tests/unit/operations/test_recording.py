"""What a node records while somebody looks, and that it ends."""

from __future__ import annotations

import pytest

from sockets.operations import recording
from sockets.operations.recording import MAX_FRAMES, MAX_TRACE, Recordings
from sockets.operations.wire import TraceOrder
from sockets.protocol.codec import message_frame
from tests.support.doubles import NOON, MovedClock, StillNode, outbox_of, until

FRAME = message_frame(b'{"id":"1","event":"e","data":7}')


def recordings(node: StillNode) -> Recordings:
    return Recordings(node.hub, node.clock)


def order(node: StillNode, user: str = "42", seconds: float = 60.0) -> TraceOrder:
    return TraceOrder(user, node.clock(), node.clock() + seconds, False, "ann")


async def test_the_newest_headers_are_kept(here: StillNode) -> None:
    session, made = await here.open(), recordings(here)
    assert made.headers(session) == []
    for _ in range(MAX_FRAMES + 5):
        session.outbox.write(FRAME)
    frames = made.headers(session)
    assert [one.number for one in frames] == [*range(6, MAX_FRAMES + 6)]
    assert (frames[0].type, frames[0].event, frames[0].at) == ("message", "e", here.clock())


async def test_half_a_minute_after_the_last_question_it_ends(here: StillNode) -> None:
    session, made = await here.open(), recordings(here)
    outbox = outbox_of(session)
    made.headers(session)
    here.clock.advance(20)
    made.headers(session)
    here.clock.advance(29)
    session.outbox.write(FRAME)
    assert len(made.headers(session)) == 1
    here.clock.advance(31)
    session.outbox.write(FRAME)
    assert session.outbox is outbox, "at the next frame, before any timer"
    assert made.headers(session) == [], "and it begins anew"


async def test_a_timer_ends_what_is_over(here: StillNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WATCH_FOR", 0.01)
    session, made = await here.open(), recordings(here)
    outbox = outbox_of(session)
    made.headers(session)
    assert session.outbox is not outbox
    here.clock.advance(1)
    await until(lambda: session.outbox is outbox)


async def test_a_few_sessions_are_looked_at(
    here: StillNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_WATCHED", 2)
    sessions = [await here.open() for _ in range(3)]
    made = recordings(here)
    for session in sessions:
        made.headers(session)
    assert [session.tap is None for session in sessions] == [True, False, False]


async def test_a_trace_of_a_user_ends_by_itself(here: StillNode) -> None:
    session, made = await here.open(), recordings(here)
    outbox = outbox_of(session)
    assert made.trace(order(here), "here")
    session.outbox.write(FRAME)
    assert len(made.read_trace("42", 0, bodies=False).frames) == 1
    here.clock.advance(60)
    session.outbox.write(FRAME)
    assert session.outbox is outbox
    assert made.read_trace("42", 0, bodies=False).order is None


async def test_a_trace_takes_a_quarter_of_an_hour_at_most(here: StillNode) -> None:
    made = recordings(here)
    assert made.trace(order(here, seconds=1e9), "here")
    here.clock.advance(901)
    assert made.read_trace("42", 0, bodies=False).order is None


async def test_the_same_order_again_changes_nothing(here: StillNode) -> None:
    session, made = await here.open(), recordings(here)
    wanted = order(here)
    made.trace(wanted, "here")
    session.outbox.write(FRAME)
    assert made.trace(wanted, "here")
    assert len(made.read_trace("42", 0, bodies=False).frames) == 1
    here.clock.advance(1)
    made.trace(order(here), "here")
    assert made.read_trace("42", 0, bodies=False).frames == [], "another one begins anew"


async def test_one_that_is_over_already_is_not_begun(here: StillNode) -> None:
    session, made = await here.open(), recordings(here)
    assert made.trace(order(here, seconds=-1), "here")
    assert session.tap is None and here.hub.on_add is None


async def test_when_nobody_is_traced_nobody_who_comes_is_looked_at(here: StillNode) -> None:
    made = recordings(here)
    assert here.hub.on_add is None
    made.trace(order(here), "here")
    session = await here.open()
    other = await here.open("another user")
    worker = await here.open_worker("p", key="42")
    assert [one.tap is None for one in (session, other, worker)] == [False, True, True]
    assert made.end_trace("42") and session.tap is None
    assert here.hub.on_add is None


async def test_what_is_dropped_is_counted(here: StillNode) -> None:
    session, made = await here.open(), recordings(here)
    made.trace(order(here), "here")
    for _ in range(MAX_FRAMES + 5):
        session.outbox.write(FRAME)
    part = made.read_trace("42", 0, bodies=False)
    assert (len(part.frames), part.dropped, part.number) == (MAX_FRAMES, 5, MAX_FRAMES + 5)
    assert made.read_trace("42", part.number, bodies=False).frames == []


async def test_a_trace_that_has_ended_is_not_begun_again(here: StillNode) -> None:
    made, old = recordings(here), order(here)
    assert made.trace(old, "here") and made.end_trace("42")
    assert made.trace(old, "here"), "a node that has not heard of the end asks for it"
    part = made.read_trace("42", 0, bodies=True)
    assert (part.order, part.ended) == (None, old)
    here.clock.advance(1)
    new = order(here)
    assert made.trace(new, "here") and made.read_trace("42", 0, bodies=True).order == new
    assert made.end_trace("42") and made.trace(old, "here")
    assert made.read_trace("42", 0, bodies=True).order is None


async def test_a_few_ends_are_remembered(here: StillNode) -> None:
    made = recordings(here)
    for number in range(recording.MAX_ENDED + 3):
        made.trace(order(here, f"u{number}"), "here")
        made.end_trace(f"u{number}")
    assert len(made._ended) == recording.MAX_ENDED
    here.clock.advance(61)
    made.trace(order(here), "here")
    made.end_trace("42")
    assert list(made._ended) == ["42"]


async def test_a_clock_that_is_set_back_makes_nothing_longer(here: StillNode) -> None:
    """A quarter of an hour is a promise to whoever is traced."""
    session, wall = await here.open(), MovedClock(NOON)
    made, outbox = Recordings(here.hub, wall), outbox_of(session)
    made.headers(session)
    assert made.trace(TraceOrder("42", NOON, NOON + MAX_TRACE, True, "ann"), "here")
    wall.now = NOON - 3_600
    here.clock.advance(MAX_TRACE - 1)
    assert made.read_trace("42", 0, bodies=True).order is not None
    here.clock.advance(1)
    assert made.read_trace("42", 0, bodies=True).order is None and session.outbox is outbox
    new = TraceOrder("42", NOON - 3_600, NOON - 3_540, True, "ann")
    assert made.trace(new, "here")
    assert made.read_trace("42", 0, bodies=True).order == new, "it is no late news of another"
