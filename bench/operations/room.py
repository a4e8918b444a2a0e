"""What the operations room is asked about: nodes in Redis mode, their clients, workers, and those
who were refused."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.operations.pages import WEB, Cost, Wanted
from bench.peers.contestants import Ours, handshake
from bench.peers.load import Load, LoadFailed
from bench.peers.machine import cores, die_with_us, on
from bench.peers.running import WINDOW, Service, loaded
from tests.support.gateway import ROOT, wait_for
from tests.support.peers import worker_at
from tests.support.valkey import Server

USER: Final = "u000007"
"""Who is looked at."""

WORKER_KEY: Final = "key-of-the-workers-of-a-benchmark-0123456789"
CAPACITY: Final = 4

PATIENCE: Final = 900.0
"""Seconds after which a web process that has not finished all pages is given up."""


@dataclass(frozen=True)
class Scale:
    """How much there is: sessions of clients, half of them on each node; messages for each user;
    workers; refused connections; and what `Wanted` says."""

    sessions: int
    messages: int
    workers: int
    refused: int
    rows: int
    requests: int
    pause: float


class OneOfTwo(Ours):
    """A node that shares its database with the other one. Each user has a client on each, because
    one process may open fewer files than 20,000 on many machines, this load generator too."""

    def __init__(self, number: int, folder: Path) -> None:
        super().__init__()
        self._number, self._shared = number, folder
        request = self.dialect["request"].replace(b"9B9A<client>", b"9B9%c<client>" % b"BC"[number])
        self.dialect = {**self.dialect, "request": request}

    def environment(self, folder: Path, redis_url: str, port: int) -> dict[str, str]:
        made = super().environment(folder, redis_url, port)
        database = {"DATABASE_URL": f"sqlite:///{self._shared / 'gateway.sqlite3'}"}
        return made | database | {"NODE_NAME": f"node-{self._number + 1}", "WORKER_KEYS": _KEYS}

    def command(self, port: int) -> list[str]:
        return [*super().command(port), f"--ports-file={self.ports}"]

    @property
    def ports(self) -> Path:
        """Where the node writes which ports it has."""
        return self._shared / f"ports-{self._number}.json"


_KEYS = f"converter:{WORKER_KEY}"


@dataclass
class Room:
    """Nodes that run with all that is connected to them."""

    services: list[Service]
    redis: Server
    loads: list[Load]
    scale: Scale

    def lost(self) -> int:
        """Return how many clients were not welcome, or have been lost since."""
        return sum(load.ask("stats")["dropped"] for load in self.loads)

    def costs(self) -> Iterator[tuple[str, list[Cost]]]:
        """Ask for each page in a web process of its own; yields title and costs of each."""
        tasks = self.scale.workers * CAPACITY // 2
        pids = [service.pid for service in self.services]
        wanted = Wanted(
            pids=pids,
            redis=self.redis.port,
            user=USER,
            rows=self.scale.rows,
            requests=self.scale.requests,
            pause=self.scale.pause,
            tasks=tasks,
        )
        environment = self.services[0].environment | {
            "REDIS_URL": f"redis://{WEB}:{WEB}@127.0.0.1:{self.redis.port}/0",
            "BENCH": json.dumps(asdict(wanted)),
            "SURFACE": "private",  # there is no server that says by which side somebody came
            "PYTHONPATH": f"{ROOT}:{self.services[0].environment['PYTHONPATH']}",
        }
        with subprocess.Popen(
            [sys.executable, "-m", "bench.operations.web"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_us,
        ) as web:
            assert web.stdout is not None
            too_long = threading.Timer(PATIENCE, web.kill)
            too_long.start()
            try:
                for line in web.stdout:
                    title, costs = json.loads(line)
                    yield title, [Cost(**cost) for cost in costs]
            finally:
                too_long.cancel()
        assert web.returncode == 0, "the web process failed: see what it wrote above"


@contextmanager
def opened(scale: Scale, program: Path) -> Iterator[Room]:
    """Start two nodes and all that connects to them. `program`: the load generator. Raises
    LoadFailed."""
    with ExitStack() as stack:
        stack.enter_context(on(cores()[1]))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="room-")))
        redis = Server()
        stack.callback(redis.stop)
        assert redis.ask(f"ACL SETUSER {WEB} on >{WEB} ~* &* +@all".encode()).startswith(b"+OK")
        nodes = [OneOfTwo(number, folder) for number in range(2)]
        (folder / "gateway.sqlite3").write_bytes(Ours().tables())
        services, loads = [], []
        for number, node in enumerate(nodes):
            service = Service(node, folder / f"node-{number + 1}", redis)
            stack.callback(service.kill)
            services.append(service)
            load = loaded(node, program, folder, service, redis, 1)
            loads.append(stack.enter_context(load))
        room = Room(services, redis, loads, scale)
        _fill(room)
        stack.enter_context(_workers(nodes[0], scale.workers))
        yield room


def _fill(room: Room) -> None:
    for load in room.loads:
        load.acknowledge(Ours.ack)
        answer = load.ask(f"open {room.scale.sessions // 2} {WINDOW}", 600)
        if answer["failed"]:
            raise LoadFailed(f"{answer['failed']} clients were not welcome: {answer['why']}")
    if count := room.scale.messages * room.scale.sessions // 2:
        room.loads[0].ask(f"publish durable user {count} 1000", 60 + count / 500)
    for number in range(room.scale.refused):
        _refused(room.services[number % 2].port, f"127.0.3.{1 + number % 250}")


def _refused(port: int, address: str) -> None:
    """Ask for a socket with a token that is none."""
    request = handshake("/", "Sec-WebSocket-Protocol: gateway.v1", "Authorization: Bearer none")
    with socket.create_connection(("127.0.0.1", port), 10, (address, 0)) as line:
        line.sendall(request)
        line.recv(4096)  # the upgrade; the close frame that follows is left unread


@contextmanager
def _workers(node: OneOfTwo, count: int) -> Iterator[None]:
    """Workers that accept tasks and never end them, in a thread with a loop of its own."""
    port = json.loads(node.ports.read_text())["worker_port"]
    url = f"ws://127.0.0.1:{port}/?pools=image.convert&capacity={CAPACITY}"
    loop = asyncio.new_event_loop()
    welcome: list[None] = []
    working = [loop.create_task(_work(url, welcome)) for _ in range(count)]
    thread = threading.Thread(target=loop.run_until_complete, args=[_all(working)], daemon=True)
    thread.start()
    try:
        wait_for(
            lambda: len(welcome) == count or any(task.done() for task in working),
            "all workers to be welcome",
            60,
        )
        for task in working:
            if task.done():
                task.result()  # raises what kept it from its work
        yield
    finally:
        for task in working:
            loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
        if not thread.is_alive():
            loop.close()


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _work(url: str, welcome: list[None]) -> None:
    worker = await worker_at(url, WORKER_KEY)
    welcome.append(None)
    while True:
        frame = await worker.receive(3600)
        if frame["type"] == "task":
            await worker.send(type="accept", ref="a", task=frame["task"], offer=frame["offer"])
