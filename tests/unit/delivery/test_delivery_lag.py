"""Slow sessions, lost layer messages, sessions that open: nothing durable is lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sockets.base import metrics
from sockets.delivery.delivery import PAGE
from sockets.delivery.hub import MAX_EARLY, LocalSession
from sockets.exceptions import GatewayUnavailable
from sockets.layers.groups import user_group
from sockets.streams.base import NewEntry
from sockets.types import Notification, Position
from tests.support.doubles import (
    WELCOME,
    RecordingOutbox,
    StillNode,
    TricklingOutbox,
    local_session,
    outbox_of,
    still_node,
)

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def trickling(house: StillNode, room: int) -> tuple[LocalSession, TricklingOutbox]:
    outbox = TricklingOutbox(room)
    return await house.open(outbox=outbox), outbox


async def append_unheard(house: StillNode, *events: str, user: str = "42") -> Position:
    """Durable messages whose layer messages are lost."""
    for event in events:
        body = json.dumps({"id": "i", "event": event, "data": None, "time": 0}).encode()
        done = await house.streams.append(user, NewEntry(f"{event}-{house.clock()}", body))
    return done.position


def message(epoch: str, offset: int, event: str) -> dict[str, Any]:
    body = json.dumps({"id": "i", "event": event, "data": None, "time": 0}).encode()
    return {"type": "user.notify", "event": event, "body": body, "epoch": epoch, "offset": offset}


# --- ephemeral messages and slow readers


async def test_what_a_full_outbox_misses_is_counted_and_told_with_the_next() -> None:
    house = await still_node()
    one, outbox = await trickling(house, room=1)
    before = metrics.dropped_ephemeral._value.get()
    for n in range(4):
        await house.notifier.send(Notification("42", f"e{n}", None, durable=False))
    assert one.missed == 3 and metrics.dropped_ephemeral._value.get() == before + 3
    outbox.trickle(5)
    for event in ("after", "later"):
        await house.notifier.send(Notification("42", event, None, durable=False))
    assert [(f["event"], f.get("missed")) for f in outbox.frames] == [
        ("e0", None),
        ("after", 3),
        ("later", None),
    ]


async def test_what_was_missed_is_told_with_a_durable_one_too() -> None:
    house = await still_node()
    one, outbox = await trickling(house, room=0)
    await house.notifier.send(Notification("42", "lost", None, durable=False))
    outbox.trickle(5)
    await house.notifier.send(Notification("42", "kept", None))
    assert [(f["event"], f["offset"], f["missed"]) for f in outbox.frames] == [("kept", 1, 1)]
    assert one.missed == 0


async def test_a_slow_session_holds_up_no_other() -> None:
    house = await still_node()
    _, slow = await trickling(house, room=0)
    quick = await house.open()
    for n in range(3):
        await house.notifier.send(Notification("42", f"d{n}", None))
        await house.notifier.send(Notification("42", f"e{n}", None, durable=False))
    assert outbox_of(quick).events == ["d0", "e0", "d1", "e1", "d2", "e2"]
    slow.trickle(9)
    await house.settle()
    assert slow.events == ["d0", "d1", "d2"]


# --- durable messages and slow readers


async def test_a_full_outbox_is_read_for_from_the_stream_when_it_drains() -> None:
    house = await still_node()
    one, outbox = await trickling(house, room=2)
    for n in range(6):
        await house.notifier.send(Notification("42", f"e{n}", None))
    assert one.blocked and outbox.events == ["e0", "e1"]
    for _ in range(4):
        outbox.trickle(1)
        await house.settle()
    assert outbox.events == [f"e{n}" for n in range(6)]
    assert one.cursor is not None
    await house.notifier.send(Notification("42", "full again", None))
    outbox.trickle(9)
    await house.settle()
    await house.notifier.send(Notification("42", "live again", None))
    assert outbox.events[6:] == ["full again", "live again"]
    assert (one.blocked, one.cursor.behind) == (False, False)


async def test_a_slow_session_gets_the_newest_of_what_collapses() -> None:
    house = await still_node()
    _, outbox = await trickling(house, room=1)
    for n in range(5):
        await house.notifier.send(Notification("42", "progress", n, collapse_key="job"))
    outbox.trickle(9)
    await house.settle()
    assert [(f["data"], f["offset"], f.get("prev")) for f in outbox.frames] == [
        (0, 1, None),
        (4, 5, 1),
    ]


async def test_a_session_that_lags_below_the_floor_is_told_to_reload() -> None:
    house = await still_node(history_size=3)
    _, outbox = await trickling(house, room=1)
    for n in range(6):
        await house.notifier.send(Notification("42", f"e{n}", None))
    outbox.trickle(9)
    await house.settle()
    assert [frame["type"] for frame in outbox.frames] == ["message", "reset"]
    assert outbox.frames[-1]["offset"] == 6
    await house.notifier.send(Notification("42", "next", None))
    assert outbox.frames[-1]["event"] == "next" and outbox.frames[-1]["offset"] == 7


async def test_what_expires_while_a_session_is_slow_is_a_position() -> None:
    house = await still_node()
    _, outbox = await trickling(house, room=0)
    await house.notifier.send(Notification("42", "soon stale", None, ttl=5))
    house.clock.advance(6)
    outbox.trickle(9)
    await house.settle()
    assert outbox.frames == [{"type": "position", "offset": 1}]


async def test_a_long_lag_is_read_in_pages() -> None:
    house = await still_node()
    _, outbox = await trickling(house, room=0)
    count = 2 * PAGE + 7
    for n in range(count):
        await house.notifier.send(Notification("42", f"e{n}", None))
    outbox.trickle(10 * PAGE)
    await house.settle()
    assert outbox.events == [f"e{n}" for n in range(count)]


async def test_the_stream_is_read_once_for_all_who_are_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = await still_node()
    sessions = [await house.open() for _ in range(5)]
    await append_unheard(house, "lost")
    reads = 0
    read = house.streams.follow

    async def counting(*args: Any) -> Any:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)  # as a store on the network does
        return await read(*args)

    monkeypatch.setattr(house.streams, "follow", counting)
    await house.notifier.send(Notification("42", "heard", None))
    house.delivery.compare(house.room_of(), await house.streams.head("42"))
    await house.settle()
    assert reads == 1
    frames = [outbox_of(session).raw for session in sessions]
    assert all(outbox_of(session).events == ["lost", "heard"] for session in sessions)
    assert all(
        mine is first for many in frames for mine, first in zip(many, frames[0], strict=True)
    )


# --- what the layer loses, doubles and turns round


async def test_a_gap_is_read_from_the_stream() -> None:
    house = await still_node()
    one = await house.open()
    await append_unheard(house, "a", "b")
    await house.notifier.send(Notification("42", "c", None))
    await house.settle()
    assert outbox_of(one).events == ["a", "b", "c"]


async def test_a_doubled_signal_is_told_once() -> None:
    house = await still_node()
    one = await house.open()
    receipt = await house.notifier.send(Notification("42", "a", None))
    for _ in range(2):
        await house.layer.group_send(user_group("42"), message(str(receipt.epoch), 1, "a"))
    await house.settle()
    assert outbox_of(one).events == ["a"]


async def test_signals_the_wrong_way_round_are_told_in_order() -> None:
    house = await still_node()
    one = await house.open()
    at = await append_unheard(house, "a", "b", "c")
    for offset, event in ((3, "c"), (1, "a"), (2, "b")):
        await house.layer.group_send(user_group("42"), message(at.epoch, offset, event))
    await house.settle()
    assert outbox_of(one).events == ["a", "b", "c"]


async def test_a_late_signal_does_not_hide_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Room.seen` is the newest that the layer brought, or a reader stops one message early."""
    house = await still_node()
    one = await house.open()
    at = await append_unheard(house, "a", "b")
    read = house.streams.follow
    first = True

    async def slow(*args: Any) -> Any:
        """The page is made, and before it arrives `c` is appended and told, and `a` once more."""
        nonlocal first
        page = await read(*args)
        if first:
            first = False
            await append_unheard(house, "c")
            for offset, event in ((3, "c"), (1, "a")):
                await house.layer.group_send(user_group("42"), message(at.epoch, offset, event))
        return page

    monkeypatch.setattr(house.streams, "follow", slow)
    await house.layer.group_send(user_group("42"), message(at.epoch, 2, "b"))
    await house.settle()
    assert outbox_of(one).events == ["a", "b", "c"]


async def test_a_lost_store_is_told_to_everybody() -> None:
    house = await still_node()
    one, two = await house.open(), await house.open()
    await house.notifier.send(Notification("42", "before", None))
    house.streams._here.clear()
    await house.notifier.send(Notification("42", "after", None))
    await house.settle()
    head = await house.streams.head("42")
    reset = {"type": "reset", "epoch": head.epoch, "offset": 1}
    assert outbox_of(one).frames[1:] == outbox_of(two).frames[1:] == [reset]
    await house.notifier.send(Notification("42", "next", None))
    assert outbox_of(one).events == ["before", "next"]


async def test_comparing_with_the_head_finds_what_was_lost() -> None:
    house = await still_node()
    one = await house.open()
    head = await append_unheard(house, "a", "b")
    house.delivery.compare(house.room_of(), head)
    await house.settle()
    assert outbox_of(one).events == ["a", "b"]
    house.delivery.compare(house.room_of(), head)
    assert not house.at_work, "whoever is at the head reads nothing"


async def test_a_store_that_is_away_is_asked_again_at_the_next_comparison(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = await still_node()
    one = await house.open()
    read = house.streams.follow

    async def away(*args: Any) -> Any:
        raise GatewayUnavailable("away")

    monkeypatch.setattr(house.streams, "follow", away)
    head = await append_unheard(house, "a")
    house.delivery.compare(house.room_of(), head)
    await house.settle()
    assert outbox_of(one).events == [] and "away" in caplog.text
    monkeypatch.setattr(house.streams, "follow", read)
    house.delivery.compare(house.room_of(), head)
    await house.settle()
    assert outbox_of(one).events == ["a"]


# --- a session that opens


async def test_early_ephemeral_frames_follow_the_welcome() -> None:
    house = await still_node()
    session = local_session()
    opened = await house.sessions.open_client(session, None)
    for n in range(MAX_EARLY + 2):
        await house.notifier.send(Notification("42", f"e{n}", None, durable=False))
    assert outbox_of(session).raw == []
    house.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
    assert outbox_of(session).events == [f"e{n}" for n in range(MAX_EARLY)]
    await house.notifier.send(Notification("42", "next", None, durable=False))
    assert outbox_of(session).frames[-1]["missed"] == 2


async def test_a_session_whose_outbox_is_full_at_once_recovers_later() -> None:
    house = await still_node()
    head = await house.streams.head("42")
    await append_unheard(house, "a", "b", "c")
    outbox = TricklingOutbox(1)
    session = await house.open(outbox=outbox, position=head)
    await house.notifier.send(Notification("42", "d", None))
    assert session.blocked and outbox.events == ["a"]
    outbox.trickle(9)
    await house.settle()
    assert outbox.events == ["a", "b", "c", "d"]


async def test_sessions_that_come_and_go_leave_no_reader() -> None:
    house = await still_node()
    one, outbox = await trickling(house, room=0)
    await house.notifier.send(Notification("42", "e", None))
    outbox.trickle(1)
    await house.sessions.close(one, 1006, "")
    await asyncio.gather(*house.at_work, return_exceptions=True)
    assert not house.at_work and isinstance(outbox, RecordingOutbox)
