"""What one node asks of others: closing, lists of sessions, what became of a message."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from sockets.base.ids import new_id
from sockets.cluster.bus import Bus
from sockets.delivery.hub import LocalSession
from sockets.layers.fanout import Message
from sockets.types import (
    Disconnected,
    Outcome,
    Position,
    SessionDelivery,
    SessionInfo,
    SessionPlace,
)
from tests.support.doubles import (
    StillNode,
    begin_life,
    info,
    node_info,
    outbox_of,
    still_node,
    until,
)
from tests.support.patience import PATIENCE


async def disconnect(node: StillNode, user: str, **given: Any) -> Disconnected:
    chosen = {"client": None, "session": None, "keep": ()} | given
    return await node.control.disconnect(user, code=4504, reason="because", **chosen)


def answering(node: StillNode) -> None:
    """Sockets that close as soon as they are asked to."""

    def gone(session: LocalSession, code: int, reason: str) -> None:
        node.spawn(node.sessions.close(session, code, reason))

    for session in node.hub:
        outbox_of(session).on_close = partial(gone, session)


async def test_disconnect_closes_all_or_those_named_and_says_when() -> None:
    node = await still_node()
    first, second, third, fourth = [await node.open() for _ in range(4)]
    other = await node.open("43")
    answering(node)
    assert await disconnect(node, "42", client="X") == Disconnected(0)
    assert await disconnect(node, "42", client=first.info.client_id) == Disconnected(1)
    assert first.closed and first.close_code == 4504 and second.close_code is None
    assert await disconnect(node, "42", session=second.info.id) == Disconnected(1)
    assert outbox_of(second).closed == (4504, "because") and third.close_code is None
    assert await disconnect(node, "42", keep=[fourth.info.client_id]) == Disconnected(1)
    assert third.closed and fourth.close_code is None
    assert await disconnect(node, "42") == Disconnected(1)
    assert fourth.closed and other.close_code is None
    assert await disconnect(node, "nobody") == Disconnected(0)


async def test_what_does_not_close_in_time_is_unconfirmed_and_offline() -> None:
    node = await still_node(close_timeout=0.02)
    await node.open()
    assert await disconnect(node, "42") == Disconnected(0, 1)
    assert not await node.presence.is_online("42")


async def test_a_node_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sockets.sessions.control.CLOSE_MARGIN", 0.02)
    node = await still_node(close_timeout=0.01)
    await node.bus.stop()  # nobody hears the node's group
    session = await node.open()
    assert await disconnect(node, "42") == Disconnected(0, 1)
    assert session.close_code is None
    await node.sessions.renew()
    assert outbox_of(session).closed == (4504, "because"), "the renewal makes it sure"


async def test_an_answer_that_cannot_be_read_closes_nothing_for_sure() -> None:
    node = await still_node()

    def other(asked: Message) -> None:
        node.spawn(node.bus.answer(asked, open=7))

    node.bus.handlers["node"] = other
    await node.open()
    assert await disconnect(node, "42") == Disconnected(0, 1)


# --- lists of sessions


async def pages(asked: StillNode, node: str | None, limit: int) -> list[list[SessionInfo]]:
    found, place = list[list[SessionInfo]](), SessionPlace()
    while True:
        page, following = await asked.control.page_of_sessions(node, place, limit)
        found.append(page)
        if following is None:
            return found
        place = following


async def test_sessions_of_all_kinds_are_listed_oldest_first() -> None:
    node = await still_node()
    late, worker, early = [
        await node.open("42", connected_at=3.0),
        await node.open_worker("p", connected_at=2.0),
        await node.open("43", connected_at=1.0),
    ]
    listed = [session.id for session in await node.control.sessions(None, 10)]
    assert listed == [early.info.id, worker.info.id, late.info.id]
    assert len(await node.control.sessions("here", 2)) == 2, "some of them"
    assert await node.control.sessions("there", 10) == []


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_pages_of_sessions_are_walked_to_the_end(limit: int) -> None:
    node = await still_node()
    sessions = [await node.open(f"u{n % 3}") for n in range(5)]
    sessions += [await node.open_worker("p", key=f"k{n}") for n in range(3)]
    found = await pages(node, None, limit)
    assert {info.id for page in found for info in page} == {each.info.id for each in sessions}
    assert len(found) > 1 or limit == 100
    assert await pages(node, "there", limit) == [[]]


# --- requests that somebody answers


async def test_sessions_are_closed_by_their_ids_wherever_they_are() -> None:
    node = await still_node(close_timeout=0.2)
    client, deaf, worker = await node.open(), await node.open(), await node.open_worker("p")
    answering(node)
    outbox_of(deaf).on_close = None
    ids = [client.info.id, deaf.info.id, worker.info.id, new_id()]
    assert await node.control.disconnect_sessions(ids, 4504, "because") == {
        client.info.id: Disconnected(1),
        deaf.info.id: Disconnected(0, 1),
        worker.info.id: Disconnected(1),
    }


async def test_a_request_to_close_goes_to_the_nodes_that_hold_them() -> None:
    node, there = await still_node(), list[Any]()
    other = Bus(node.layer, "there")
    other.handlers["node"] = there.append
    await other.listen()
    mine, far = await node.open(), [info("42", node="there") for _ in range(2)]
    await node.control.request_close([far[0], mine.info, far[1]], 4503, "replaced")
    assert outbox_of(mine).closed == (4503, "replaced")
    (asked,) = there
    assert (asked["type"], asked["sessions"]) == ("node.close", [info.id for info in far])


async def test_a_crowd_from_another_node_has_it_asked_a_few_times() -> None:
    node, there, elsewhere = await still_node(), list[Any](), list[Any]()
    for name, heard in (("there", there), ("elsewhere", elsewhere)):
        bus = Bus(node.layer, name)
        bus.handlers["node"] = heard.append
        await bus.listen()
    far = [info(f"{number}", node="there") for number in range(100)]
    other, evicted = info("42", node="elsewhere"), info("43", node="there")
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        for one in (*far, other):
            tasks.create_task(node.control.request_close([one], 4503, "replaced"))
        tasks.create_task(node.control.request_close([evicted], 4509, "too many"))
        tasks.create_task(node.control.request_close([], 4503, "replaced"))
    assert [asked["sessions"] for asked in elsewhere] == [[other.id]]
    told = [(id, one["code"], one["reason"]) for one in there for id in one["sessions"]]
    assert len(there) <= 4 and len(told) == len(set(told)) == 101
    assert set(told) == {(one.id, 4503, "replaced") for one in far} | {
        (evicted.id, 4509, "too many")
    }


def unequal_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[list[tuple[str, list[str]]], asyncio.Event]:
    """Let a message to "away" wait for the event, and one to "strange" fail.

    Returns the nodes that were told to close sessions, and which, beside the event.
    """
    told, over = list[tuple[str, list[str]]](), asyncio.Event()

    async def tell(bus: Bus, name: str, /, **message: Any) -> None:
        if name == "away":
            await over.wait()
        if name == "strange":
            raise ValueError("no group can be called that")
        told.append((name, message["sessions"]))

    monkeypatch.setattr(Bus, "tell", tell)
    return told, over


async def test_a_node_that_cannot_be_reached_keeps_nobody_else_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, (told, over) = await still_node(), unequal_nodes(monkeypatch)
    away, strange, far = (info("42", node=name) for name in ("away", "strange", "there"))
    waiting = [
        asyncio.ensure_future(node.control.request_close([one], 4503, "replaced"))
        for one in (away, strange, far)
    ]
    async with asyncio.timeout(PATIENCE):
        await waiting[2]
    assert told == [("there", [far.id])] and not waiting[0].done()
    over.set()
    await waiting[0]
    with pytest.raises(ValueError, match="no group"):
        await waiting[1]
    assert told[1:] == [("away", [away.id])]
    assert node.control._closing == {}, "nothing is kept of nodes that were asked"


async def test_all_nodes_of_one_request_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    node, (told, over) = await still_node(), unequal_nodes(monkeypatch)
    names = ("away", "strange", "there")
    asking = asyncio.ensure_future(
        node.control.request_close([info("42", node=name) for name in names], 4503, "replaced")
    )
    await until(lambda: [name for name, _ in told] == ["there"])
    over.set()
    with pytest.raises(ValueError, match="no group"):
        await asking
    assert [name for name, _ in told] == ["there", "away"] and node.control._closing == {}


async def test_nothing_is_kept_of_a_node_whose_callers_were_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, (_, over) = await still_node(), unequal_nodes(monkeypatch)
    asking = asyncio.ensure_future(
        node.control.request_close([info("42", node="away")], 4503, "replaced")
    )
    await until(lambda: node.control._closing)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    over.set()
    for _ in range(5):
        await asyncio.sleep(0)
    await node.control.request_close([info("42", node="there")], 4503, "replaced")
    assert node.control._closing == {}


async def test_a_drain_is_asked_only_of_a_node_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sockets.sessions.control.ASK_TIMEOUT", 0.02)
    node = await still_node(ready_lag=0)
    assert not await node.control.drain("there") and await node.control.drain("here")
    assert node.drains == 1
    await begin_life(node.nodes, node_info("silent"))
    assert not await node.control.drain("silent")


async def test_a_block_keeps_out_and_closes() -> None:
    node = await still_node()
    session = await node.open()
    answering(node)
    assert await node.control.block("42", None, 4507, "blocked") == Disconnected(1)
    assert session.close_code == 4507
    assert (await node.presence.register(info("42"))).refused is not None


async def test_a_revocation_closes_what_was_proved_before() -> None:
    node = await still_node()
    phone, tab = await node.open(sid="phone"), await node.open(sid="tab")
    answering(node)
    assert await node.control.revoke("42", "sid:phone", None) == Disconnected(1)
    assert (phone.close_code, tab.close_code) == (4508, None)


# --- what became of a message


async def test_of_a_silent_node_the_lease_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockets.sessions.control.ASK_TIMEOUT", 0.02)
    node = await still_node()
    await node.bus.stop()
    session = await node.open("42")
    session.info = replace(session.info, acked=Position("e", 3), acked_at=9.0)
    await node.presence.renew([session.info])
    info = session.info
    for offset, acked_at in ((3, 9.0), (4, None)):
        assert await node.control.delivery_of("42", "e", offset) == [
            SessionDelivery(info.id, info.client_id, info.node, Outcome.UNKNOWN, None, acked_at)
        ]
