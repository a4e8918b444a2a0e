"""What a notification costs in Redis mode: `python -m bench.redis_mode`.

One node, one Valkey, one publisher in a process of its own that uses the Python API as a web worker
does. Measured: CPU of the node, of Valkey and of the publisher (user + system, from /proc), per
delivery or per call, and the way from the call to the client's socket at a fixed rate. In the same
run, what `async_to_sync(group_send)` on channels-redis' own layer costs the publisher. Take ratios.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from websockets.asyncio.client import ClientConnection

from bench.delivery import cpu, open_socket
from tests.support.gateway import ROOT, Gateway, running
from tests.support.valkey import Server

USERS = int(os.environ.get("USERS", "300"))
SESSIONS = int(os.environ.get("SESSIONS", "2"))
CALLS = int(os.environ.get("CALLS", "5000"))
RATE = 200

PUBLISH = """
import json, os, sys, time
import django
django.setup()
how, calls, users, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
from sockets.api import notify_user, user_group
if how == "stock":
    from asgiref.sync import async_to_sync
    from channels_redis.pubsub import RedisPubSubChannelLayer
    layer = RedisPubSubChannelLayer(hosts=[os.environ["REDIS_URL"]])
    send = async_to_sync(layer.group_send)
    def call(user, data):
        send(user_group(user), {"type": "user.notify", "event": "e", "data": data})
else:
    durable = how == "durable"
    def call(user, data):
        notify_user(user, "e", data, durable=durable)
call("warm", {})
before, used = time.perf_counter(), time.process_time()
for n in range(calls):
    if rate:
        time.sleep(max(0, before + n / rate - time.perf_counter()))
    call(str(n % users), {"sent": time.time(), "note": "x" * 100})
took, cpu = time.perf_counter() - before, time.process_time() - used
print(json.dumps({"ms": took / calls * 1e3, "cpu": cpu / calls * 1e6}))
"""


@dataclass
class Figures:
    """Microseconds of CPU, unless said otherwise."""

    node: float  # a delivery
    redis: float  # a call
    publisher: float  # a call
    ms: float  # milliseconds of a call, one after the other
    lost: int


class Audience:
    """Every session of every user; notes how long each message took."""

    def __init__(self) -> None:
        self.received = 0
        self.took: list[float] = []
        self.sockets: list[ClientConnection] = []
        self._readers: list[asyncio.Task[None]] = []

    async def connect(self, node: Gateway) -> None:
        for user in range(USERS):
            url = node.client_url(user_id=str(user))
            self.sockets += await asyncio.gather(*(open_socket(url) for _ in range(SESSIONS)))
        self._readers = [asyncio.create_task(self._read(one)) for one in self.sockets]

    async def _read(self, connection: ClientConnection) -> None:
        async for text in connection:
            frame = json.loads(text)
            if frame["type"] == "message":
                self.received += 1
                self.took.append(time.time() - frame["data"]["sent"])

    def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        for one in self.sockets:
            one.transport.abort()


async def publish(node: Gateway, how: str, calls: int, rate: float) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PUBLISH, how, str(calls), str(USERS), str(rate)),
        cwd=ROOT,
        env={**node.environment, "DJANGO_SETTINGS_MODULE": "gateway.settings"},
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    told: dict[str, float] = json.loads(out)
    return told


async def measure(node: Gateway, server: Server, how: str, audience: Audience) -> Figures:
    """As fast as one caller can."""
    assert server.process is not None
    seen = audience.received
    before = cpu(node.pid), cpu(server.process.pid)
    told = await publish(node, how, CALLS, 0)
    for _ in range(200):
        if audience.received - seen >= CALLS * SESSIONS:
            break
        await asyncio.sleep(0.05)
    deliveries = audience.received - seen
    return Figures(
        node=(cpu(node.pid) - before[0]) / max(1, deliveries) * 1e6,
        redis=(cpu(server.process.pid) - before[1]) / CALLS * 1e6,
        publisher=told["cpu"],
        ms=told["ms"],
        lost=CALLS * SESSIONS - deliveries,
    )


async def run(node: Gateway, server: Server) -> None:
    audience = Audience()
    await audience.connect(node)
    print(f"{USERS} users x {SESSIONS} sessions, {CALLS} calls; CPU in us")
    heads = ("node/deliv.", "Redis/call", "caller/call", "ms/call", "lost")
    print(f"{'':34}" + "".join(f"{head:>13}" for head in heads))
    found: dict[str, Figures] = {}
    for how, name in (
        ("durable", "notify_user, durable"),
        ("ephemeral", "notify_user, ephemeral"),
        ("stock", "async_to_sync(group_send), stock"),
    ):
        f = found[how] = await measure(node, server, how, audience)
        values = (f.node, f.redis, f.publisher, f.ms, float(f.lost))
        print(f"{name:34}" + "".join(f"{value:13.2f}" for value in values))
    durable, stock = found["durable"], found["stock"]
    print(f"durable / stock: {durable.ms / stock.ms:.2f} of its time a call")
    for how in ("durable", "ephemeral"):
        audience.took.clear()
        await publish(node, how, 5 * RATE, RATE)
        await asyncio.sleep(0.5)
        took = [one * 1e3 for one in audience.took]
        p99 = quantiles(took, n=100)[98]
        print(f"{how} at {RATE}/s, call to client: p50 {median(took):.2f} ms, p99 {p99:.2f} ms")
    audience.close()


def main() -> None:
    """Start everything, measure, print."""
    server = Server()
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            running(
                Path(directory), AUTH="insecure", LOG_LEVEL="warning", REDIS_URL=server.url
            ) as node,
        ):
            asyncio.run(run(node, server))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
