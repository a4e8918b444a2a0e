"""Tasks assigned by the Python API, from anywhere."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from sockets import api
from sockets.api import carry as calls
from sockets.api import tasks as tasks_api
from sockets.base import audit
from sockets.base.ids import new_id
from sockets.conf import Conf
from sockets.exceptions import (
    GatewayUnavailable,
    InvalidMessage,
    NoWorkerAvailable,
)
from sockets.node.node import Node
from sockets.sessions.lifecycle import worker_name
from sockets.types import PoolLoad, TaskState
from tests.support.doubles import (
    MemoryNode,
    outbox_of,
    until,
)
from tests.unit.api.conftest import accepting_worker, silent_worker


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


async def test_who_ends_a_task_is_in_the_audit_log(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    await accepting_worker(node)
    one, two = [await api.aassign_task("p", "e") for _ in range(2)]
    token = audit.actor.set("staff:ann")
    try:
        with caplog.at_level(logging.INFO, "gateway.audit"):
            for _ in range(2):
                await api.acancel_task(one.id.lower())
                await api.arelease_task(two.id)
    finally:
        audit.actor.reset(token)
    lines = [(line.getMessage(), line.audit) for line in caplog.records if hasattr(line, "audit")]
    assert lines == [
        (event, {"task": task.id, "was": was, "by": "staff:ann"})
        for was in (True, False)
        for event, task in (("task_cancelled", one), ("task_released", two))
    ]


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
    hasty = Conf(task_accept_timeout=0.2, task_assign_timeout=0.2)
    monkeypatch.setattr(tasks_api, "get_conf", lambda: hasty)
    for module in (tasks_api, calls):
        monkeypatch.setattr(module, "CALL_TIMEOUT", 0.2)


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
