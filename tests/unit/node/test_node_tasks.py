"""What a node does for tasks from its start to its stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sockets import api
from sockets.node import node as node_module
from sockets.node.node import Node, stop_node
from sockets.types import Task, TaskState
from tests.support.doubles import (
    WELCOME,
    local_session,
    outbox_of,
    running_node,
    seat,
    task,
    task_signals,
    until,
)


@pytest.fixture
def heard() -> Iterator[list[Task]]:
    told: list[Task] = []
    with task_signals(lambda task, **_: told.append(task)):
        yield told


@pytest.fixture
async def node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, heard: list[Task]
) -> AsyncIterator[Node]:
    async with running_node(monkeypatch, tmp_path, task_grace=0.1, task_timeout=0.1) as made:
        yield made


async def running(node: Node, **given: Any) -> Task:
    await node.tasks.take_seat(seat())
    offer = await node.tasks.offer(task(**given), ())
    assert offer is not None
    begun = await node.tasks.accept(offer.task.id, offer.id, "k/w")
    assert begun is not None
    return begun


async def test_a_node_that_runs_finds_what_is_lost(node: Node, heard: list[Task]) -> None:
    one = await running(node, timeout=0.01)
    await until(lambda: heard)
    assert [(lost.id, lost.state) for lost in heard] == [(one.id, TaskState.LOST)]


async def test_messages_for_tasks_and_for_sessions_find_their_way(node: Node) -> None:
    session = local_session("w")
    session.welcome(WELCOME)
    node.hub.add(session)
    await node.bus.tell("here", type="task.stop", session=session.info.id, task="t", reason="lost")
    assert outbox_of(session).frames == [{"type": "task.cancel", "task": "t", "reason": "lost"}]
    await node.bus.tell(
        "here", type="node.close", sessions=[session.info.id], code=4504, reason="r"
    )
    assert outbox_of(session).closed == (4504, "r")


async def test_a_stop_says_that_what_runs_is_lost(node: Node, heard: list[Task]) -> None:
    session = local_session("42")
    opened = await node.sessions.open_client(session, None)
    node.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
    one = await running(node, user="42", timeout=300.0)
    await node.stop()
    assert [(lost.id, lost.state) for lost in heard] == [(one.id, TaskState.LOST)]
    assert outbox_of(session).events == ["task.lost"]


async def test_a_receiver_of_that_loss_may_use_the_api(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wants to tell its user, or look at the task: the gateway is still there for it."""
    outcomes: list[Any] = []

    def tell(task: Task, **_: Any) -> None:
        try:
            outcomes.append(api.notify_user("42", "sorry").offset)
        except Exception as error:
            outcomes.append(error)

    one = await running(node, timeout=300.0)
    with task_signals(tell):
        await stop_node()
    assert outcomes == [1], one
    assert node_module.current_node() is None


async def test_a_second_stop_at_the_same_time_harms_nobody(node: Node, heard: list[Task]) -> None:
    """SIGTERM, and impatience."""
    one = await running(node, timeout=300.0)
    await asyncio.gather(stop_node(), stop_node())
    assert [lost.id for lost in heard] == [one.id]
    assert node_module.current_node() is None
