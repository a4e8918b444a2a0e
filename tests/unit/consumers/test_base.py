"""From accept to clean-up: refusals, failures, cancellation; `finally` always closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from sockets.base import metrics, refusals
from sockets.base.refusals import Refusals
from sockets.exceptions import GatewayUnavailable
from sockets.layers.groups import worker_group
from sockets.node.node import Node
from sockets.presence.memory import MemoryPresence
from sockets.streams.memory import MemoryStreams
from sockets.types import Kind
from tests.support.observed import Observed
from tests.support.patience import PATIENCE
from tests.unit.consumers.conftest import Peer

MakePeer = Callable[..., Peer]
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def rows(node: Node) -> list[tuple[int, str]]:
    """(code, reason) of the sessions that were closed."""
    return [(code, reason) for _, code, reason in node.recorder.closed]  # type: ignore[attr-defined]


def assert_nothing_is_left(node: Node) -> None:
    assert len(node.hub) == 0 and node.hub.rooms() == ()
    assert isinstance(node.presence, MemoryPresence)
    assert not any(user.leases for user in node.presence._users.values())
    assert not node.tracker.users
    recorder: Any = node.recorder
    assert len(recorder.opened) == len(recorder.closed)
    assert not [task for task in asyncio.all_tasks() if "PumpOutbox" in repr(task)]


async def test_an_open_socket_is_known_and_a_closed_one_forgotten(
    node: Node, client: MakePeer
) -> None:
    tab = client(f"user_id=42&client_id={ULID.lower()}")
    welcome = await tab.opened()
    (session,) = node.hub
    head = await node.streams.head("42")
    assert welcome == {
        "type": "welcome",
        "session": session.info.id,
        "user": "42",
        "client": ULID,
        "node": "here",
        "epoch": head.epoch,
        "offset": 0,
        "recovered": None,
        "heartbeat": 25.0,
        "limits": {"frame": 65_536, "message": 2_000},
    }
    assert await node.presence.is_online("42")
    await tab.leave(1001)
    assert [code for code, _ in rows(node)] == [1001]
    assert_nothing_is_left(node)


async def test_a_peer_without_the_subprotocol_is_served_without_pings(client: MakePeer) -> None:
    tab = client(v1=False)
    assert await tab.connect() == (True, None)
    assert (await tab.frame())["heartbeat"] == 0
    assert (await tab.ask(type="sessions"))["ok"]
    await tab.leave()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", 4501),
        ("user_id=", 4500),
        ("user_id=42&client_id=short", 4500),
        ("user_id=42&epoch=e", 4500),
        ("user_id=42&epoch=e&offset=x", 4500),
        ("user_id=%ff", 4500),
        ("user_id=1&userId=2", 4500),
    ],
)
async def test_a_refusal_accepts_first_and_says_why(
    node: Node, client: MakePeer, query: str, code: int
) -> None:
    """A browser cannot see why a handshake failed, so the socket opens and closes with a code."""
    tab = client(query)
    assert (await tab.connect())[0]
    told, reason = await tab.closed()
    assert told == code and reason
    assert_nothing_is_left(node)


@pytest.mark.parametrize(
    ("query", "key", "headers", "code"),
    [
        ("", "wrong", {}, 4501),
        ("", "", {}, 4501),
        ("", "the worker's own key", {"origin": "http://localhost"}, 4502),
        ("worker_id=short", "the worker's own key", {}, 4500),
        ("name=" + "x" * 129, "the worker's own key", {}, 4500),
    ],
)
async def test_a_worker_is_refused_the_same_way(
    node: Node, worker: MakePeer, query: str, key: str, headers: dict[str, str], code: int
) -> None:
    one = worker(query, key, **headers)
    assert (await one.connect())[0]
    assert (await one.closed())[0] == code
    assert_nothing_is_left(node)


async def test_a_full_node_says_so(
    node: Node, client: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.sessions, "accepting", False)
    tab = client()
    assert (await tab.connect())[0]
    assert await tab.closed() == (1012, "this node is shutting down")
    assert rows(node) == []


async def test_a_store_that_is_away_is_try_again_later(
    node: Node, client: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any) -> Any:
        raise GatewayUnavailable("the state store does not answer")

    monkeypatch.setattr(MemoryStreams, "follow", away)
    tab = client()
    assert (await tab.connect())[0]
    assert await tab.closed() == (1013, "the state store does not answer")
    assert rows(node) == [(1013, "the state store does not answer")]
    assert_nothing_is_left(node)


async def test_a_bug_is_4004_and_in_the_log(
    node: Node,
    client: MakePeer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def bug(*args: Any) -> Any:
        raise RuntimeError("a bug of ours")

    tab = client()
    await tab.opened()
    monkeypatch.setattr(MemoryPresence, "sessions_of", bug)
    with caplog.at_level(logging.ERROR):
        await tab.write(type="sessions", ref=1)
        assert await tab.closed() == (4004, "internal error")
    assert "a bug of ours" in caplog.text
    assert rows(node) == [(4004, "internal error")]
    assert_nothing_is_left(node)


class Gate:
    """Holds a call until it is opened, and says that it was reached."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.reached.set()
        await self.open.wait()
        return ()


@pytest.mark.parametrize(
    ("owner", "name"),
    [("layer", "group_add_sink"), ("presence", "register"), ("streams", "follow")],
)
async def test_cancelled_in_the_middle_of_opening_leaves_nothing(
    node: Node, client: MakePeer, monkeypatch: pytest.MonkeyPatch, owner: str, name: str
) -> None:
    gate = Gate()
    monkeypatch.setattr(getattr(node, owner), name, gate)
    tab = client()
    assert (await tab.connect())[0]
    async with asyncio.timeout(PATIENCE):
        await gate.reached.wait()
    assert len(node.hub) == 1
    tab.future.cancel()  # as the server does when the grace is over
    await asyncio.wait({tab.future}, timeout=PATIENCE)
    assert tab.future.cancelled()
    gate.open.set()
    assert_nothing_is_left(node)
    assert [code for code, _ in rows(node)] == [1006]


async def test_cancelled_while_it_listens_leaves_nothing(node: Node, client: MakePeer) -> None:
    tab = client()
    await tab.opened()
    tab.future.cancel()
    await asyncio.wait({tab.future}, timeout=PATIENCE)
    assert tab.future.cancelled()
    assert_nothing_is_left(node)


async def test_a_clean_up_that_fails_still_ends_the_pump(
    node: Node, client: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any) -> Any:
        raise GatewayUnavailable("the state store does not answer")

    tab = client()
    await tab.opened()
    monkeypatch.setattr(node.presence, "release", away)
    await tab.send_input({"type": "websocket.disconnect", "code": 1000})
    await asyncio.wait({tab.future}, timeout=PATIENCE)
    assert tab.future.done()
    tab.future.cancelled() or tab.future.exception()
    assert len(node.hub) == 0
    assert not [task for task in asyncio.all_tasks() if "PumpOutbox" in repr(task)]


async def test_a_peer_that_goes_before_it_is_accepted_leaves_nothing(
    node: Node, client: MakePeer
) -> None:
    tab = client()
    await tab.send_input({"type": "websocket.connect"})
    await tab.send_input({"type": "websocket.disconnect", "code": 1006})
    async with asyncio.timeout(PATIENCE):
        await tab.wait()
    assert_nothing_is_left(node)


async def test_the_second_socket_of_a_client_replaces_the_first(
    node: Node, client: MakePeer
) -> None:
    query = f"user_id=42&client_id={ULID}"
    first, second = client(query), client(query)
    await first.opened()
    await second.opened()
    assert (await first.closed())[0] == 4503
    assert (await second.ask(type="sessions"))["ok"]
    await second.leave()
    assert_nothing_is_left(node)


async def test_frames_after_a_close_are_not_processed(node: Node, client: MakePeer) -> None:
    sends: list[Any] = []
    await node.layer.group_add_sink(worker_group("42"), sends.append)
    tab = client()
    await tab.opened()
    (session,) = node.hub
    session.close(4504, "enough")
    await tab.write(type="send", event="too late")
    await tab.send_to("{")
    assert await tab.closed() == (4504, "enough")
    assert sends == [] and tab.output_queue.empty()


# --- what is told of it


async def test_each_welcome_is_timed_by_kind(client: MakePeer, worker: MakePeer) -> None:
    clients, workers = (Observed(metrics.welcome[kind]) for kind in (Kind.CLIENT, Kind.WORKER))
    tab = client()
    await tab.opened()
    assert (clients.count, workers.count) == (1, 0)
    helper = worker()
    await helper.opened()
    assert (clients.count, workers.count) == (1, 1)
    assert 0 < clients.sum < 5
    for peer in (tab, helper):
        await peer.leave()
    refused = worker(key="wrong")
    await refused.connect()
    await refused.closed()
    assert (clients.count, workers.count) == (1, 1)


async def test_what_an_operator_looks_at_is_noted_both_ways(node: Node, client: MakePeer) -> None:
    tab = client()
    await tab.opened()
    (session,) = node.hub
    assert session.method == "insecure" and session.tap is None
    recordings = node.local_operations.recordings
    recordings.headers(session)
    await tab.ask(type="sessions")
    await tab.write(type="refresh", token="of nobody's business", ref="r")
    assert not (await tab.frame())["ok"]
    noted = [(one.inbound, one.type) for one in recordings.headers(session)]
    assert noted == [(True, "sessions"), (False, "reply"), (False, "reply")]
    assert session.received == 2
    await tab.leave()


async def test_the_round_trip_of_a_ping_is_known(node: Node, client: MakePeer) -> None:
    tab = client()
    await tab.opened()
    (session,) = node.hub
    assert session.connection.round_trip is None
    session.connection.ping_sent(node.hub.timetable.now() - 5)
    await tab.write(type="pong")
    await tab.ask(type="sessions")
    assert session.connection.round_trip == pytest.approx(5, abs=2)
    session.connection.ping_sent(node.hub.timetable.now() - 7)
    assert session.outbox.on_pong is not None and session.outbox.on_pong()
    assert session.connection.round_trip == pytest.approx(7, abs=2)
    node.local_operations.recordings.headers(session)
    assert session.outbox.on_pong()
    (noted,) = node.local_operations.recordings.headers(session)
    assert (noted.type, noted.inbound) == ("pong", True)
    await tab.leave()


async def test_who_is_refused_can_be_looked_up(client: MakePeer) -> None:
    ring = Refusals()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refusals, "note", ring.note)
        query = f"user_id=kim&token=hunter2&client_id={ULID}"
        tab = client(query, **{"authorization": "Bearer wrong", "user-agent": "Firefox"})
        await tab.connect()
        code, reason = await tab.closed()
    ((line, _),), _ = ring.read()
    assert (line.code, line.reason, line.kind) == (code, reason, Kind.CLIENT)
    assert (line.user, line.client_id, line.agent) == ("kim", ULID, "Firefox")
    assert "hunter2" not in repr(line) and "wrong" not in repr(line)
