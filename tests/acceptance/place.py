"""Nodes on one Redis and one PostgreSQL, with short leases, and an API server that listens."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from redis.asyncio import Redis

from sockets.cluster.registry_redis import NodeCalls, RedisNodes
from sockets.exceptions import GatewayUnavailable
from sockets.presence.base import Limit
from sockets.presence.redis import RedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys, close, connect
from sockets.types import UserPresence
from tests.support import postgres
from tests.support.api_server import SECRET, ApiServer, api_server
from tests.support.gateway import Gateway
from tests.support.patience import PATIENCE
from tests.support.peers import Peer, client, http_get
from tests.support.scale import SOAK
from tests.support.valkey import Server

LEASE = 30.0 if SOAK else 2.0
RENEW = 10.0 if SOAK else 0.5
GRACE = 10.0 if SOAK else 1.0
BOUND = LEASE + 5
"""Seconds within which a dead node is known to be dead, and everything of it is done."""

SETTINGS: dict[str, Any] = {
    "LEASE_TTL": f"{LEASE}",
    "LEASE_RENEW": f"{RENEW}",
    "PRESENCE_GRACE": f"{GRACE}",
    "TASK_GRACE": "1",
    "CLOSE_TIMEOUT": "1",
    "SHUTDOWN_GRACE": "5",
    "DRAIN_SECONDS": "2",
    "HEARTBEAT": "300",  # nobody here answers pings all the time
    "WEBHOOKS": "user_online,user_offline,session_closed",
    "WEBHOOK_SECRET": SECRET,
}


@cache
def _with_tables() -> str:
    """The name of a database with tables and no rows, of which each place has a copy."""
    url = postgres.shared().database()
    with tempfile.TemporaryDirectory(prefix="tables-") as folder:
        Gateway(Path(folder), DATABASE_URL=url).migrate()
    return url.rpartition("/")[2]


class Place:
    """Nodes on one Redis and one database, and what the API server has heard of them."""

    def __init__(self, path: Path, redis: Server, api: ApiServer, **settings: str) -> None:
        self.redis = redis
        self.api = api
        self.database = postgres.shared().database(_with_tables())
        self.environment = SETTINGS | settings
        self.environment |= {
            "REDIS_URL": redis.url,
            "DATABASE_URL": self.database,
            "API_SERVER_URL": f"http://127.0.0.1:{api.port}",
        }
        self.path = path
        self.nodes: dict[str, Gateway] = {}
        self.store: Redis = connect(redis.url)
        keys = Keys("gw")
        self.registry = RedisNodes(self.store, NodeCalls(keys, lease=LEASE, warmup=LEASE + GRACE))
        calls = PresenceCalls(keys, lease=LEASE, grace=GRACE, limit=Limit())
        self.presence = RedisPresence(self.store, calls, warm=self.registry.warm)

    async def begin(self, *names: str) -> list[Gateway]:
        for name in names:
            self.nodes[name] = Gateway(self.path / name, NODE_NAME=name, **self.environment)
        await asyncio.gather(*(asyncio.to_thread(self.nodes[name].start) for name in names))
        return [self.nodes[name] for name in names]

    async def look(self, users: list[str]) -> dict[str, UserPresence]:
        return (await self.presence.look_at(users)).users

    async def connected(self, users: list[str]) -> set[str]:
        return {user for user, one in (await self.look(users)).items() if one.online}

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """Events of a type, each once, in order of arrival."""
        events = {
            event["id"]: event
            for request in self.api.requests
            for event in request.events
            if event["type"] == kind
        }
        return list(events.values())

    def rows(self, where: str) -> int:
        with psycopg.connect(self.database) as database:
            found = database.execute(
                f"select count(*) from sockets_session where {where}".encode()
            ).fetchone()
        assert found is not None
        return int(found[0])

    async def until(
        self, what: str, condition: Callable[[], Any], seconds: float = PATIENCE
    ) -> None:
        """Poll a condition, awaited if need be."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                value = condition()
                if asyncio.iscoroutine(value):
                    value = await value
            except GatewayUnavailable:
                value = False
            if value:
                return
            assert time.monotonic() < deadline, what
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        for node in self.nodes.values():
            node.kill()
        await close(self.store)
        for node in self.nodes.values():
            assert "Traceback" not in node.log(), node.log()


@asynccontextmanager
async def place(path: Path, redis: Server, **settings: str) -> AsyncIterator[Place]:
    async with api_server() as api:
        made = Place(path, redis, api, **settings)
        try:
            yield made
        finally:
            await made.end()


async def crowd(node: Gateway, users: list[str], **given: str) -> list[Peer]:
    """A session for each of the users."""
    peers = []
    for start in range(0, len(users), 50):
        some = users[start : start + 50]
        peers += await asyncio.gather(*(client(node, user, **given) for user in some))
    return peers


def ready(node: Gateway) -> bool:
    """As a balancer asks."""
    return http_get(node.worker_port, "/readyz")[0] == 200


def say(text: str) -> None:
    """A figure, for the reader of the log."""
    sys.stdout.write(f"\n{text}\n")
