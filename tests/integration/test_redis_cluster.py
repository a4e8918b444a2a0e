"""Streams, presence and tasks on a Redis Cluster of three nodes."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import RedisCluster

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.cluster.registry_redis import NodeCalls, RedisNodes
from sockets.exceptions import GatewayUnavailable
from sockets.presence.base import Limit, PartlyRenewed
from sockets.presence.redis import RedisPresence, SyncRedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys, connect, connect_sync, scripts
from sockets.redis.clients import _Node
from sockets.streams.base import NewEntry
from sockets.streams.redis import RedisStreams, StreamCalls, SyncRedisStreams
from sockets.tasks.redis import RedisTaskRecords
from sockets.types import Kind, Position, PresenceState, TaskState
from tests.support.doubles import begin_life, info, no_warmup, node_info, seat, task, until_told
from tests.support.gateway import wait_for
from tests.support.observed import Observed
from tests.support.valkey import Server

SETTINGS: dict[str, Any] = {
    "size": 100,
    "ttl": 100.0,
    "record_ttl": 1_000.0,
    "idempotency_ttl": 50.0,
}
USERS = [f"u{n}" for n in range(60)] + ["}", "kim@example.com", "🙂 {x}"]
"""Enough for every node to have some."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with cluster() as (url, _):
        yield url


@contextmanager
def cluster() -> Iterator[tuple[str, list[Server]]]:
    """Three masters; those that live answer for their slots when another is away."""
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
    options += ["--cluster-require-full-coverage", "no"]
    servers = [Server(*options) for _ in range(3)]
    slots = [(0, 5460), (5461, 10922), (10923, 16383)]
    clients = [SyncRedis(port=server.port) for server in servers]
    try:
        for client, (first, last) in zip(clients, slots, strict=True):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)

        def is_whole() -> bool:
            states = [client.execute_command("CLUSTER INFO") for client in clients]
            # Without full coverage each is well from the start, with its own slots alone.
            return all(
                (state["cluster_state"], state["cluster_slots_assigned"]) == ("ok", "16384")
                for state in states
            )

        wait_for(is_whole, "the cluster")
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        yield f"redis+cluster://{hosts}", servers
    finally:
        for client in clients:
            client.close()
        for server in servers:
            server.stop()


async def test_streams(url: str) -> None:
    client = connect(url)
    assert isinstance(cast(object, client), RedisCluster)
    streams = RedisStreams(client, StreamCalls(Keys(f"t{new_id()}"), **SETTINGS))
    try:
        entries = [(user, NewEntry(new_id(), b'{"n":1}', "k")) for user in USERS for _ in range(2)]
        done = await streams.append_many(entries)
        assert [one.position.offset for one in done] == [1, 2] * len(USERS)
        assert (await streams.append(*entries[-1])).duplicate
        heads = await streams.heads(USERS)
        assert {head.offset for head in heads.values()} == {2}
        for user in USERS:
            page = await streams.read(user, Position(heads[user].epoch, 0), 10)
            assert [entry.offset for entry in page.entries] == [2], "the other has collapsed"
    finally:
        await client.aclose()


def test_streams_for_threads(url: str) -> None:
    client = connect_sync(url)
    streams = SyncRedisStreams(client, StreamCalls(Keys(f"t{new_id()}"), **SETTINGS))
    done = streams.append_many([(user, NewEntry(new_id(), b"{}")) for user in USERS])
    assert {one.position.offset for one in done} == {1}
    assert streams.head(USERS[0]).offset == 1
    client.close()


async def test_presence_and_tasks(url: str) -> None:
    client, keys = connect(url), Keys(f"t{new_id()}")
    calls = PresenceCalls(keys, lease=30.0, grace=10.0, limit=Limit())
    presence = RedisPresence(client, calls, warm=no_warmup)
    records = RedisTaskRecords(
        client, keys, offer_ttl=10.0, grace=30.0, keep=100.0, history=5, seat_ttl=30.0
    )
    try:
        infos = [info(user) for user in USERS]
        for one in infos:
            assert (await presence.register(one)).replaced == ()
        assert (await presence.renew(infos)).fenced == ()
        answer = await presence.look_at(USERS)
        assert not answer.partial and all(one.online for one in answer.users.values())
        sync = connect_sync(url)
        counts = await asyncio.to_thread(
            SyncRedisPresence(sync, calls, warm=lambda: 0.0).counts, USERS
        )
        sync.close()
        assert counts == [1] * len(USERS)
        await records.take_seat(seat())
        offer = await records.offer(task(), ())
        assert offer is not None
        begun = await records.accept(offer.task.id, offer.id, offer.seat.worker)
        assert begun is not None and begun.state is TaskState.RUNNING
    finally:
        await client.aclose()


async def test_the_registry_of_nodes(url: str) -> None:
    client, keys = connect(url), Keys(f"t{new_id()}")
    nodes = RedisNodes(client, NodeCalls(keys, lease=2.0, warmup=1.0))
    try:
        for name in "ab":
            await begin_life(nodes, node_info(name))
            await nodes.add_users(f"{name}:1", Kind.CLIENT, USERS)
        assert [info.name for info in await nodes.all()] == ["a", "b"]

        async def all_are_dead() -> bool:
            return not await nodes.all()

        await until_told(all_are_dead)
        claimed = {info.name for info in [await nodes.claim(), await nodes.claim()] if info}
        assert claimed == {"a", "b"}
        assert set(await nodes.users_of("a:1", Kind.CLIENT, 100)) == set(USERS)
        await nodes.remove_users("a:1", Kind.CLIENT, USERS)
        assert await nodes.count_users("a:1", Kind.CLIENT) == 0
    finally:
        await client.aclose()


async def test_a_shard_that_refuses_writes_keeps_no_other_from_renewing() -> None:
    with cluster() as (url, servers):
        client, keys = connect(url), Keys(f"t{new_id()}")
        calls = PresenceCalls(keys, lease=2.5, grace=0.0, limit=Limit())
        presence = RedisPresence(client, calls, warm=no_warmup)
        full = SyncRedis(port=servers[0].port)
        try:
            infos = [info(user) for user in USERS]
            for one in infos:
                await presence.register(one)
            full.config_set("maxmemory", 1)
            place = cast(Any, client).get_node_from_key  # of a cluster
            refused = {user for user in USERS if place(_key(keys, user)).port == servers[0].port}
            assert 0 < len(refused) < len(USERS)
            deadline = asyncio.get_running_loop().time() + 3.0
            while asyncio.get_running_loop().time() < deadline:
                with pytest.raises(PartlyRenewed) as caught:
                    await presence.renew(infos)
                assert caught.value.effects.fenced == ()
                await asyncio.sleep(0.2)
            answer = await presence.look_at(USERS)
            assert {user for user, one in answer.users.items() if one.online} == {
                user for user in USERS if user not in refused
            }
            settled = await presence.settle(USERS)
            assert set(settled).isdisjoint(refused) and len(settled) == len(USERS) - len(refused)
            full.config_set("maxmemory", 0)
            assert (await presence.renew(infos)).fenced == ()
            assert all(one.online for one in (await presence.look_at(USERS)).users.values())
        finally:
            full.close()
            await client.aclose()


def _key(keys: Keys, user: str) -> str:
    return keys.user(user, "sessions")


async def test_when_a_shard_is_away_the_answer_says_so() -> None:
    with cluster() as (url, servers):
        client, keys = connect(url), Keys(f"t{new_id()}")
        calls = PresenceCalls(keys, lease=30.0, grace=10.0, limit=Limit())
        presence = RedisPresence(client, calls, warm=no_warmup)
        sync = connect_sync(url)
        for_threads = SyncRedisPresence(sync, calls, warm=lambda: 0.0)
        try:
            for user in USERS:
                await presence.register(info(user))
            servers[1].kill()
            for answer in (
                await presence.look_at(USERS),
                await asyncio.to_thread(for_threads.look_at, USERS),
            ):
                states = Counter(one.state for one in answer.users.values())
                assert answer.partial and set(answer.users) == set(USERS)
                assert states.keys() == {PresenceState.CONNECTED, PresenceState.UNKNOWN}
            for server in servers:
                server.kill()
            with pytest.raises(GatewayUnavailable):
                await presence.look_at(USERS)
        finally:
            sync.close()
            await client.aclose()
            del client, presence
            gc.collect()


async def test_a_shard_that_says_nothing_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever asks has waited long enough; and the leases of all other shards wait as well."""
    with cluster() as (url, servers):
        client = connect(url, call_timeout=1.0)
        of_threads = connect_sync(url, call_timeout=1.0)
        calls = StreamCalls(Keys("gw"), **SETTINGS)
        streams, sync = RedisStreams(client, calls), SyncRedisStreams(of_threads, calls)

        def one() -> tuple[str, NewEntry]:
            return "u0", NewEntry(new_id(), b"{}")

        await streams.append(*one())  # the script and the slots are known
        await asyncio.to_thread(sync.append, *one())
        attempts: Counter[str] = Counter()
        for found in (client, of_threads):
            execute = found._execute_command  # type: ignore[union-attr]

            def counted(node: Any, *args: Any, execute: Any = execute, **options: Any) -> Any:
                attempts[type(node).__module__] += args[0] == "EVALSHA"
                return execute(node, *args, **options)

            monkeypatch.setattr(found, "_execute_command", counted)
        port = client.get_node_from_key("gw:{u0}:meta").port  # type: ignore[attr-defined]
        (silent,) = [server for server in servers if server.port == port]
        silent.freeze()
        timed = Observed(metrics.redis_call)
        for asked in (streams.append(*one()), asyncio.to_thread(sync.append, *one())):
            with pytest.raises(GatewayUnavailable) as caught:
                await asked
            assert caught.value.outcome == "unknown"
        assert list(attempts.values()) == [1, 1]
        assert timed.count == 1 and timed.sum >= 1.0, "the loop's, until it was given up"
        # Of all, batch after batch, and once in a while again.
        attempts.clear()
        for _ in range(3):
            heads = await streams.heads(USERS)
            assert "u0" not in heads and heads
        others = 3 * len(heads)
        assert attempts[_Node.__module__] == others + 1
        given = len(servers) - 1  # that did not know the script, and were asked again with it
        # Of the silent one nothing was asked again: it did not answer who connected.
        assert timed.count == 1 + others + given
        silent.thaw()
        monkeypatch.setattr(scripts, "_silent", WeakKeyDictionary())
        assert set(await streams.heads(USERS)) == set(USERS)
        await client.aclose()
        of_threads.close()
