"""What a delivery and an idle session cost the server: `python -m bench.delivery`.

1,000 users with 2 sessions each (SESSIONS and USERS scale it). One publisher on a socket of its
own notifies the users in turn: first as fast as it is taken (burst), then at a fixed rate (steady).
Measured is the CPU time of the server process alone (user + system, from /proc), divided by the
messages that clients received; memory is resident. All stacks run one after another in this run,
so their ratios mean something on any machine; the absolute figures do not.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.gateway import WORKER_KEY, Gateway, running, uvicorn, wait_for

USERS = int(os.environ.get("USERS", "1000"))
SESSIONS = int(os.environ.get("SESSIONS", "2"))
SECONDS = float(os.environ.get("SECONDS", "5"))
RATE = 500
TICKS = os.sysconf("SC_CLK_TCK")
DATA = {"job": "01M838G66AKP9W9B9AKVP5VMYB", "percent": 42, "note": "x" * 100}


@dataclass
class Stack:
    """One contestant: how to start it and how to speak to it."""

    name: str
    start: Any
    client_path: str
    publish_path: str
    frame: Any
    burst: int


@dataclass
class Figures:
    """What was measured."""

    burst: float  # CPU microseconds a delivery
    steady: float
    idle: float  # KB a session
    connect: float  # CPU microseconds a connect
    lost: int


def cpu(pid: int) -> float:
    """CPU seconds that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def open_socket(url: str) -> ClientConnection:
    """A connection that has been welcomed."""
    connection = await connect(
        url,
        ping_interval=None,
        proxy=None,
        compression=None,
        additional_headers={"Authorization": f"Bearer {WORKER_KEY}"},
        open_timeout=60,
    )
    await connection.recv()
    return connection


async def measure(stack: Stack, server: Gateway) -> Figures:
    """Connect, publish in both ways, count what arrives."""
    base = f"ws://127.0.0.1:{server.client_port}{stack.client_path}"
    warm = await open_socket(f"{base}?user_id=warm")
    memory, used = server.rss(), cpu(server.pid)
    sockets: list[ClientConnection] = []
    for user in range(USERS):
        url = f"{base}?user_id={user}"
        sockets += await asyncio.gather(*(open_socket(url) for _ in range(SESSIONS)))
    connected = len(sockets)
    connect_cost = (cpu(server.pid) - used) / connected * 1e6
    await asyncio.sleep(1)
    idle = (server.rss() - memory) / connected / 1024
    received = 0

    async def read(connection: ClientConnection) -> None:
        nonlocal received
        async for text in connection:
            if b"message" in (text.encode() if isinstance(text, str) else text)[:24]:
                received += 1

    readers = [asyncio.create_task(read(connection)) for connection in sockets]
    publisher = await open_socket(f"ws://127.0.0.1:{server.worker_port}{stack.publish_path}")
    expected = 0

    async def publish(count: int, rate: float | None) -> float:
        """Send `count` frames; CPU microseconds a delivery."""
        nonlocal expected
        before, seen = cpu(server.pid), received
        started = time.monotonic()
        for number in range(count):
            await publisher.send(json.dumps(stack.frame(str(number % USERS))))
            if rate is not None:
                await asyncio.sleep(max(0, started + number / rate - time.monotonic()))
        expected += count * SESSIONS
        last, since = received, time.monotonic()
        while received < expected and time.monotonic() - since < 3:
            await asyncio.sleep(0.05)
            if received != last:
                last, since = received, time.monotonic()
        return (cpu(server.pid) - before) / max(1, received - seen) * 1e6

    await publish(USERS // 10, None)  # warm up
    burst = await publish(stack.burst, None)
    steady = await publish(int(RATE * SECONDS), RATE)
    for reader in readers:
        reader.cancel()
    for connection in [*sockets, publisher, warm]:
        connection.transport.abort()
    return Figures(burst, steady, idle, connect_cost, expected - received)


@contextmanager
def ours(directory: Path) -> Iterator[Gateway]:
    with running(directory, AUTH="insecure", LOG_LEVEL="warning") as gateway:
        yield gateway


@contextmanager
def ours_on_uvicorn(directory: Path) -> Iterator[Gateway]:
    with uvicorn(directory, AUTH="insecure", LOG_LEVEL="warning") as gateway:
        yield gateway


def stock(layer: str) -> Any:
    """The tutorial's stack on plain daphne."""

    @contextmanager
    def start(directory: Path) -> Iterator[Gateway]:
        server = Gateway(directory, LAYER=layer)
        with socket.create_server(("127.0.0.1", 0)) as free:
            server.client_port = server.worker_port = free.getsockname()[1]
        server.spawn(
            "-m", "daphne", f"--port={server.client_port}", "-v0", "bench.stock:application"
        )
        try:
            wait_for(server.listens, "daphne to listen", 30)
            yield server
        finally:
            server.kill()

    return start


def notify(user: str) -> dict[str, Any]:
    return {"type": "notify", "user": user, "event": "job.progress", "data": DATA}


def notify_ephemeral(user: str) -> dict[str, Any]:
    return notify(user) | {"durable": False}


def chat(user: str) -> dict[str, Any]:
    return {"user": user, "data": DATA}


STACKS = [
    Stack("gateway, durable", ours, "/", "/", notify, 10_000),
    Stack("gateway, ephemeral", ours, "/", "/", notify_ephemeral, 10_000),
    Stack(
        "gateway on uvicorn, durable", ours_on_uvicorn, "/ws/client/", "/ws/worker/", notify, 10_000
    ),
    Stack("tutorial, its own layer", stock("channels"), "/", "/publish", chat, 2_000),
    Stack("tutorial, our memory layer", stock("gateway"), "/", "/publish", chat, 5_000),
]


def main() -> None:
    """Run every stack and print a table."""
    wanted = sys.argv[1:]
    results: dict[str, Figures] = {}
    for stack in STACKS:
        if wanted and not any(word in stack.name for word in wanted):
            continue
        with (
            tempfile.TemporaryDirectory() as directory,
            stack.start(Path(directory)) as server,
        ):
            results[stack.name] = asyncio.run(measure(stack, server))
    print(f"{USERS} users x {SESSIONS} sessions; CPU of the server process alone")
    heads = ("burst us", "steady us", "KB idle", "connect us", "lost")
    print(f"{'stack':30} " + " ".join(f"{head:>10}" for head in heads))
    for name, f in results.items():
        values = (f.burst, f.steady, f.idle, f.connect, float(f.lost))
        print(f"{name:30} " + " ".join(f"{value:10.1f}" for value in values))
    own = results.get(STACKS[0].name)
    for stack in STACKS[3:]:
        if own and (other := results.get(stack.name)):
            print(
                f"gateway / {stack.name}: burst {own.burst / other.burst:.2f}, "
                f"steady {own.steady / other.steady:.2f} of its CPU a delivery"
            )


if __name__ == "__main__":
    main()
