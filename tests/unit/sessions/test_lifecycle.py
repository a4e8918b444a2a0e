"""The life of a session: opened in the right order, replaced once, closed once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.codes import CloseCode
from sockets.delivery.hub import PARTS, TOGETHER
from sockets.exceptions import GatewayUnavailable, ShuttingDown, TryAgainLater
from sockets.layers.groups import CLIENTS, node_group, user_group
from sockets.presence.base import Effects, Fenced, PartlyRenewed
from sockets.sessions import lifecycle as sessions_module
from sockets.sessions.lifecycle import CLAIM_EVERY
from sockets.streams.base import NewEntry
from sockets.streams.known import Known
from sockets.types import Kind, Notification, Page, Position, SessionInfo
from tests.support.doubles import (
    WELCOME,
    FailingLayer,
    GatedLayer,
    local_session,
    outbox_of,
    still_node,
)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def live(kind: Kind) -> float:
    value: float = metrics.sessions[kind]._value.get()
    return value


# --- open


async def test_an_open_joins_then_registers_then_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order nothing falls between: after the join it is heard, before it is read."""
    node, order = await still_node(), list[str]()

    def spy(owner: object, name: str) -> None:
        call = getattr(owner, name)

        def spied(*args: Any) -> Any:
            order.append(f"{name} {args[0]}" if name == "group_add_sink" else name)
            return call(*args)

        monkeypatch.setattr(owner, name, spied)

    spy(node.layer, "group_add_sink")
    spy(node.presence, "register")
    spy(node.streams, "follow")
    session = local_session()
    await node.sessions.open_client(session, None)
    assert order == [
        f"group_add_sink {user_group('42')}",
        f"group_add_sink {CLIENTS}",
        "register",
        "follow",
    ]
    assert node.hub.get(session.info.id) is session
    assert node.recorder.opened == [session.info.id]


@pytest.mark.parametrize("when", ["joining", "opened"])
async def test_what_is_sent_while_a_session_opens_is_not_lost(when: str) -> None:
    layer = GatedLayer()
    layer.gate.set()
    node = await still_node(layer)
    layer.gate.clear()
    session = local_session()
    opening = asyncio.ensure_future(node.sessions.open_client(session, None))
    await turns()
    if when == "joining":
        await node.notifier.send(Notification("42", "durable", None))
        layer.gate.set()
        opened = await opening
    else:
        layer.gate.set()
        opened = await opening
        await node.notifier.send(Notification("42", "durable", None))
    await node.notifier.send(Notification("42", "ephemeral", None, durable=False))
    assert outbox_of(session).raw == [], "the welcome goes first"
    node.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
    await node.settle()
    told = outbox_of(session).events
    # Before the position that the welcome names: the page that connects loads it itself.
    expected = ["ephemeral"] if when == "joining" else ["ephemeral", "durable"]
    assert sorted(told) == sorted(expected)
    assert opened.opening.start.offset == (1 if when == "joining" else 0)


@pytest.mark.parametrize(
    ("offset", "recovered", "events"),
    [(0, True, ["e1", "e2", "e3"]), (2, True, ["e3"]), (3, True, []), (4, False, [])],
)
async def test_a_session_that_returns_gets_what_it_missed(
    offset: int, recovered: bool, events: list[str]
) -> None:
    node = await still_node()
    for n in (1, 2, 3):
        receipt = await node.notifier.send(Notification("42", f"e{n}", None))
    session = local_session()
    given = Position(str(receipt.epoch), offset)
    opened = await node.sessions.open_client(session, given)
    assert opened.opening.recovered is recovered
    node.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
    assert outbox_of(session).events == events


async def test_a_clients_word_counts_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes a position up has not everybody who shares its user reload at each connect."""
    node, told = await still_node(), list[Known | None]()
    follow = node.streams.follow

    async def spied(*args: Any) -> Page:
        told.append(args[3])
        page = await follow(*args)
        return replace(page, epoch="new") if args[3] is not None else page

    monkeypatch.setattr(node.streams, "follow", spied)

    async def come(user: str) -> bool:
        session = local_session(user)
        await node.sessions.open_client(session, Position("old", 99))
        await node.sessions.close(session, 1000, "")
        return told.pop() == Known(Position("old", 99))

    assert await come("42") is True
    assert await come("42") is False
    assert await come("another") is True
    node.clock.advance(CLAIM_EVERY)
    assert await come("42") is True


@pytest.mark.parametrize(("missing", "recovered"), [(3, True), (4, False)])
async def test_recovery_is_all_or_nothing(missing: int, recovered: bool) -> None:
    node = await still_node(recovery_limit=3)
    head = await node.streams.head("42")
    for n in range(missing):
        await node.notifier.send(Notification("42", f"e{n}", None))
    session = await node.open(position=head)
    assert len(outbox_of(session).events) == (missing if recovered else 0)


async def test_a_full_node_takes_nobody() -> None:
    node = await still_node(max_sessions=1)
    first = await node.open()
    with pytest.raises(TryAgainLater, match="full"):
        await node.open("43")
    worker = local_session(kind=Kind.WORKER)
    with pytest.raises(TryAgainLater):
        await node.sessions.open_worker(worker, (), 1)
    await node.sessions.close(worker, 1006, "")
    assert list(node.hub) == [first] and len(node.recorder.opened) == 1
    await node.sessions.close(first, 1000, "")
    await node.open("43")


async def test_a_node_that_returns_its_clients_takes_nobody() -> None:
    node = await still_node()
    node.sessions.accepting = False
    with pytest.raises(ShuttingDown):
        await node.open()
    assert len(node.hub) == 0


# --- replaced


async def test_a_client_that_comes_again_replaces_itself() -> None:
    node, id = await still_node(), new_id()
    old, other = await node.open(client_id=id), await node.open()
    new = await node.open(client_id=id)
    assert outbox_of(old).closed == (4503, "replaced by a newer connection of this client")
    assert outbox_of(other).closed is None and outbox_of(new).closed is None
    await node.sessions.close(old, 1006, "")
    assert {info.id for info in await node.presence.sessions_of("42")} == {
        other.info.id,
        new.info.id,
    }


async def test_a_worker_that_comes_again_replaces_itself() -> None:
    node, id = await still_node(), new_id()
    old, new = (local_session("w", kind=Kind.WORKER, client_id=id) for _ in range(2))
    for session in (old, new):
        await node.sessions.open_worker(session, (), 1)
    assert old.close_code == 4503 and new.close_code is None


async def test_the_node_that_holds_the_old_one_is_told() -> None:
    node, id = await still_node(), new_id()
    asked: list[Any] = []
    await node.layer.group_add_sink(node_group("elsewhere"), asked.append)
    far = local_session(client_id=id, node="elsewhere")
    await node.presence.register(far.info)
    await node.open(client_id=id)
    assert asked == [
        {
            "type": "node.close",
            "sessions": [far.info.id],
            "code": 4503,
            "reason": "replaced by a newer connection of this client",
        }
    ]


# --- renewal


async def test_renewal_keeps_sessions_present() -> None:
    node = await still_node()
    session = await node.open()
    for _ in range(4):
        node.clock.advance(node.conf.lease_ttl - 1)
        await node.sessions.renew()
    assert [info.id for info in await node.presence.sessions_of("42")] == [session.info.id]


async def test_renewal_closes_what_was_replaced_while_the_message_was_lost() -> None:
    node, id = await still_node(), new_id()
    old = await node.open(client_id=id)
    await node.presence.register(local_session("42", client_id=id, node="elsewhere").info)
    assert old.close_code is None
    await node.sessions.renew()
    assert old.close_code == CloseCode.REPLACED


async def test_the_replaced_socket_lives_until_the_new_one_is_welcome() -> None:
    node, id = await still_node(), new_id()
    old = await node.open("42", client_id=id)
    new = local_session("42", client_id=id)
    opened = await node.sessions.open_client(new, None)
    assert [info.id for info in await node.presence.sessions_of("42")] == [new.info.id]
    node.clock.advance(node.conf.lease_ttl + 1)  # frozen in between
    await node.sessions.renew()
    assert old.close_code is new.close_code is None, "neither fences the other"
    await node.sessions.welcome(new, opened, WELCOME)
    assert new.welcomed and old.close_code == CloseCode.REPLACED


async def test_a_new_one_that_is_never_welcome_leaves_no_socket_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, id = await still_node(), new_id()
    old = await node.open("42", client_id=id)
    new = local_session("42", client_id=id)

    async def away(*_: Any, **__: Any) -> Any:
        raise GatewayUnavailable("away")

    monkeypatch.setattr(node.streams, "follow", away)
    with pytest.raises(GatewayUnavailable):
        await node.sessions.open_client(new, None)
    assert old.close_code == CloseCode.REPLACED


async def test_a_renewal_while_a_newer_session_opens_does_not_close_that_one() -> None:
    """It is in the hub before it is registered; the older one's lease still runs then."""
    layer = GatedLayer()
    layer.gate.set()
    node, id = await still_node(layer), new_id()
    old = await node.open("42", client_id=id)
    await node.sessions.close(await node.open("43"), 1000, "")
    layer.gate.clear()
    new = local_session("43", client_id=id)
    rival = local_session("43", client_id=id, node="elsewhere")
    await node.presence.register(rival.info)
    opening = asyncio.ensure_future(node.sessions.open_client(new, None))
    await turns()
    await node.sessions.renew()
    layer.gate.set()
    await opening
    assert new.close_code is None, "the newer one was closed, and 4503 means: do not come back"
    assert old.close_code is None


async def test_a_session_that_is_closing_is_not_renewed() -> None:
    """Else, after a freeze, the replaced one gets its lease back and fences its replacement."""
    node, id = await still_node(), new_id()
    old, new = await node.open(client_id=id), await node.open(client_id=id)
    assert old.close_code == CloseCode.REPLACED
    node.clock.advance(node.conf.lease_ttl + 1)  # frozen, before the old socket was gone
    await node.sessions.renew()
    assert new.close_code is None
    assert [info.id for info in await node.presence.sessions_of("42")] == [new.info.id]


async def test_a_session_that_goes_during_a_renewal_is_not_brought_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A renewal takes turns with the rest of the loop, and sockets close meanwhile."""
    monkeypatch.setattr(sessions_module, "SLICE", 1)
    node = await still_node()
    first, second = await node.open("1"), await node.open("2")
    renewal = asyncio.ensure_future(node.sessions.renew())
    await asyncio.sleep(0)
    await node.sessions.close(first, 1000, "")
    await node.sessions.close(second, 1000, "")
    await renewal
    answer = await node.presence.look_at(["1", "2"])
    assert not any(user.online for user in answer.users.values())


async def test_a_lease_that_a_late_renewal_brought_back_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Redis the two go over two connections: the renewal may come after the release."""
    node = await still_node()
    session = await node.open("42")
    renew = node.presence.renew

    async def late(infos: Any, by: str = "") -> Any:
        await node.sessions.close(session, 1000, "")
        node.presence._ended.clear()
        return await renew(infos, by)

    monkeypatch.setattr(node.presence, "renew", late)
    await node.sessions.renew()
    assert not await node.presence.is_online("42")


async def test_whoever_came_back_elsewhere_in_a_drain_is_not_told_to_stay_away() -> None:
    node = await still_node()
    session, other = await node.open(), await node.open()
    node.sessions.accepting = False
    node.sessions.close_local([session.info.id], CloseCode.REPLACED, "replaced")
    node.sessions.close_local([other.info.id], CloseCode.DISCONNECTED, "go")
    assert outbox_of(session).closed == (CloseCode.DRAINING, "this node is draining")
    assert outbox_of(other).closed == (CloseCode.DISCONNECTED, "go")


async def test_a_renewal_reaches_everybody_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SLICE", 2)
    node = await still_node()
    opened = [await node.open(f"u{n}") for n in range(5)]
    for n in range(5):
        await node.streams.append(f"u{n}", entry("e"))
    node.clock.advance(node.conf.lease_ttl - 1)
    await node.sessions.renew()
    await node.settle()
    node.clock.advance(node.conf.lease_ttl - 1)
    answer = await node.presence.look_at([f"u{n}" for n in range(5)])
    assert all(user.online for user in answer.users.values())
    assert [outbox_of(session).events for session in opened] == [["e"]] * 5


async def test_a_comparison_that_fails_keeps_nobodys_lease_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = await still_node()
    users = [f"u{n}" for n in range(40)]
    for user in users:
        await node.open(user)

    async def heads(*given: Any) -> Any:
        raise GatewayUnavailable("Redis denies the gateway a right that it needs")

    monkeypatch.setattr(node.streams, "heads", heads)
    node.clock.advance(node.conf.lease_ttl - 1)
    with pytest.raises(GatewayUnavailable, match="a right"):
        await node.sessions.renew()
    node.clock.advance(2)
    answer = await node.presence.look_at(users)
    assert all(user.online for user in answer.users.values())


async def test_who_comes_while_a_round_takes_its_time_is_renewed_in_it() -> None:
    node = await still_node()
    await node.open("1")
    late: list[Any] = []
    renewed: list[str] = []
    renew = node.presence.renew

    async def noting(infos: Any, by: str = "") -> Any:
        renewed.extend(info.user for info in infos)
        return await renew(infos, by)

    node.presence.renew = noting  # type: ignore[method-assign]

    async def until(share: float) -> None:
        if not late:
            late.append(await node.open("1"))

    await node.sessions.renew(until)
    assert renewed == ["1", "1"]


async def test_a_round_takes_smaller_steps_while_messages_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a step does stands before the messages that come meanwhile; each has its costs."""
    monkeypatch.setattr(sessions_module, "BUSY", 3)
    node = await still_node()
    for n in range(60):
        await node.open(f"u{n}")
    users = {session.info.user for session in node.hub}

    async def steps() -> list[int]:
        sizes: list[int] = []

        async def noting(infos: Any, by: str = "") -> Any:
            sizes.append(len(infos))
            return Effects()

        with monkeypatch.context() as patch:
            patch.setattr(node.presence, "renew", noting)
            await node.sessions.renew()
        assert sum(sizes) == len(users) == 60
        return sizes

    quiet = await steps()
    for n in range(3):
        await node.layer.group_send(user_group(f"u{n}"), {"type": "notify", "event": "e"})
    await node.settle()
    busy = await steps()
    assert len(quiet) <= PARTS / TOGETHER < len(busy)
    assert len(await steps()) == len(quiet), "none came since"


async def test_renewal_finds_a_lost_last_message() -> None:
    node = await still_node()
    session = await node.open()
    await node.streams.append("42", entry("e"))  # no signal at all
    assert outbox_of(session).events == []
    await node.sessions.renew()
    await node.settle()
    assert outbox_of(session).events == ["e"]


def entry(event: str) -> Any:
    body = {"id": new_id(), "event": event, "data": None, "time": 0}
    return NewEntry(str(body["id"]), json.dumps(body).encode())


# --- close


async def test_close_undoes_open_and_is_done_once() -> None:
    node = await still_node()
    before = live(Kind.CLIENT)
    session = await node.open()
    assert live(Kind.CLIENT) == before + 1
    for code in (1001, 1006):
        await node.sessions.close(session, code, f"reason {code}")
    assert node.recorder.closed == [(session.info.id, 1001, "reason 1001")]
    assert len(node.hub) == 0 and node.hub.rooms() == ()
    assert not await node.presence.is_online("42")
    assert live(Kind.CLIENT) == before


async def test_what_this_side_decided_is_what_the_row_says() -> None:
    node = await still_node()
    session = await node.open()
    session.close(4002, "slow")
    await node.sessions.close(session, 1006, "")
    assert node.recorder.closed == [(session.info.id, 4002, "slow")]


async def test_a_session_that_never_opened_can_be_closed() -> None:
    node = await still_node()
    await node.sessions.close(local_session(), 1006, "")
    assert node.recorder.closed == []


@pytest.mark.parametrize("where", ["group_add_sink", "register", "follow"])
async def test_an_open_that_fails_leaves_nothing_after_close(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = FailingLayer()
    node = await still_node(layer)
    layer.failing.add(where)

    async def away(*args: Any) -> Any:
        raise GatewayUnavailable("away")

    if where != "group_add_sink":
        monkeypatch.setattr(node.presence if where == "register" else node.streams, where, away)
    session = local_session()
    with pytest.raises(GatewayUnavailable):
        await node.sessions.open_client(session, None)
    await node.sessions.close(session, 1013, "away")
    assert len(node.hub) == 0 and node.hub.rooms() == ()
    assert not await node.presence.is_online("42")
    assert [code for _, code, _ in node.recorder.closed] == [1013]


async def test_an_open_that_is_cancelled_leaves_nothing_after_close() -> None:
    layer = GatedLayer()
    layer.gate.set()
    node = await still_node(layer)
    layer.gate.clear()
    session = local_session()
    opening = asyncio.ensure_future(node.sessions.open_client(session, None))
    await turns()
    opening.cancel()
    await asyncio.wait({opening})
    layer.gate.set()
    await node.sessions.close(session, 1006, "")
    assert len(node.hub) == 0 and node.hub.rooms() == ()
    assert not await node.presence.is_online("42")


async def test_a_layer_that_fails_at_close_does_not_keep_the_user_online(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer = FailingLayer("group_discard_sink")
    node = await still_node(layer)
    session = await node.open()
    await node.sessions.close(session, 1000, "")
    assert "its groups could not be given back" in caplog.text
    assert not await node.presence.is_online("42")


# --- closing from elsewhere


async def test_a_request_for_sessions_that_are_not_here_is_nothing() -> None:
    node = await still_node()
    session = await node.open()
    assert node.sessions.close_local([session.info.id, "gone"], 4504, "r") == [session.info.id]
    assert outbox_of(session).closed == (4504, "r")


async def test_count_by_kind() -> None:
    node = await still_node()
    await node.open()
    await node.sessions.open_worker(local_session(kind=Kind.WORKER), (), 1)
    assert {kind: node.hub.count(kind) for kind in Kind} == {Kind.CLIENT: 1, Kind.WORKER: 1}


async def test_a_node_that_takes_another_name_tells_it_with_every_session() -> None:
    node = await still_node()
    early = await node.open("42")
    helper = await node.open_worker("p")
    node.sessions.rename("here~1234")
    node.dispatcher.rename("here~1234")
    late = await node.open("7")  # it was made with the former name
    assert {each.info.node for each in (early, helper, late)} == {"here~1234"}
    await node.sessions.renew()
    for user in ("42", "7"):
        assert [info.node for info in await node.presence.sessions_of(user)] == ["here~1234"]


async def test_a_shard_that_refuses_keeps_no_other_slice_from_renewing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions_module, "SLICE", 1)
    node = await still_node()
    opened = [await node.open(user) for user in ("refused", "1", "2")]
    renew = node.presence.renew
    seats: list[int] = []

    async def renew_seats() -> None:
        seats.append(1)

    monkeypatch.setattr(node.dispatcher, "renew", renew_seats)

    async def partly(infos: list[SessionInfo], by: str = "") -> Effects:
        if infos[0].user == "refused":
            fenced = Fenced(infos[0].id, 4503, "replaced")
            raise PartlyRenewed("a shard is full", Effects(fenced=(fenced,)))
        return await renew(infos, by)

    monkeypatch.setattr(node.presence, "renew", partly)
    node.clock.advance(node.conf.lease_ttl - 1)
    with pytest.raises(PartlyRenewed, match="full"):
        await node.sessions.renew()
    node.clock.advance(2)
    assert [await node.presence.is_online(user) for user in ("refused", "1", "2")] == [
        False,
        True,
        True,
    ]
    assert opened[0].close_code == 4503, "what was found all the same is done"
    assert seats == [1], "workers keep their seats"
