"""Sockets in process: the consumers under Channels' communicator, on a node of the test's own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

from sockets.consumers.client import ClientConsumer
from sockets.consumers.worker import WorkerConsumer
from sockets.node.node import Node
from tests.support.doubles import WORKER_KEY, MemoryNode, running_node
from tests.support.patience import PATIENCE


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[MemoryNode]:
    async with running_node(
        monkeypatch, tmp_path, close_timeout=0.2, max_attached=3, max_message_size=2_000
    ) as made:
        yield made


class Peer(WebsocketCommunicator):
    """One socket. Frames are dictionaries; what goes wrong in the consumer fails the test."""

    async def opened(self) -> dict[str, Any]:
        """Connect and return the welcome."""
        accepted, _ = await self.connect(timeout=PATIENCE)
        assert accepted
        return await self.frame()

    async def frame(self) -> dict[str, Any]:
        frame: dict[str, Any] = await self.receive_json_from(timeout=PATIENCE)
        return frame

    async def write(self, **frame: Any) -> None:
        await self.send_to(json.dumps(frame))

    async def ask(self, **frame: Any) -> dict[str, Any]:
        await self.write(**frame, ref="r")
        answer = await self.frame()
        assert (answer["type"], answer["ref"]) == ("reply", "r"), answer
        return answer

    async def closed(self) -> tuple[int, str]:
        """The close that the consumer sends next; the peer then answers it, as a browser does."""
        message = await self.receive_output(timeout=PATIENCE)
        assert message["type"] == "websocket.close", message
        await self.send_input({"type": "websocket.disconnect", "code": message["code"]})
        await self.wait(timeout=PATIENCE)
        return message["code"], message["reason"]

    async def leave(self, code: int = 1000) -> None:
        await self.disconnect(code=code, timeout=PATIENCE)


@pytest.fixture
def client(node: Node) -> Callable[..., Peer]:
    def make(query: str = "user_id=42", v1: bool = True, **headers: str) -> Peer:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        offered = ["gateway.v1"] if v1 else None
        return Peer(ClientConsumer.as_asgi(), f"/?{query}", headers=raw, subprotocols=offered)

    return make


@pytest.fixture
def worker(node: Node) -> Callable[..., Peer]:
    def make(query: str = "", key: str = WORKER_KEY, **headers: str) -> Peer:
        raw = [(b"authorization", f"Bearer {key}".encode())]
        raw += [(name.encode(), value.encode()) for name, value in headers.items()]
        return Peer(
            WorkerConsumer.as_asgi(), f"/?{query}", headers=raw, subprotocols=["gateway.v1"]
        )

    return make
