"""Sessions and rooms of one process: joins that meet, joins that fail, rooms that empty."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any

import pytest

from sockets.delivery.hub import Hub, Room
from sockets.exceptions import GatewayUnavailable
from sockets.layers.fanout import Message
from sockets.layers.memory import MemoryChannelLayer
from sockets.protocol.codec import message_frame
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Outbox, Write
from sockets.types import Kind, Position
from tests.support.doubles import FailingLayer, GatedLayer, local_session, outbox_of, still_node
from tests.support.patience import PATIENCE

Heard = list[tuple[Room, Any]]


def hear(heard: Heard) -> Any:
    def on_message(room: Room, message: Message) -> None:
        heard.append((room, message["n"]))

    return on_message


def nothing(room: Room, message: Message) -> None:
    """Does not listen."""


async def turns(count: int = 5) -> None:
    """Let whatever can run, run."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- the sessions


def test_the_hub_holds_what_was_added() -> None:
    hub = Hub(FailingLayer())
    client, worker = local_session(), local_session(kind=Kind.WORKER)
    hub.add(client)
    hub.add(worker)
    assert (len(hub), hub.count(Kind.CLIENT), hub.count(Kind.WORKER)) == (2, 1, 1)
    assert hub.get(client.info.id) is client
    assert set(hub) == {client, worker}
    for _ in range(2):
        hub.discard(client)
    assert (len(hub), hub.count(Kind.CLIENT), hub.get(client.info.id)) == (1, 0, None)


def test_a_walk_over_the_hub_survives_changes() -> None:
    hub = Hub(FailingLayer())
    for _ in range(3):
        hub.add(local_session())
    seen = 0
    for session in hub:
        seen += 1
        hub.discard(session)
        hub.add(local_session())
    assert seen == 3


# --- rooms


@pytest.mark.parametrize("together", [1, 5, 7, 100])
def test_each_session_is_in_one_part_and_a_users_are_in_the_same(together: int) -> None:
    hub = Hub(MemoryChannelLayer())
    assert list(hub.parts(together)) == []
    sessions = [local_session(f"u{n % 50}") for n in range(100)]
    for session in sessions[:-1]:
        hub.add(session)
    due = list(hub.parts(together))
    assert all(0 <= share < 1 for share, _ in due)
    assert len({share for share, _ in due}) == len(due)
    hub.add(sessions[-1])  # who comes later is in it too
    parts = [list(part) for _, part in due]
    assert (len(parts) > 1) == (together < 100)
    found = [session for part in parts for session in part]
    assert sorted(one.info.id for one in found) == sorted(one.info.id for one in sessions)
    users = [{session.info.user for session in part} for part in parts]
    assert sum(map(len, users)) == 50
    for session in sessions:
        hub.discard(session)
        hub.discard(session)
    assert list(hub.parts(together)) == []


async def test_a_room_hears_a_message_once_however_many_are_in_it() -> None:
    layer = GatedLayer()
    layer.gate.set()
    hub, heard = Hub(layer), Heard()
    one, two = local_session(), local_session()
    room = await hub.join(one, "g", "u", hear(heard))
    assert await hub.join(two, "g", "u", hear(heard)) is room
    assert layer.asked == ["g"]
    assert list(room.members) == [one, two] and (room.group, room.user) == ("g", "u")
    await layer.group_send("g", {"n": 1})
    assert heard == [(room, 1)]


async def test_the_last_one_out_leaves_the_group() -> None:
    layer = GatedLayer()
    layer.gate.set()
    hub = Hub(layer)
    one, two = local_session(), local_session()
    for session in (one, two):
        await hub.join(session, "g", "u", nothing)
    await hub.join(one, "h", "u", nothing)
    await hub.leave(one)
    assert layer.listening == {"g": 1, "h": 0} and one.rooms == []
    assert [room.group for room in hub.rooms()] == ["g"]
    await hub.leave(two)
    assert layer.listening == {"g": 0, "h": 0} and hub.rooms() == ()
    await hub.leave(two)


async def test_users_are_counted_once_whatever_their_sessions() -> None:
    house = await still_node()
    tabs = [await house.open(user) for user in ("42", "42", "43")]
    assert house.hub.users() == 2, "and the room of broadcasts is nobody's"
    await house.sessions.close(tabs[0], 1000, "")
    assert house.hub.users() == 2
    await house.sessions.close(tabs[1], 1000, "")
    assert house.hub.users() == 1


async def test_one_room_can_be_left_alone() -> None:
    layer = GatedLayer()
    layer.gate.set()
    hub, one = Hub(layer), local_session()
    for group in ("g", "h"):
        await hub.join(one, group, "u", nothing)
    await hub.leave(one, "g")
    await hub.leave(one, "never joined")
    assert [room.group for room in one.rooms] == ["h"]
    assert layer.listening == {"g": 0, "h": 1}


async def test_two_joins_at_once_wait_for_one_confirmation() -> None:
    layer = GatedLayer()
    hub = Hub(layer)
    joins = [asyncio.ensure_future(hub.join(local_session(), "g", "u", nothing)) for _ in range(3)]
    await turns()
    assert layer.asked == ["g"]
    assert not any(join.done() for join in joins), "a join returns when messages surely arrive"
    layer.gate.set()
    (room,) = set(await asyncio.gather(*joins))
    assert room.joining is None, "of each of thousands of rooms it would stay"
    assert await hub.join(local_session(), "g", "u", nothing) is room


async def test_a_cancelled_join_takes_the_confirmation_from_nobody() -> None:
    layer = GatedLayer()
    hub, heard = Hub(layer), Heard()
    first, second = local_session(), local_session()
    joins = [
        asyncio.ensure_future(hub.join(session, "g", "u", hear(heard)))
        for session in (first, second)
    ]
    await turns()
    joins[0].cancel()
    await turns()
    await hub.leave(first)
    layer.gate.set()
    room = await joins[1]
    assert list(room.members) == [second]
    await layer.group_send("g", {"n": 1})
    assert heard == [(room, 1)]


async def test_a_join_cancelled_before_its_confirmation_leaves_no_sink_behind() -> None:
    layer = GatedLayer()
    hub, one = Hub(layer), local_session()
    join = asyncio.ensure_future(hub.join(one, "g", "u", nothing))
    await turns()
    join.cancel()
    await turns()
    leaving = asyncio.ensure_future(hub.leave(one))
    await turns()
    layer.gate.set()
    await leaving
    await turns()
    assert "g" not in layer._fanout, "a sink of a room that nobody is in"


async def test_who_joins_while_the_last_one_leaves_gets_a_room_of_its_own() -> None:
    layer = GatedLayer()
    layer.gate.set()
    hub, heard = Hub(layer), Heard()
    old, new = local_session(), local_session()
    await hub.join(old, "g", "u", hear(heard))
    leaving = asyncio.ensure_future(hub.leave(old))
    room = await hub.join(new, "g", "u", hear(heard))
    await leaving
    assert list(room.members) == [new]
    await layer.group_send("g", {"n": 1})
    assert heard == [(room, 1)]


async def test_a_failed_join_fails_all_who_wait_and_the_next_asks_again() -> None:
    layer = FailingLayer("group_add_sink")
    hub, heard = Hub(layer), Heard()
    sessions = [local_session() for _ in range(2)]
    joins = [hub.join(session, "g", "u", hear(heard)) for session in sessions]
    for outcome in await asyncio.gather(*joins, return_exceptions=True):
        assert isinstance(outcome, GatewayUnavailable)
    for session in sessions:
        await hub.leave(session)
    assert hub.rooms() == ()
    layer.failing.clear()
    room = await hub.join(local_session(), "g", "u", hear(heard))
    await layer.group_send("g", {"n": 1})
    assert heard == [(room, 1)]


async def test_a_layer_that_fails_at_leave_keeps_the_session_in_no_room() -> None:
    """Else a dead session stays in the room of all clients for as long as the process lives."""
    layer = FailingLayer("group_discard_sink:g")
    hub = Hub(layer)
    gone, stays = local_session(), local_session()
    await hub.join(gone, "g", "u", nothing)
    for session in (gone, stays):
        await hub.join(session, "all", "", nothing)
    with pytest.raises(GatewayUnavailable):
        await hub.leave(gone)
    (room,) = hub.rooms()
    assert list(room.members) == [stays]


async def test_the_reader_of_a_room_ends_with_it() -> None:
    layer = FailingLayer()
    hub, one = Hub(layer), local_session()
    room = await hub.join(one, "g", "u", nothing)
    room.reader = asyncio.get_running_loop().create_task(asyncio.Event().wait())  # type: ignore[arg-type]
    await hub.leave(one)
    await asyncio.wait({room.reader}, timeout=PATIENCE)
    assert room.reader.cancelled()


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(None, False), (Position("a", 5), False), (Position("a", 6), True), (Position("b", 9), False)],
)
def test_whether_the_layer_is_ahead(seen: Position | None, expected: bool) -> None:
    room = Room("g", "u", nothing)
    room.seen = seen
    assert room.is_ahead_of(Position("a", 5)) is expected


# --- one session


def test_the_first_reason_to_close_wins() -> None:
    session = local_session()
    session.close(4503, "replaced")
    session.close(1012, "shutting down")
    assert (session.close_code, session.close_reason) == (4503, "replaced")
    assert outbox_of(session).closed == (4503, "replaced")
    assert outbox_of(session).closes == 1


def test_room_in_the_outbox_is_for_replies_first() -> None:
    session, order = local_session(), list[str]()
    session.on_space = lambda: order.append("reply")
    session.on_readable = lambda: order.append("stream")
    session.drained()
    assert order == ["reply"], "nobody waits for the stream"
    session.blocked = True
    session.drained()
    assert order == ["reply", "reply", "stream"] and not session.blocked
    session.drained()
    assert order == ["reply"] * 2 + ["stream", "reply"]


def write(outbox: Outbox, frame: Frame) -> None:
    outbox.write(frame)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_session_is_welcomed_when_it_gathers_no_more(kind: Kind) -> None:
    session, welcomed = local_session(kind=kind), []
    first, late = message_frame(b'{"n":1}'), message_frame(b'{"n":2}')
    assert session.write(first) is Write.OK
    welcomed.append(session.welcomed)
    assert outbox_of(session).frames == []
    session.welcome(message_frame(b'{"n":0}'), partial(write, session.outbox, late))
    assert [*welcomed, session.welcomed] == [False, True]
    assert [frame["n"] for frame in outbox_of(session).frames] == [0, 2, 1]


async def test_a_join_that_fails_when_nobody_waits_any_more_is_no_line_in_the_log() -> None:
    class LateLayer(FailingLayer):
        async def group_add_sink(self, group: str, sink: Any) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise GatewayUnavailable("Redis does not confirm a subscription")

    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(context["message"])
    )
    hub, session = Hub(LateLayer()), local_session()
    joining = asyncio.ensure_future(hub.join(session, "g", "u", nothing))
    await asyncio.sleep(0)
    joining.cancel()
    await turns()
    await hub.leave(session)
    del joining
    await turns()
    gc.collect()
    assert told == []
