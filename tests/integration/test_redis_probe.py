"""Whether Redis does its work is tried with what that work needs, on every shard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from importlib.resources import files
from typing import Any

import pytest
from redis import Redis as SyncRedis

from sockets.exceptions import GatewayUnavailable
from sockets.redis import Keys, close, connect
from sockets.redis.errors import AWAY, FULL, REPLICA, RIGHTS, SILENT
from sockets.redis.probe import APPEND_ONLY, EVICTION, UNPUBLISHED, RedisProbe
from sockets.types import Promises, Shards
from tests.integration.test_redis_cluster import cluster
from tests.support.valkey import Server


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def admin(server: Server) -> Iterator[SyncRedis]:
    client = SyncRedis(port=server.port)
    yield client
    client.close()


def probe_of(client: Any, *, channel: str = "asgi__probe__", durable: bool = False) -> RedisProbe:
    return RedisProbe(client, Keys("gw"), channel=channel, durable=durable)


@pytest.fixture
async def probe(server: Server) -> AsyncIterator[RedisProbe]:
    client = connect(server.url)
    yield probe_of(client)
    await close(client)


def test_every_command_of_every_script_is_tried() -> None:
    """Else a right that is missing would be found by the first user who needs it."""
    used: set[str] = set()
    for room in ("streams", "presence", "cluster", "tasks", "redis"):
        for file in (files(f"sockets.{room}") / "lua").iterdir():
            found = re.findall(r"redis\.p?call\(\s*'(\w+)'", file.read_text("utf-8"))
            if file.name == "probe.lua":
                tried = set(found)
            else:
                used |= set(found)
    assert used - tried == set()


async def test_a_probe_leaves_nothing(probe: RedisProbe, admin: SyncRedis) -> None:
    assert await probe.shards() == Shards()
    assert admin.keys() == []


async def test_a_probe_is_heard_by_nobody(probe: RedisProbe, admin: SyncRedis) -> None:
    listener = admin.pubsub()
    listener.psubscribe("asgi__group__*", "asgi__canary__*")
    for _ in range(2):
        listener.get_message(timeout=20)
    await probe.shards()
    assert listener.get_message(timeout=0.2) is None
    listener.close()


async def test_no_id_can_name_the_key_of_a_probe() -> None:
    keys = Keys("gw")
    for id in (r"\probe-0", "probe-0", r"\\probe-0", "}probe-0", "gw:nodes"):
        assert keys.user(id, "probe") != keys.probe(0)


def forbid(command: str, admin: SyncRedis, _: Server) -> None:
    admin.acl_setuser(
        "default",
        enabled=True,
        nopass=True,
        keys=["*"],
        channels=["*"],
        commands=["+@all", f"-{command}"],
    )


TROUBLES: dict[str, tuple[Callable[[SyncRedis, Server], Any], str]] = {
    "no memory": (lambda admin, _: admin.config_set("maxmemory", "1"), FULL),
    "a replica": (lambda admin, _: admin.replicaof("127.0.0.1", "1"), REPLICA),
    "gone": (lambda _, server: server.kill(), f"({AWAY}|{SILENT})"),
    **{
        f"no {command}": (
            partial(forbid, command),
            words,
        )
        for command, words in [
            ("zadd", RIGHTS),
            ("set", RIGHTS),
            ("sadd", RIGHTS),
            ("evalsha", RIGHTS),
            ("publish", UNPUBLISHED),
        ]
    },
}


@pytest.mark.parametrize("kind", TROUBLES)
async def test_what_would_fail_fails(
    probe: RedisProbe, admin: SyncRedis, server: Server, kind: str
) -> None:
    await probe.shards()
    trouble, words = TROUBLES[kind]
    trouble(admin, server)
    with pytest.raises(GatewayUnavailable, match=rf"\A{words}\Z"):
        await probe.shards()


async def test_of_a_cluster_each_shard_is_tried() -> None:
    with cluster() as (url, servers):
        client = connect(url)
        try:
            probe = probe_of(client)
            assert await probe.shards() == Shards(3, 0)
            admins = [SyncRedis(port=server.port) for server in servers]
            registry = client.get_node_from_key("gw:nodes").port  # type: ignore[attr-defined]
            order = sorted(zip(admins, servers, strict=True), key=lambda p: p[1].port == registry)
            for refusing, (admin, _) in enumerate(order[:2], start=1):
                admin.config_set("maxmemory", "1")
                assert await probe.shards() == Shards(3, refusing)
            order[0][0].config_set("maxmemory", "0")
            order[2][0].config_set("maxmemory", "1")
            with pytest.raises(GatewayUnavailable, match=FULL):
                await probe.shards()  # the registry's
            for admin in admins:
                assert admin.dbsize() == 0
                admin.close()
        finally:
            await close(client)


# --- the server's set-up


async def test_what_breaks_a_promise_is_found_while_it_runs(
    server: Server, admin: SyncRedis
) -> None:
    client = connect(server.url)
    try:
        assert await probe_of(client).promises() == Promises()
        admin.config_set("maxmemory-policy", "allkeys-lru")
        found = await probe_of(client, durable=True).promises()
        assert set(found.broken) == {EVICTION, APPEND_ONLY}
    finally:
        await close(client)


async def test_what_cannot_be_looked_at_is_no_failure(server: Server, admin: SyncRedis) -> None:
    admin.acl_setuser(
        "app", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config", "-info"]
    )
    client = connect(f"redis://app:x@127.0.0.1:{server.port}/0")
    try:
        found = await probe_of(client, durable=True).promises()
        assert (found.broken, set(found.unknown)) == ({}, {"INFO", "CONFIG GET"})
    finally:
        await close(client)
