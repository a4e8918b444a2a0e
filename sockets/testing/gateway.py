"""A gateway in a test: the real one in the test's own process and loop, with memory for its store.

    from sockets.testing.gateway import running_gateway

    async def test_who_comes_back_gets_what_it_missed():
        async with running_gateway() as gateway:
            page = await gateway.connect("42")
            page.cut()
            await anotify_user("42", "order.paid", {"order": 7})
            await page.reconnect()
            assert page.recovered and (await page.message())["data"] == {"order": 7}

It needs what a server is installed with (`django-gateway[server]`), and no port, Redis or database.
The faults are the real code's: a message that the layer loses is found by its offset, a store that
has forgotten its streams makes clients reload.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlencode

from sockets.auth.handshake import SUBPROTOCOL
from sockets.auth.keyring import KeyRing
from sockets.base.ids import new_id
from sockets.codes import ABNORMAL
from sockets.conf import Conf
from sockets.consumers.handshakes import Handshakes
from sockets.layers.memory import MemoryChannelLayer
from sockets.node import current
from sockets.node.backends import memory_backends
from sockets.node.node import Node
from sockets.recorder import NoRecorder
from sockets.types import Position, Surface

PATIENCE: Final = 5.0
"""Seconds that a client waits for a frame until the test fails."""


class _Layer(MemoryChannelLayer):
    """Loses as many of the next messages to users as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.to_lose = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if not self._loses(message):
            await super().group_send(group, message)

    def send_local(self, group: str, message: dict[str, Any]) -> None:
        if not self._loses(message):
            super().send_local(group, message)

    def _loses(self, message: dict[str, Any]) -> bool:
        lost = self.to_lose > 0 and str(message.get("type", "")).startswith("user.")
        self.to_lose -= lost
        return lost


class Client:
    """A tab or a device, connected in memory. Pings are answered while it waits for something."""

    def __init__(self, gateway: RunningGateway, user: str, client_id: str) -> None:
        self._gateway = gateway
        self.user = user
        self.client_id = client_id
        self.welcome: dict[str, Any] = {}
        """The first frame of the connection."""
        self.position: Position | None = None
        """Where it stands in its user's stream."""
        self._refs = 0
        self._kept: deque[dict[str, Any]] = deque()  # came while it waited for a reply
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._serving: asyncio.Task[None] | None = None
        self._over: tuple[int, str] | None = None

    @property
    def recovered(self) -> bool | None:
        """Whether everything since its position follows; None: it had none."""
        answer: bool | None = self.welcome.get("recovered")
        return answer

    async def message(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Return the next notification: `id`, `event`, `data`, `time`, and `offset` if durable."""
        while True:
            frame = await self.receive(seconds)
            if frame["type"] == "message":
                return frame

    async def receive(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Return the next frame that is no ping. Fails the test where none comes."""
        return self._kept.popleft() if self._kept else await self._next(seconds)

    async def nothing(self, seconds: float = 0.1) -> None:
        """Fail the test where a frame comes within so long."""
        try:
            frame = await self.receive(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"nothing was to come, and this came: {frame}")

    async def send(self, event: str, data: object = None) -> dict[str, Any]:
        """Send to the workers and the Django code of this user; returns the reply."""
        return await self.ask(type="send", event=event, data=data)

    async def ack(self) -> dict[str, Any]:
        """Say that everything up to its position is processed; returns the reply."""
        assert self.position is not None
        return await self.ask(type="ack", epoch=self.position.epoch, offset=self.position.offset)

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Send any frame with a `ref`, and return its reply."""
        self._refs += 1
        self.write(**frame, ref=self._refs)
        while True:
            answer = await self._next(PATIENCE)
            if answer["type"] == "reply" and answer.get("ref") == self._refs:
                return answer
            self._kept.append(answer)

    def write(self, **frame: Any) -> None:
        """Send a frame as it is."""
        self._to_server.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    async def closed(self, seconds: float = PATIENCE) -> tuple[int, str]:
        """Wait until the gateway closes it; returns code and reason."""
        async with asyncio.timeout(seconds):
            while self._over is None:
                self._take(await self._from_server.get())
        return self._over

    def cut(self) -> None:
        """Lose the line: neither side says a word."""
        self._over = self._over or (ABNORMAL, "")
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": ABNORMAL})

    async def close(self) -> None:
        """Leave, and wait until the gateway has cleaned up."""
        self._over = self._over or (1000, "")
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1000})
        if self._serving is not None:
            await asyncio.wait({self._serving}, timeout=PATIENCE)

    async def reconnect(self) -> None:
        """Come back with its client id and its position, as the browser client does."""
        if self._over is None:
            self.cut()
        await self._open()

    async def _open(self) -> None:
        to_server = self._to_server = asyncio.Queue()
        from_server = self._from_server = asyncio.Queue()
        self._kept.clear()
        self._over = None
        given: dict[str, Any] = {"user_id": self.user, "client_id": self.client_id}
        if self.position is not None:
            given |= {"epoch": self.position.epoch, "offset": self.position.offset}
        self._to_server.put_nowait({"type": "websocket.connect"})

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.close":  # as a browser does, whoever waits for what
                code = message.get("code", 1000)
                to_server.put_nowait({"type": "websocket.disconnect", "code": code})
            from_server.put_nowait(message)

        self._serving = self._gateway.serve(urlencode(given).encode(), to_server.get, send)
        welcome = await self._next(PATIENCE)
        assert welcome["type"] == "welcome", welcome
        self.welcome = welcome
        self.position = Position(welcome["epoch"], welcome["offset"])

    async def _next(self, seconds: float) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while True:
                if self._over is not None and self._from_server.empty():
                    raise AssertionError(f"the connection is closed: {self._over}")
                frame = self._take(await self._from_server.get())
                if frame is None:
                    continue
                if frame["type"] != "ping":
                    return frame
                self.write(type="pong")

    def _take(self, sent: dict[str, Any]) -> dict[str, Any] | None:
        """Return the frame in what the server sent; None: it is of the connection itself."""
        if sent["type"] == "websocket.close":
            self._over = sent.get("code", 1000), sent.get("reason", "")
        if sent["type"] != "websocket.send":
            return None
        frame: dict[str, Any] = json.loads(sent["text"])
        if frame["type"] == "reset":
            self.position = Position(frame["epoch"], frame["offset"])
        elif "offset" in frame and frame["type"] in ("message", "position") and self.position:
            self.position = replace(self.position, offset=frame["offset"])
        return frame


class RunningGateway:
    """The gateway of a test. The Python API of this process goes to it while it runs."""

    def __init__(self, conf: Conf) -> None:
        self._conf = conf
        self._ahead = 0.0
        self._clients: list[Client] = []
        self._handshakes = Handshakes(conf)

    async def connect(
        self, user: object, *, client_id: str | None = None, position: Position | None = None
    ) -> Client:
        """Connect a client of this user, and wait until it is welcome.

        `client_id`: a ULID, a new one by default. `position`: where the page's data stands.
        """
        client = Client(self, str(user), client_id or new_id())
        client.position = position
        self._clients.append(client)
        await client._open()
        return client

    def lose_messages(self, count: int = 1) -> None:
        """Let the channel layer lose the next messages to users, as a broker may."""
        self._layer.to_lose += count

    def forget_streams(self) -> None:
        """Let the store forget every stream, as one does that lost its data: what clients have
        positions of begins anew."""
        self._node.streams.forget()  # type: ignore[attr-defined]  # of the one in memory

    def advance(self, seconds: float) -> None:
        """Move the clock of streams and presence; what is due then happens within a second."""
        self._ahead += seconds

    async def kill(self) -> None:
        """Let the process die: every line is cut, and what memory held is gone. `start` follows."""
        for client in self._clients:
            client.cut()
        await self._stop()

    async def start(self) -> None:
        """Start it, after a `kill`: with nothing in its memory."""
        self._layer = _Layer()
        self._node = Node(
            self._conf,
            state=memory_backends(self._conf, self._layer, self._now),
            wall=self._now,
            recorder=NoRecorder(),
            keys=KeyRing(self._conf, load=dict, note_used=lambda used: None),
        )
        await self._node.start()
        current.begin(self._node, self._node.keys.hurry)

    async def end(self) -> None:
        """Close every client, and stop."""
        for client in self._clients:
            await client.close()
        await self._stop()

    def serve(self, query: bytes, receive: Any, send: Any) -> asyncio.Task[None]:
        """Serve one socket, as an ASGI server does."""
        scope = {
            "type": "websocket",
            "path": self._conf.client_paths[0] or "/",
            "query_string": query,
            "headers": [(b"host", b"localhost"), (b"user-agent", b"sockets.testing")],
            "subprotocols": [SUBPROTOCOL],
            "client": ["127.0.0.1", 50_000],
            "gateway.surface": Surface.PUBLIC,
        }
        served = self._handshakes.serve(scope, receive, send, self._node)
        return asyncio.get_running_loop().create_task(served)

    async def _stop(self) -> None:
        if current.current_node() is self._node:
            current.end(self._node)
            await self._node.stop()

    def _now(self) -> float:
        return time.time() + self._ahead


@asynccontextmanager
async def running_gateway(**settings: Any) -> AsyncIterator[RunningGateway]:
    """Run a gateway in this process and on this loop, in memory mode.

    `settings`: fields of `sockets.conf.Conf`, as `presence_grace=0`. Users are believed to be who
    they say (`AUTH=insecure`). Raises RuntimeError where a gateway runs in this process already.
    """
    if current.current_node() is not None:
        raise RuntimeError("a gateway runs in this process already")
    with TemporaryDirectory(prefix="gateway-") as folder:
        values: dict[str, Any] = {
            "environment": "test",
            "data_dir": Path(folder),
            "node_name": "test",
            "auth": ("insecure",),
            "shutdown_grace": 1.0,
        }
        gateway = RunningGateway(Conf(**values | settings))
        await gateway.start()
        try:
            yield gateway
        finally:
            await gateway.end()
