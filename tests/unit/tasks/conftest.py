"""Workers for the dispatcher: sockets that answer an offer as they were told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sockets.delivery.hub import LocalSession
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from sockets.sessions.lifecycle import worker_name
from sockets.types import Task
from tests.support.doubles import (
    WELCOME,
    RecordingOutbox,
    StillNode,
    outbox_of,
    still_node,
    task_signals,
)


class AnsweringOutbox(RecordingOutbox):
    """Gives each offer to `answer`, as a worker does that reads it, and then starts what it
    returned. The turns of the loop between are those of a socket."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__()
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    def write(self, frame: Frame) -> Write:
        result = super().write(frame)
        if frame is WELCOME:
            return result
        offered = self.frames[-1]
        if result is Write.OK and offered["type"] == "task":
            task = asyncio.ensure_future(self._answer_later(offered))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return result

    async def _answer_later(self, offered: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        await self._answer(offered)


class Crew:
    """Workers of a house, by name; `asked`: whom the dispatcher asked, in order."""

    def __init__(self, house: StillNode) -> None:
        self.house = house
        self.asked: list[str] = []
        self.sessions: dict[str, LocalSession] = {}
        self.answers: dict[str, Any] = {}

    async def hire(self, name: str, conduct: str = "accepts", **given: Any) -> LocalSession:
        """`conduct`: accepts, rejects, is silent, leaves, accepts late, is cancelled."""

        async def answer(offered: dict[str, Any]) -> None:
            self.asked.append(name)
            task, offer = offered["task"], offered["offer"]
            dispatcher = self.house.dispatcher
            match conduct:
                case "accepts":
                    self.answers[name] = await dispatcher.accept(f"w/{name}", task, offer)
                case "rejects":
                    self.answers[name] = await dispatcher.reject(f"w/{name}", task, offer)
                case "leaves":
                    await self.house.sessions.close(session, 1006, "")
                case "is cancelled":
                    self.answers[name] = await dispatcher.cancel(task)

        given.setdefault("pools", ("p",))
        pools, capacity = given.pop("pools"), given.pop("capacity", 1)
        session = await self.house.open_worker(
            *pools, capacity=capacity, client_id=name, outbox=AnsweringOutbox(answer), **given
        )
        assert worker_name(session.info) == f"w/{name}"
        self.sessions[name] = session
        return session

    def told(self, name: str) -> list[dict[str, Any]]:
        return outbox_of(self.sessions[name]).frames

    def offers(self, name: str) -> list[dict[str, Any]]:
        return [frame for frame in self.told(name) if frame["type"] == "task"]


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[Task]]:
    """Every end of a task that Django code hears of."""
    told: list[Task] = []

    def hear(task: Task, **_: Any) -> None:
        told.append(task)

    with task_signals(hear):
        yield told


async def house(**given: Any) -> StillNode:
    """A node for tasks; nobody waits long in it."""
    return await still_node(
        **{"task_accept_timeout": 0.05, "task_assign_timeout": 5.0, "max_message_size": 4_000}
        | given
    )
