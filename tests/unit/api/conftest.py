"""A node in this process, and the clients and workers that calls of the Python API are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sockets import api
from sockets.delivery.hub import LocalSession
from sockets.node import current
from sockets.node.node import Node
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from sockets.sessions.lifecycle import worker_name
from sockets.types import Kind, Notification
from tests.support.doubles import (
    WELCOME,
    MemoryNode,
    RecordingOutbox,
    local_session,
    running_node,
    task_signals,
)

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
    "explain_delivery": ("42", 1),
    "ledger_of": ("42",),
    "forget_user": ("7",),
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
    "overview": (),
    "find_live_sessions": (),
    "session_report": ("01ARZ3NDEKTSV4RRFFQ69G5FAV",),
    "refusals": (),
    "workers": (),
    "release_task": ("01ARZ3NDEKTSV4RRFFQ69G5FAV",),
    "user_report": ("42",),
    "trace_user": ("42",),
    "read_trace": ("42",),
    "end_trace": ("42",),
}


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[MemoryNode]:
    monkeypatch.setattr("sockets.api.operations.visits_of", lambda user: [])
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
