"""The Python API from every place that Django code runs in: loops, threads, no gateway at all."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.utils import timezone

from sockets import api
from sockets.api import carry as calls
from sockets.api import tasks as tasks_api
from sockets.base.ids import new_id
from sockets.conf import Conf
from sockets.delivery.hub import LocalSession
from sockets.exceptions import (
    Blocked,
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidMessage,
    NoWorkerAvailable,
    Revoked,
)
from sockets.node import current
from sockets.node.node import Node
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from sockets.sessions.lifecycle import worker_name
from sockets.types import Disconnected, Kind, Notification, PoolLoad, SessionInfo, TaskState
from tests.support.doubles import (
    WELCOME,
    MemoryNode,
    RecordingOutbox,
    local_session,
    outbox_of,
    running_node,
    task_signals,
    until,
    until_told,
)

LOCAL = {"client_socket_url", "worker_socket_url", "user_group", "notify_user_on_commit"}
"""Ask nobody, or only later: they have no twin."""

TWINS = sorted(name for name in api.__all__ if f"a{name}" in api.__all__)

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "notify_user": ("42", "e"),
    "notify_users": (["42"], "e"),
    "notify_batch": ([Notification("42", "e"), Notification("7", "e", durable=False)],),
    "read_stream": ("42",),
    "broadcast": ("e",),
    "is_online": ("42",),
    "sessions_of": ("42",),
    "stream_position": ("42",),
    "delivery_of": ("42", 1),
    "disconnect_user": ("42",),
    "presence_of": ("42",),
    "presence_of_users": (["42", "7"],),
    "wait_until_online": ("42", 1.0),
    "block_user": ("42",),
    "unblock_user": ("42",),
    "revoke": ("42",),
    "disconnect_session": ("01ARZ3NDEKTSV4RRFFQ69G5FAV",),
    "disconnect_sessions": (["01ARZ3NDEKTSV4RRFFQ69G5FAV"],),
    "nodes": (),
    "live_sessions": (),
    "session_page": (),
    "drain_node": ("none",),
    "assign_task": ("p", "e"),
    "cancel_task": ("01ARZ3NDEKTSV4RRFFQ69G5FAV",),
    "task": ("01ARZ3NDEKTSV4RRFFQ69G5FAV",),
    "worker_pools": (),
}


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[MemoryNode]:
    with task_signals():
        async with running_node(monkeypatch, tmp_path, close_timeout=0.05) as made:
            yield made


@pytest.fixture
def no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "_node", None)


async def client(node: Node, user: str = "42") -> Any:
    session = local_session(user)
    opened = await node.sessions.open_client(session, None)
    node.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
    return session


class AcceptingOutbox(RecordingOutbox):
    """Of a worker that accepts whatever it is offered."""

    def __init__(self, accept: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__()
        self._accept = accept
        self._tasks: set[asyncio.Future[Any]] = set()

    def write(self, frame: Frame) -> Write:
        result = super().write(frame)
        if frame is WELCOME:
            return result
        offered = self.frames[-1]
        if offered["type"] == "task":
            self._tasks.add(asyncio.ensure_future(self._accept(offered)))
        return result


async def accepting_worker(node: Node, capacity: int = 100) -> LocalSession:
    """A worker of pool p. It accepts whatever it is offered."""

    async def accept(offered: dict[str, Any]) -> None:
        name = worker_name(session.info)
        assert await node.dispatcher.accept(name, offered["task"], offered["offer"])

    session = local_session("w", kind=Kind.WORKER, outbox=AcceptingOutbox(accept))
    await node.sessions.open_worker(session, ("p",), capacity)
    session.welcome(WELCOME)
    return session


async def silent_worker(node: Node) -> LocalSession:
    session = local_session("w", kind=Kind.WORKER)
    await node.sessions.open_worker(session, ("p",), 100)
    session.welcome(WELCOME)
    return session


# --- the face


def test_every_public_name_has_a_twin_and_a_docstring() -> None:
    names = set(api.__all__)
    asynchronous = {f"a{name}" for name in TWINS}
    assert names == set(TWINS) | asynchronous | LOCAL
    assert set(ARGUMENTS) == set(TWINS)
    for name in names:
        assert inspect.getdoc(getattr(api, name)), name


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_has_the_same_signature_and_its_own_name(name: str) -> None:
    sync, twin = getattr(api, name), getattr(api, f"a{name}")
    assert inspect.signature(sync) == inspect.signature(twin)
    assert sync.__name__ == sync.__qualname__ == name
    assert inspect.iscoroutinefunction(twin) and not inspect.iscoroutinefunction(sync)


# --- where the sync form may be called


@pytest.mark.parametrize("name", TWINS)
async def test_on_the_thread_of_a_loop_it_names_the_twin(node: Node, name: str) -> None:
    with pytest.raises(SynchronousOnlyOperation) as caught:
        getattr(api, name)(*ARGUMENTS[name])
    assert f"{name}() blocks" in str(caught.value) and f"await a{name}(" in str(caught.value)


@pytest.mark.parametrize("name", TWINS)
async def test_in_a_thread_it_does_what_the_twin_does(node: Node, name: str) -> None:
    await client(node)
    await accepting_worker(node)
    asynchronous = await getattr(api, f"a{name}")(*ARGUMENTS[name])
    synchronous = await asyncio.to_thread(getattr(api, name), *ARGUMENTS[name])
    if name in ("is_online", "sessions_of", "stream_position"):
        assert synchronous == asynchronous
    assert type(synchronous) is type(asynchronous)


async def test_asgirefs_bridges_work_both_ways(node: Node) -> None:
    one = await client(node)
    await sync_to_async(api.notify_user)("42", "from a view")

    def view() -> None:
        async_to_sync(api.anotify_user)("42", "from async_to_sync")

    await asyncio.to_thread(view)
    assert outbox_of(one).events == ["from a view", "from async_to_sync"]


async def test_threads_at_once_all_arrive(node: Node) -> None:
    one = await client(node)
    calls = [asyncio.to_thread(api.notify_user, "42", f"e{n}") for n in range(20)]
    receipts = await asyncio.gather(*calls)
    assert sorted(receipt.offset or 0 for receipt in receipts) == list(range(1, 21))
    assert [frame["offset"] for frame in outbox_of(one).frames] == list(range(1, 21))


async def test_the_async_form_on_another_loop(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await client(node)
    threads: list[threading.Thread] = []
    append = node.streams.append

    async def noting(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return await append(*args)

    monkeypatch.setattr(node.streams, "append", noting)

    def elsewhere() -> Any:
        return asyncio.run(api.anotify_user("42", "e", {"n": 1}))

    receipt = await asyncio.to_thread(elsewhere)
    assert receipt.offset == 1 and outbox_of(one).events == ["e"]
    assert threads == [threading.current_thread()], "the node's own loop did it"


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_the_caller_did_wrong_comes_back_to_it(node: Node, elsewhere: bool) -> None:
    def call() -> None:
        if elsewhere:
            asyncio.run(api.anotify_user("", "e"))
        else:
            api.notify_user("", "e")

    with pytest.raises(InvalidMessage, match="user id"):
        await asyncio.to_thread(call)


# --- no gateway here


@pytest.mark.usefixtures("no_node")
def test_without_a_gateway_the_remedy_is_told_and_nothing_is_left() -> None:
    with warnings.catch_warnings(record=True) as unawaited:
        warnings.simplefilter("always")
        for name in TWINS:
            sync, twin = getattr(api, name), getattr(api, f"a{name}")
            with pytest.raises(GatewayUnreachable, match="REDIS_URL"):
                sync(*ARGUMENTS[name])
            with pytest.raises(GatewayUnreachable, match="REDIS_URL"):
                asyncio.run(twin(*ARGUMENTS[name]))
        gc.collect()
    assert [str(one.message) for one in unawaited] == []


@pytest.mark.usefixtures("no_node")
@pytest.mark.parametrize("call", [api.client_socket_url, api.worker_socket_url])
def test_without_a_gateway_there_is_no_address(call: Callable[[], str]) -> None:
    with pytest.raises(GatewayUnreachable):
        call()


def test_a_gateway_that_does_not_answer_leaves_it_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its loop is busy (here: not running). What was asked may yet happen, so the id is told."""
    monkeypatch.setattr(calls, "CALL_TIMEOUT", 0.05)
    loop = asyncio.new_event_loop()
    node = running_node(monkeypatch, tmp_path)
    loop.run_until_complete(node.__aenter__())
    try:
        with pytest.raises(GatewayUnavailable) as caught:
            api.notify_user("42", "e")
        assert caught.value.outcome == "unknown"
        assert caught.value.id, "protocol.md: repeating with that id as idempotency_key is safe"
    finally:
        loop.run_until_complete(node.__aexit__(None, None, None))
        loop.close()


async def test_the_async_form_tells_the_id_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    append, late = node.streams.append, asyncio.Event()
    written: list[str] = []

    async def slow(user: str, entry: Any) -> Any:
        written.append(entry.id)
        await late.wait()
        return await append(user, entry)

    monkeypatch.setattr(node.streams, "append", slow)
    monkeypatch.setattr(calls, "CALL_TIMEOUT", 0.05)
    with pytest.raises(GatewayUnavailable) as caught:
        await asyncio.to_thread(asyncio.run, api.anotify_user("42", "e"))
    late.set()
    assert (caught.value.outcome, [caught.value.id]) == ("unknown", written)


async def test_many_users_of_an_unknown_outcome_can_be_repeated(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id that the error names must be the one that was written, for every user it reached."""
    append = node.streams.append
    late = asyncio.Event()

    async def slow(user: str, entry: Any) -> Any:
        if user == "late":
            await late.wait()
        return await append(user, entry)

    monkeypatch.setattr(node.streams, "append", slow)
    monkeypatch.setattr(calls, "CALL_TIMEOUT", 0.05)
    with pytest.raises(GatewayUnavailable) as caught:
        await asyncio.to_thread(api.notify_users, ["early", "late"], "e")
    late.set()
    again = await api.anotify_users(["early", "late"], "e", idempotency_key=caught.value.id)
    assert [receipt.offset for receipt in again] == [1, 1]
    assert again[0].duplicate


# --- single functions


async def test_a_durable_broadcast_is_a_mistake(node: Node) -> None:
    with pytest.raises(ValueError, match="use notify_users"):
        await api.abroadcast("e", durable=True)
    with pytest.raises(ValueError, match="use notify_users"):
        await asyncio.to_thread(api.broadcast, "e", durable=True)
    assert (await api.abroadcast("e", durable=False)).offset is None


async def test_presence_and_position(node: Node) -> None:
    assert not await api.ais_online("42")
    session = await client(node)
    assert await api.ais_online("42")
    assert await api.asessions_of("42") == [session.info]
    assert isinstance((await api.asessions_of("42"))[0], SessionInfo)
    start = await api.astream_position("42")
    receipt = await api.anotify_user("42", "e")
    assert (receipt.epoch, receipt.offset) == (start.epoch, start.offset + 1)


async def test_what_is_no_user_id_is_told_whatever_is_asked(node: Node) -> None:
    """An id that is none would be answered "offline" for ever."""
    users: tuple[Any, ...] = ("", "x" * 1_025, True)
    for call in (api.ais_online, api.asessions_of, api.astream_position, api.adisconnect_user):
        for user in users:
            with pytest.raises(InvalidMessage):
                await call(user)


async def test_disconnecting(node: Node) -> None:
    one, two, three = [await client(node) for _ in range(3)]
    unconfirmed = Disconnected(0, 1)  # these sockets close, and are never gone
    assert await api.adisconnect_session(one.info.id, reason="r") == unconfirmed
    assert await api.adisconnect_session(new_id()) == Disconnected(0)
    assert await api.adisconnect_user("42", client=two.info.client_id) == unconfirmed
    assert (one.close_code, two.close_code, three.close_code) == (4504, 4504, None)
    assert outbox_of(two).closed == (4504, "disconnected by the application")
    assert await api.adisconnect_user("42", code=4501, reason="r") == Disconnected(0, 2)
    assert outbox_of(three).closed == (4501, "r")


async def test_an_id_that_is_none_closes_nobody(node: Node) -> None:
    """A misspelt id to spare would close everybody."""
    one = await client(node)
    for wrong in ("", "x", one.info.client_id[1:], "\ud800", 7):
        options: list[dict[str, Any]] = [{"client": wrong}, {"session": wrong}, {"keep": [wrong]}]
        for option in options:
            with pytest.raises(InvalidMessage, match="ULID"):
                await api.adisconnect_user("42", **option)
    assert one.close_code is None
    assert await api.adisconnect_user("42", keep=[one.info.client_id.lower()]) == Disconnected(0)


async def test_a_code_that_no_close_frame_may_carry_is_told(node: Node) -> None:
    """RFC 6455 section 7.4: a peer fails the connection over it (1002), or the frame cannot be."""
    one = await client(node)
    for code in (0, 12, 999, 1005, 1006, 1015, 2999, 5000, 70_000):
        with pytest.raises(ValueError, match="code"):
            await api.adisconnect_user("42", code=code)
    assert one.close_code is None


async def test_the_addresses(node: Node) -> None:
    assert api.client_socket_url() == "ws://localhost:4000"
    assert api.worker_socket_url() == "ws://localhost:4001"


# --- tasks


@pytest.mark.parametrize("how", ["await", "a thread", "another loop", "a bridge"])
async def test_a_task_is_assigned_from_anywhere(node: Node, how: str) -> None:
    worker = await accepting_worker(node)
    given: dict[str, Any] = {"user_id": "42", "progress_to_user": False, "timeout": 9.0}
    args = ("p", "e", {"n": 1})
    match how:
        case "await":
            task = await api.aassign_task(*args, **given)
        case "a thread":
            task = await asyncio.to_thread(api.assign_task, *args, **given)
        case "another loop":
            task = await asyncio.to_thread(lambda: asyncio.run(api.aassign_task(*args, **given)))
        case _:
            task = await sync_to_async(api.assign_task)(*args, **given)
    assert (task.state, task.worker) == (TaskState.RUNNING, worker_name(worker.info))
    assert (task.user, task.progress_to_user, task.timeout) == ("42", False, 9.0)
    (frame,) = outbox_of(worker).frames
    assert (frame["task"], frame["event"], frame["data"]) == (task.id, "e", {"n": 1})
    assert await api.atask(task.id) == task == await asyncio.to_thread(api.task, task.id)
    assert await api.aworker_pools() == [PoolLoad("p", 1, 100, 1)]
    assert await asyncio.to_thread(api.cancel_task, task.id) is True
    assert await api.acancel_task(task.id) is False
    found = await asyncio.to_thread(api.task, task.id)
    assert found is not None and found.state is TaskState.CANCELLED


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_nobody_to_take_it_is_told_to_the_caller(node: Node, elsewhere: bool) -> None:
    call: Any = api.aassign_task("p", "e")
    if elsewhere:
        call.close()
        call = asyncio.to_thread(api.assign_task, "p", "e")
    with pytest.raises(NoWorkerAvailable, match="no worker of pool 'p' is connected"):
        await call
    with pytest.raises(InvalidMessage, match="pool"):
        await asyncio.to_thread(api.assign_task, "a pool", "e")


@pytest.mark.parametrize("id", ["", "7", "x" * 26, 5, "../../etc/passwd"])
async def test_a_task_id_is_a_ulid(node: Node, id: Any) -> None:
    with pytest.raises(InvalidMessage, match="ULID"):
        await api.aassign_task("p", "e", task_id=id)


async def test_a_task_that_the_caller_named_is_that_task(node: Node) -> None:
    await accepting_worker(node)
    id = new_id()
    one = await api.aassign_task("p", "e", task_id=id.lower())
    two = await asyncio.to_thread(api.assign_task, "p", "e", task_id=id)
    assert one.id == id and two == one


async def test_what_never_was_is_no_task(node: Node) -> None:
    assert await api.atask("unknown") is None
    assert await api.acancel_task("unknown") is False
    assert await asyncio.to_thread(api.worker_pools) == []


async def test_threads_at_once_all_get_a_worker(node: Node) -> None:
    await accepting_worker(node, capacity=12)
    calls = [asyncio.to_thread(api.assign_task, "p", "e", n) for n in range(12)]
    tasks = await asyncio.gather(*calls)
    assert len({task.id for task in tasks}) == 12
    assert await api.aworker_pools() == [PoolLoad("p", 1, 12, 12)]


def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a call that carries a task to the gateway: hardly any."""
    hasty = Conf(task_accept_timeout=0.02, task_assign_timeout=0.02)
    monkeypatch.setattr(tasks_api, "get_conf", lambda: hasty)
    for module in (tasks_api, calls):
        monkeypatch.setattr(module, "CALL_TIMEOUT", 0.02)


@pytest.mark.parametrize("elsewhere", ["thread", "loop"])
async def test_a_caller_that_gave_up_leaves_nothing_running(
    node: MemoryNode, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    patience(monkeypatch)
    worker = await silent_worker(node)

    def call() -> None:
        if elsewhere == "thread":
            api.assign_task("p", "e")
        else:
            asyncio.run(api.aassign_task("p", "e"))

    with pytest.raises(GatewayUnavailable) as caught:
        await asyncio.to_thread(call)
    assert caught.value.outcome == "unknown"
    (frame, *_) = outbox_of(worker).frames
    if elsewhere == "thread":
        assert caught.value.id == frame["task"], "it can be asked for"
    await until(lambda: frame["task"] not in node.tasks._live)
    task = await api.atask(frame["task"])
    assert task is not None and task.state is TaskState.CANCELLED
    name = worker_name(worker.info)
    assert await node.dispatcher.accept(name, frame["task"], frame["offer"]) is False


@pytest.mark.parametrize("elsewhere", ["thread", "loop"])
async def test_a_walk_that_takes_long_is_waited_for(
    node: Node, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    """Longer than any other call: each worker may take its time to accept."""
    conf = Conf(task_accept_timeout=5.0, task_assign_timeout=15.0)
    monkeypatch.setattr(tasks_api, "get_conf", lambda: conf)
    for module in (tasks_api, calls):
        monkeypatch.setattr(module, "CALL_TIMEOUT", 0.02)
    worker = await silent_worker(node)
    call = partial(api.assign_task, "p", "e")
    if elsewhere == "loop":
        call = partial(lambda: asyncio.run(api.aassign_task("p", "e")))
    calling = asyncio.create_task(asyncio.to_thread(call))
    await until(lambda: outbox_of(worker).frames)
    with pytest.raises(GatewayUnavailable):  # meanwhile another call's patience ends
        await asyncio.to_thread(_never, node, monkeypatch)
    (frame,) = outbox_of(worker).frames
    assert await node.dispatcher.accept(worker_name(worker.info), frame["task"], frame["offer"])
    assert (await calling).state is TaskState.RUNNING
    assert tasks_api._assign_patience() == 20.02


def _never(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(node.dispatcher, "get", never)
    api.task("t")


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), 1e10, "5", True, None])
async def test_a_timeout_that_is_none(node: Node, timeout: Any) -> None:
    with pytest.raises(InvalidMessage, match="number of seconds"):
        await api.await_until_online("42", timeout)


async def test_waiting_for_somebody(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not await api.await_until_online("42", 0)
    asked, is_online = list[str](), node.presence.is_online

    async def noted(user: str) -> bool:
        asked.append(user)
        return await is_online(user)

    monkeypatch.setattr(node.presence, "is_online", noted)
    waiting = asyncio.ensure_future(api.await_until_online("42", 5))
    await until(lambda: asked)
    await client(node)
    assert await waiting


async def test_waiting_ends_though_a_cancellation_was_lost(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in libraries that have their answer just when they are cancelled."""

    async def is_online(_: str) -> bool:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
        return False

    monkeypatch.setattr(node.presence, "is_online", is_online)
    async with asyncio.timeout(10):
        assert not await api.await_until_online("42", 0.02)


async def test_who_is_blocked_stays_out_until_the_time_has_come(node: Node) -> None:
    await client(node)
    done = await api.ablock_user("42", time.time() + 0.2, reason="too many")
    assert done.closed + done.unconfirmed == 1
    with pytest.raises(Blocked):
        await client(node)

    async def is_let_in() -> bool:
        with suppress(Blocked):
            return bool(await client(node))
        return False

    await until_told(is_let_in)
    assert not await api.aunblock_user("42")
    await api.ablock_user("42", timezone.now() + timedelta(hours=1))
    assert await api.aunblock_user("42")


@pytest.mark.parametrize(
    "until", [datetime(2030, 1, 1), float("inf"), float("nan"), "x", True, 1e12, 10**400]
)
async def test_an_end_of_a_block_that_is_none(node: Node, until: Any) -> None:
    with pytest.raises(InvalidMessage, match="until is"):
        await api.ablock_user("42", until)


async def test_revoking(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    one, two = await client(node), await client(node, "7")
    assert await api.arevoke("42", sid="of nobody") == Disconnected(0)
    assert await api.arevoke("42") == Disconnected(0, 1)
    assert (one.close_code, two.close_code) == (4508, None)
    with pytest.raises(Revoked):
        await client(node)
    line = caplog.records[1]
    assert line.getMessage() == "revoked"
    assert line.audit == {  # type: ignore[attr-defined]
        "user": "42",
        "what": "user",
        "before": None,
        "closed": 0,
        "unconfirmed": 1,
    }


@pytest.mark.parametrize(
    "given",
    [
        {"sid": ""},
        {"jti": "x" * 256},
        {"jti": 7},
        {"sid": "\ud800"},
        {"sid": "a", "jti": "b"},
        {"before": time.time() + 3_600},
        {"before": datetime(2026, 1, 1)},
        {"before": "yesterday"},
        {"before": 1e13},
    ],
)
async def test_a_revocation_that_means_nothing(node: Node, given: dict[str, Any]) -> None:
    one = await client(node)
    with pytest.raises(InvalidMessage):
        await api.arevoke("42", **given)
    assert one.close_code is None


async def test_too_many_users_at_once_and_one_that_is_a_list(node: Node) -> None:
    with pytest.raises(InvalidMessage, match="at most 10000"):
        await api.apresence_of_users(map(str, range(10_001)))
    with pytest.raises(InvalidMessage, match="list of ids"):
        await api.adisconnect_user("42", keep="01ARZ3NDEKTSV4RRFFQ69G5FAV")


@pytest.mark.parametrize(
    "given",
    [
        {"client": ""},
        {"session": ""},
        {"client": 7},
        {"session": b"s"},
        {"keep": None},
        {"keep": 7},
        {"keep": [None]},
        {"keep": ["\ud800"]},
        {"code": True},
        {"code": "4504"},
        {"reason": None},
        {"reason": "\ud800"},
    ],
)
async def test_a_choice_that_is_none_closes_nobody(node: Node, given: dict[str, Any]) -> None:
    """Above all no empty one: in Redis it would mean all of the user's sessions."""
    one = await client(node)
    with pytest.raises(InvalidMessage):
        await api.adisconnect_user("42", **given)
    assert one.close_code is None


async def test_one_id_is_no_list_of_ids(node: Node) -> None:
    """Its letters would be taken for ids."""
    for call in (
        lambda: api.apresence_of_users("42"),
        lambda: api.anotify_users("42", "e"),
        lambda: api.adisconnect_sessions("42"),
    ):
        with pytest.raises(InvalidMessage, match="list of"):
            await call()


@pytest.mark.parametrize("limit", [0, -1, True, "5", None, 10_001])
async def test_a_limit_that_is_none(node: Node, limit: Any) -> None:
    with pytest.raises(InvalidMessage, match="limit"):
        await api.alive_sessions(limit=limit)


@pytest.mark.parametrize("cursor", ["", "!", "e30x", "W10", 7, "eyJub2RlIjo3fQ", "가"])
async def test_a_cursor_that_is_none(node: Node, cursor: Any) -> None:
    with pytest.raises(InvalidMessage, match="cursor"):
        await api.asession_page(cursor=cursor)


async def test_all_sessions_a_page_at_a_time(node: Node) -> None:
    made = {(await client(node, f"u{n % 20}")).info.id for n in range(30)}
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor:
        page = await api.asession_page(cursor=cursor, limit=6)
        seen += [info.id for info in page.sessions]
        cursor, pages = page.next, pages + 1
    assert sorted(seen) == sorted(made)
    assert pages == 4
    assert (await api.asession_page(node="elsewhere")).sessions == []


async def test_a_session_is_named_in_any_case(node: Node) -> None:
    one = await client(node)
    assert await api.adisconnect_session(one.info.id.lower()) == Disconnected(0, 1)
    with pytest.raises(InvalidMessage, match="NODE_NAME"):
        await api.adrain_node(7)  # type: ignore[arg-type]


async def test_the_nodes_and_their_sessions(node: Node) -> None:
    session = await client(node)
    (found,) = await api.anodes()
    assert (found.name, found.id) == ("here", node.registration.life)
    assert [info.id for info in await api.alive_sessions()] == [session.info.id]
    assert await api.alive_sessions(node="elsewhere") == []
    answer = await api.apresence_of_users(["42", "7"])
    assert answer.users["42"] == await api.apresence_of("42")
    assert not answer.users["7"].online
