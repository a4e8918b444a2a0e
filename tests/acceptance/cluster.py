"""Two nodes on one Redis, an audience that counts everything, and a publisher beside them."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from sockets.base.ids import new_id
from tests.support import warm
from tests.support.gateway import ROOT, Gateway

RETRY = 0.1
"""Seconds until a session whose socket was refused or lost comes back."""

PUBLISHING = 600.0
"""Seconds after which a publisher that has not ended is given up: later than the test is."""


@dataclass(eq=False)
class Listener:
    """One session that comes back with its position, and checks every frame.

    `told`: how often it was told that something is lost (`reset`, `recovered: false`).
    """

    user: str
    nodes: list[Gateway]
    node: int
    client: str = field(default_factory=new_id)
    epoch: str = ""
    offset: int = 0
    welcomed: bool = False
    seen: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    socket: Any = None

    @property
    def told(self) -> int:
        return self.counts["reset"] + self.counts["not recovered"]

    def url(self) -> str:
        given = {"user_id": self.user, "client_id": self.client}
        if self.epoch:
            given |= {"epoch": self.epoch, "offset": str(self.offset)}
        return f"ws://127.0.0.1:{self.nodes[self.node].client_port}/?{urlencode(given)}"

    async def run(self) -> None:
        """For ever: connect, listen, come back."""
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                async with connect(
                    self.url(),
                    subprotocols=["gateway.v1"],  # type: ignore[list-item]
                    open_timeout=20,
                    ping_interval=None,
                    close_timeout=0.5,
                    proxy=None,
                ) as self.socket:
                    async for text in self.socket:
                        await self.on_frame(json.loads(text))
            self.counts["connections lost"] += 1
            self.welcomed = False
            if self.nodes[self.node].ended():
                self.node = 1 - self.node
            await asyncio.sleep(RETRY * random.uniform(0.5, 1.5))

    async def move(self) -> None:
        """Drop the socket without a word; come back at the other node."""
        self.node = 1 - self.node
        if self.socket is not None:
            self.socket.transport.abort()

    async def on_frame(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                self.welcomed = True
                if frame["recovered"] is False:
                    self.counts["not recovered"] += 1
                if frame["recovered"] is not True:
                    self.epoch, self.offset = frame["epoch"], frame["offset"]
            case "message":
                if frame.get("prev", frame["offset"] - 1) != self.offset:
                    self.counts["gaps"] += 1
                if frame["id"] in self.seen:
                    self.counts["doubled"] += 1
                self.seen.add(frame["id"])
                self.counts["messages"] += 1
                self.offset = frame["offset"]
            case "position":
                self.offset = frame["offset"]
            case "reset":
                self.counts["reset"] += 1
                self.epoch, self.offset = frame["epoch"], frame["offset"]
            case "closing":
                self.counts["closing"] += 1
                self.node = 1 - self.node  # a balancer sends it there
            case "ping":
                await self.socket.send('{"type":"pong"}')


class Cluster:
    """Two nodes; `listeners`: so many sessions for each of `users` users, each made by `listen`."""

    def __init__(
        self,
        nodes: list[Gateway],
        users: int,
        sessions: int,
        listen: Callable[[str, list[Gateway], int], Listener] = Listener,
    ) -> None:
        self.nodes = nodes
        self.users = users
        self.listeners = [
            listen(f"u{user}", nodes, (user + n) % 2)
            for user in range(users)
            for n in range(sessions)
        ]
        self.heads: dict[str, tuple[str, int]] = {}
        self.sent: dict[str, list[str]] = {}
        self.repeated = 0

    async def publish(self, messages: int, rate: float) -> None:
        """Run the publisher to its end."""
        command = ["-m", "tests.acceptance.publisher", *map(str, (self.users, messages, rate))]
        environment = {**self.nodes[0].environment, "DJANGO_SETTINGS_MODULE": "gateway.settings"}
        done = await asyncio.to_thread(warm.python, command, ROOT, environment, seconds=PUBLISHING)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        self.heads = {user: (epoch, offset) for user, (epoch, offset) in told["heads"].items()}
        self.sent = told["sent"]
        self.repeated = told["repeated"]

    def passed_over(self) -> list[Listener]:
        """Who misses something that was acknowledged, and was told of no loss."""
        return [
            one
            for one in self.listeners
            if not one.told and not one.seen.issuperset(self.sent.get(one.user, ()))
        ]

    def behind(self) -> list[Listener]:
        """Who has not come to the end of its stream."""
        return [one for one in self.listeners if (one.epoch, one.offset) != self.heads[one.user]]

    async def until(self, what: str, condition: Any, seconds: float = 60) -> None:
        """Poll; fails with what is not so."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, (
                f"timed out: {what}: {self.total()}"
            )
            await asyncio.sleep(0.1)

    def total(self) -> Counter[str]:
        """All counts of all sessions."""
        return sum((one.counts for one in self.listeners), Counter[str]())


@asynccontextmanager
async def cluster(
    path: Path,
    url: str,
    *,
    users: int,
    sessions: int = 3,
    folders: Sequence[Path] = (ROOT, ROOT),
    listen: Callable[[str, list[Gateway], int], Listener] = Listener,
    **environment: str,
) -> AsyncIterator[Cluster]:
    """Both nodes ready, all sessions welcomed. Their logs must hold no traceback.

    `folders`: of the checkouts that the nodes run. `listen`: as of Cluster.
    """
    nodes = [
        Gateway(path / name, NODE_NAME=name, REDIS_URL=url, LOG_LEVEL="info", **environment)
        for name in ("a", "b")
    ]
    tasks: list[asyncio.Task[None]] = []
    for node, folder in zip(nodes, folders, strict=True):
        node.folder = folder
    try:
        for node in nodes:
            await asyncio.to_thread(node.migrate)
            await asyncio.to_thread(node.start)
        made = Cluster(nodes, users, sessions, listen)
        tasks = [asyncio.create_task(one.run()) for one in made.listeners]
        await made.until("all welcomed", lambda: all(one.welcomed for one in made.listeners))
        yield made
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for node in nodes:
            node.kill()
    for node in nodes:
        assert "Traceback" not in node.log(), node.log()
