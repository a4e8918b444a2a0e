"""Durable messages through everything that can happen to Redis, to its links and to a node.

Two gateway processes, a publisher in a third; every session counts every message by its offset.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.acceptance.cluster import Cluster, cluster
from tests.support.gateway import wait_for
from tests.support.scale import scaled
from tests.support.valkey import Sentinel, Server

USERS = scaled(200, 15)
MESSAGES = scaled(20_000, 480)
RATE = scaled(800, 240)
"""A second."""

OUTAGE = scaled(5, 2)
"""Seconds."""

SETTINGS: dict[str, Any] = {"LEASE_RENEW": "1", "LEASE_TTL": "10", "SHUTDOWN_GRACE": "2"}

Trouble = Callable[[Cluster, Server], Awaitable[None]]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(*getattr(request, "param", ()))
    yield made
    made.stop()


async def under_way(cluster: Cluster) -> None:
    """Until messages arrive, so that the trouble comes upon some of them."""
    already = cluster.total()["messages"]
    await cluster.until("more messages", lambda: cluster.total()["messages"] > already + 200)


async def links_are_cut(cluster: Cluster, server: Server) -> None:
    """(a) The pub/sub connections of both nodes, again and again."""
    async with Redis.from_url(server.url) as redis:
        while True:
            await asyncio.sleep(0.3)  # how often
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def redis_is_frozen(cluster: Cluster, server: Server) -> None:
    """(b) It is stopped, and continued."""
    await under_way(cluster)
    server.freeze()
    await asyncio.sleep(OUTAGE)  # it is away for so long
    server.thaw()


async def redis_is_restarted(cluster: Cluster, server: Server) -> None:
    """(c) kill -9, and a start with what it had acknowledged."""
    await under_way(cluster)
    server.kill()
    await asyncio.sleep(0.5)  # it is away for so long
    await asyncio.to_thread(server.start)


async def clients_wander(cluster: Cluster, server: Server) -> None:
    """(e) Sessions drop their socket and come back at the other node."""
    while True:
        await asyncio.sleep(0.02)  # how often
        await random.choice(cluster.listeners).move()


async def a_node_dies(cluster: Cluster, server: Server) -> None:
    """(f) kill -9; its sessions come back at the other."""
    await under_way(cluster)
    cluster.nodes[1].kill()


DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.mark.timeout(scaled(600, 120))
@pytest.mark.parametrize(
    ("trouble", "server"),
    [
        (links_are_cut, ()),
        (redis_is_frozen, ()),
        (redis_is_restarted, DURABLE),
        (clients_wander, ()),
        (a_node_dies, ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
    indirect=["server"],
)
async def test_every_message_comes_once_and_in_order(
    trouble: Trouble, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    durability = "always" if server.options == DURABLE else "usual"
    async with cluster(
        tmp_path, server.url, users=USERS, REDIS_DURABILITY=durability, **SETTINGS
    ) as audience:
        await endure(audience, server, trouble, capsys)
        total = audience.total()
        per_user = {user: offset for user, (_, offset) in audience.heads.items()}
        assert sum(per_user.values()) == MESSAGES
        short = [one for one in audience.listeners if len(one.seen) != per_user[one.user]]
        assert short == [], f"{len(short)} sessions miss messages"
    assert (total["gaps"], total["doubled"], total["reset"], total["not recovered"]) == (0, 0, 0, 0)
    if trouble in (links_are_cut, redis_is_frozen, redis_is_restarted):
        assert total["connections lost"] == 0, "sockets stay while Redis is away"


async def redis_forgets(cluster: Cluster, server: Server) -> None:
    """(d) It is restarted empty."""
    await under_way(cluster)
    server.kill()
    await asyncio.sleep(0.3)  # it is away for so long
    await asyncio.to_thread(server.start)


@pytest.mark.timeout(scaled(600, 120))
async def test_what_redis_forgot_is_said_to_everybody(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with cluster(tmp_path, server.url, users=USERS, **SETTINGS) as audience:
        await endure(audience, server, redis_forgets, capsys)
        silent = [one for one in audience.listeners if not one.told]
        assert silent == [], f"{len(silent)} sessions were told nothing"
        total = audience.total()
    assert (total["gaps"], total["doubled"], total["connections lost"]) == (0, 0, 0)


@dataclass
class Pair:
    """A master, its replica, and a sentinel that knows both."""

    master: Server
    replica: Server
    sentinel: Sentinel


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    options = getattr(request, "param", ())
    master = Server(*options)
    replica = Server("--replicaof", "127.0.0.1", str(master.port), *options)
    sentinel = Sentinel(master)
    made = Pair(master, replica, sentinel)
    wait_for(lambda: b"slaves=1" in sentinel.ask(b"INFO sentinel"), "the sentinel to know both")
    yield made
    for server in (sentinel, replica, master):
        server.stop()


@pytest.mark.timeout(scaled(600, 120))
async def test_a_fail_over_to_a_replica_that_lags_is_said_to_everybody(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with cluster(tmp_path, pair.sentinel.url, users=USERS, **SETTINGS) as audience:
        await endure(audience, pair.master, fails_over_to_a_lagging_replica(pair), capsys)
        silent = [one for one in audience.listeners if not one.told]
        assert silent == [], f"{len(silent)} sessions were told nothing"
        total = audience.total()
    assert (total["gaps"], total["doubled"], total["connections lost"]) == (0, 0, 0)


def fails_over_to_a_lagging_replica(pair: Pair) -> Trouble:
    async def fails_over(cluster: Cluster, _: Server) -> None:
        """(d) What is published while the replica hangs is lost with the master."""
        await under_way(cluster)
        pair.replica.freeze()
        pair.master.ask(b"CLIENT KILL TYPE replica")  # or the kernel would keep it for the replica
        await under_way(cluster)  # these are lost
        pair.master.kill()
        pair.replica.thaw()

    return fails_over


@pytest.mark.timeout(scaled(600, 120))
@pytest.mark.parametrize("pair", [DURABLE], indirect=True, ids=["durable"])
async def test_a_fail_over_that_loses_what_was_acknowledged_passes_nobody_over(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under `REDIS_DURABILITY=always` epochs stay, so that only who had been told more can know."""
    environment = {**SETTINGS, "REDIS_DURABILITY": "always"}
    async with cluster(tmp_path, pair.sentinel.url, users=USERS, **environment) as audience:
        await endure(audience, pair.master, fails_over_to_a_lagging_replica(pair), capsys)
        assert audience.passed_over() == []
        assert any(one.told for one in audience.listeners), "something was lost"
        total = audience.total()
    assert (total["gaps"], total["doubled"]) == (0, 0)


async def endure(
    audience: Cluster, server: Server, trouble: Trouble, capsys: pytest.CaptureFixture[str]
) -> None:
    """Publish while it happens; returns when everybody is at the end of its stream."""
    troubling = asyncio.ensure_future(trouble(audience, server))
    await audience.publish(MESSAGES, RATE)
    if trouble in (links_are_cut, clients_wander):
        troubling.cancel()
        await asyncio.wait({troubling})
    else:
        await troubling
    await audience.until("all at the head", lambda: not audience.behind())
    with capsys.disabled():
        counts = ", ".join(f"{name} {count}" for name, count in sorted(audience.total().items()))
        sys.stdout.write(
            f"\n{trouble.__name__}: {MESSAGES} messages to {USERS} users, "
            f"{len(audience.listeners)} sessions: {counts}; calls repeated {audience.repeated}\n"
        )
