"""The node: one start whoever asks, an end that is orderly, tasks that are not lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from channels.layers import channel_layers
from django.conf import LazySettings

from sockets.conf import WrongSettings
from sockets.delivery.hub import LocalSession
from sockets.exceptions import AlreadyRunning, GatewayError
from sockets.layers.groups import node_group
from sockets.layers.memory import MemoryChannelLayer
from sockets.node import current
from sockets.node import node as node_module
from sockets.node.node import Node, current_node, ensure_node, stop_node
from sockets.node.registration import Registration
from sockets.sessions.lifecycle import at_once
from sockets.types import Kind, NodeInfo
from tests.support.doubles import (
    WELCOME,
    RecordingRecorder,
    TricklingOutbox,
    local_session,
    outbox_of,
    running_node,
    until_told,
    without_database,
)
from tests.support.patience import PATIENCE


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    """One whose renewals show nobody what it did not tell by itself."""
    patience = {"lease_renew": 10 * PATIENCE, "lease_ttl": 30 * PATIENCE}
    async with running_node(monkeypatch, tmp_path, drain_seconds=0.2, **patience) as made:
        yield made


@pytest.fixture
async def nothing_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: LazySettings
) -> AsyncIterator[None]:
    """This process before its first connection, with a folder of its own."""
    settings.DEBUG = True
    settings.GATEWAY = {"data_dir": tmp_path, "node_name": "here", "auth": ["insecure"]}
    without_database(monkeypatch)
    monkeypatch.setattr(current, "_node", None)
    monkeypatch.setattr(node_module, "_starting", None)
    monkeypatch.setattr(channel_layers, "backends", {})
    yield
    await stop_node()


# --- start


@pytest.mark.usefixtures("nothing_runs")
async def test_callers_at_the_same_time_share_one_start() -> None:
    assert current_node() is None
    nodes = await asyncio.gather(*[ensure_node(client_port=1234) for _ in range(5)])
    assert len({id(node) for node in nodes}) == 1
    assert current_node() is nodes[0] is await ensure_node()
    assert nodes[0].addresses.client_socket_url == "ws://localhost:1234"
    assert nodes[0].addresses.worker_socket_url == "ws://localhost:4001"
    assert nodes[0].ready and nodes[0].recorder.started == 1  # type: ignore[attr-defined]


@pytest.mark.usefixtures("nothing_runs")
async def test_a_node_does_not_start_where_the_sessions_to_be_read_have_no_table(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rule 9: what it had taken by then is free again."""
    tables = {"auth": ("session",), "sessions": "tables"}
    settings.GATEWAY = {"data_dir": tmp_path, "node_name": "here"} | tables
    monkeypatch.setattr("sockets.auth.django_sessions.missing_tables", lambda _: ["auth_user"])
    for _ in range(2):
        with pytest.raises(WrongSettings, match=r"the database has no auth_user .* use AUTH=jwt"):
            await ensure_node()
    monkeypatch.setattr("sockets.auth.django_sessions.missing_tables", lambda _: [])
    assert (await ensure_node()).ready


@pytest.mark.usefixtures("nothing_runs")
async def test_a_node_that_is_ended_while_it_starts_lets_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = asyncio.Event()

    async def waits(self: Node) -> None:
        started.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as frozen:
        frozen.setattr(Node, "_check", waits)
        starting = asyncio.ensure_future(ensure_node(client_port=1234))
        await started.wait()
        await stop_node()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(PATIENCE):
                await starting
    assert current_node() is None
    assert (await ensure_node()).ready, "its place is free"


@pytest.mark.usefixtures("nothing_runs")
async def test_a_caller_that_goes_does_not_take_the_start_with_it() -> None:
    calls = [asyncio.ensure_future(ensure_node()) for _ in range(2)]
    await asyncio.sleep(0)
    calls[0].cancel()
    assert (await calls[1]).ready
    assert calls[0].cancelled()


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("owner", "name"),
    [(RecordingRecorder, "start"), (MemoryChannelLayer, "group_add_sink")],
)
async def test_a_start_that_failed_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """Plain daphne starts the node with each first connection until one succeeds.

    What the failed one took (the lock of memory mode!) must not stand in the next one's way.
    """

    def fail(self: object, *_: Any, **__: Any) -> None:
        raise GatewayError("the database has no tables")

    with monkeypatch.context() as broken:
        broken.setattr(owner, name, fail)
        for _ in range(2):
            with pytest.raises(GatewayError, match="the database has no tables"):
                await ensure_node()
    assert (await ensure_node()).ready


@pytest.mark.usefixtures("nothing_runs")
async def test_rows_of_a_living_node_of_this_name_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The recorder closes what it finds open under its name: not before the name is ours."""
    started: list[str] = []

    async def begin(_: Registration) -> None:
        raise AlreadyRunning("elsewhere")

    monkeypatch.setattr(RecordingRecorder, "start", lambda _, **__: started.append("recorder"))
    monkeypatch.setattr(Registration, "begin", begin)
    with pytest.raises(AlreadyRunning):
        await ensure_node()
    assert started == []


@pytest.mark.usefixtures("nothing_runs")
async def test_it_can_be_stopped_and_started_again() -> None:
    first = await ensure_node()
    await stop_node()
    await stop_node()
    assert current_node() is None and not first.ready
    second = await ensure_node()
    assert second is not first and second.ready


async def test_the_others_see_at_once_that_it_is_ready(node: Node) -> None:
    await until_told(_state_of(node, "ready"))


def _state_of(node: Node, state: str) -> Callable[[], Awaitable[object]]:
    async def ask() -> bool:
        return [info.state for info in await node.nodes.all()] == [state]

    return ask


async def test_a_node_hears_what_is_asked_of_it(node: Node) -> None:
    session = local_session()
    node.hub.add(session)
    await node.layer.group_send(
        node_group("here"),
        {"type": "node.close", "sessions": [session.info.id], "code": 4504, "reason": "r"},
    )
    assert outbox_of(session).closed == (4504, "r")


# --- the end


async def test_a_drain_tells_everybody_when_to_come_back(node: Node) -> None:
    sessions = [local_session(f"u{n}") for n in range(3)]
    sessions.append(local_session("w", kind=Kind.WORKER))
    for session in sessions:
        session.welcome(WELCOME)
        node.hub.add(session)
    await node.drain()
    told = [outbox_of(session).frames for session in sessions]
    assert told == [
        [{"type": "closing", "code": 4000, "reconnect_after": wait}]
        for wait in (0.05, 0.1, 0.15, 0.2)
    ]
    assert {outbox_of(session).closed for session in sessions} == {(4000, "this node is draining")}
    assert not node.ready and not node.sessions.accepting


async def test_clients_outlive_their_moment_where_another_node_can_welcome_them(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def both() -> list[NodeInfo]:
        return [NodeInfo(f"{name}:1", name, 1, "", "", 0.0, "") for name in ("here", "other")]

    monkeypatch.setattr(node.nodes, "all", both)
    tab, worker = local_session("42"), local_session("w", kind=Kind.WORKER)
    closed: list[LocalSession] = []
    for session in (tab, worker):
        session.welcome(WELCOME)
        node.hub.add(session)
        monkeypatch.setattr(session.outbox, "close", lambda *_, of=session: closed.append(of))
    await node.drain()
    after = [outbox_of(session).frames[-1]["reconnect_after"] for session in (tab, worker)]
    assert after == [0.1, 0.2], "the tab should be back first"
    assert closed == [worker, tab]


async def test_a_drain_says_nothing_before_the_welcome(node: Node) -> None:
    """protocol.md: `welcome` is the first frame. Who still opens sees the close code only."""
    opening = local_session()
    node.hub.add(opening)
    await node.drain()
    assert outbox_of(opening).frames == []
    assert outbox_of(opening).closed == (4000, "this node is draining")


async def test_a_drain_waits_for_no_full_outbox(node: Node) -> None:
    session = local_session(outbox=TricklingOutbox(0))
    session.welcome(WELCOME)
    node.hub.add(session)
    await node.drain()
    assert outbox_of(session).closed == (4000, "this node is draining")


async def test_a_stop_can_be_repeated_and_frees_what_it_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with running_node(monkeypatch, tmp_path) as node:
        await node.stop()
        await node.stop()
        assert node_group("here") not in node.layer._fanout
        async with running_node(monkeypatch, tmp_path) as again:
            assert again.ready, "the lock is free"


async def test_rows_that_could_not_be_written_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(RecordingRecorder, "stop", lambda self, timeout: False)
    with caplog.at_level(logging.ERROR):
        async with running_node(monkeypatch, tmp_path):
            pass
    assert "did not take all session rows" in caplog.text


async def test_a_store_that_hangs_is_told_at_both_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A time-out has no text of its own."""

    async def hang(self: object) -> None:
        raise TimeoutError

    with monkeypatch.context() as away:
        away.setattr(Registration, "begin", hang)
        away.setattr(Registration, "end", hang)
        away.setattr(MemoryChannelLayer, "group_discard_sink", lambda *_: hang(None))
        async with running_node(monkeypatch, tmp_path):
            pass
    assert "not registered yet: Redis does not answer" in caplog.text
    assert "the other nodes were not told of the end: too slow" in caplog.text
    assert "the state store was not left in order: too slow" in caplog.text


async def test_a_renewal_says_that_the_node_lives(node: Node) -> None:
    seen = node.recorder.seen  # type: ignore[attr-defined]
    before = len(seen)
    await node._renew(at_once)
    assert len(seen) == before + 1
