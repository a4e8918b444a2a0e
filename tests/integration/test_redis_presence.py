"""Presence in Redis as other languages see it, and what happens to the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from sockets.base.ids import new_id
from sockets.presence.base import Limit
from sockets.presence.redis import RedisPresence, SyncRedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys, close, connect, connect_sync
from sockets.types import Kind, Position, PresenceChange, SessionInfo
from tests.support.doubles import info, no_warmup, until_told
from tests.support.patience import PATIENCE
from tests.support.valkey import answer, shared


@pytest.fixture
def namespace() -> str:
    return f"t{new_id()}"


@pytest.fixture
async def client() -> AsyncIterator[Redis]:
    made = connect(shared().url)
    yield made
    await close(made)


@pytest.fixture
def presence(client: Redis, namespace: str) -> RedisPresence:
    return RedisPresence(client, calls(namespace), warm=no_warmup)


def calls(namespace: str, lease: float = 30.0, grace: float = 10.0) -> PresenceCalls:
    return PresenceCalls(Keys(namespace), lease=lease, grace=grace, limit=Limit())


async def test_the_keys_are_those_of_the_protocol(
    presence: RedisPresence, client: Redis, namespace: str
) -> None:
    user = "kim@example.com"
    key = f"{namespace}:{{{user}}}"
    assert await client.exists(f"{key}:sessions") == 0
    one = info(user, node="a", agent="Firefox")
    await presence.register(one)
    await presence.renew([replace(one, acked=Position("e", 7), acked_at=5.0)])
    assert await client.exists(f"{key}:sessions") == 1
    [(session, end)] = await client.zrange(f"{key}:sessions", 0, -1, withscores=True)
    seconds, _ = await client.time()
    assert session.decode() == one.id and 25 < end - seconds <= 31
    told = json.loads(await answer(client.hget(f"{key}:info", one.id)) or b"")
    assert (told["client_id"], told["node"], told["agent"]) == (one.client_id, "a", "Firefox")
    assert told["acked"] == {"epoch": "e", "offset": 7} and told["acked_at"] == 5.0
    assert await answer(client.hget(f"{key}:clients", one.client_id)) == one.id.encode()
    assert 25_000 < await client.pttl(f"{key}:sessions") <= 31_000
    for part in ("info", "clients"):  # until somebody has told how they ended
        assert 620_000 < await client.pttl(f"{key}:{part}") <= 631_000
    await presence.release(one)
    state = await client.hgetall(f"{key}:state")  # type: ignore[misc]
    assert state[b"state"] == b"grace" and float(state[b"grace_end"]) <= seconds + 25
    assert 29 * 24 * 3600 < await client.ttl(f"{key}:state") <= 30 * 24 * 3600
    assert await client.keys(f"{namespace}:*") == [f"{key}:state".encode()]


async def test_a_lease_ends_by_itself(client: Redis, namespace: str) -> None:
    presence = RedisPresence(client, calls(namespace, lease=1.5), warm=no_warmup)
    await presence.register(info("42"))
    assert await presence.is_online("42")

    async def is_offline() -> bool:
        return not await presence.is_online("42")

    async def key_has_ended() -> bool:
        return not await client.exists(f"{namespace}:{{42}}:sessions")

    await until_told(is_offline)
    await until_told(key_has_ended)


async def seconds_of(client: Redis) -> float:
    """The server's time."""
    seconds, micros = await client.time()
    return float(seconds + micros / 1e6)


async def test_who_was_lost_is_known_when_the_key_has_ended(client: Redis, namespace: str) -> None:
    presence = RedisPresence(client, calls(namespace, lease=0.2), warm=no_warmup)
    one = info("42")
    before = await seconds_of(client)
    await presence.register(one, "a:1")
    after = await seconds_of(client)

    async def key_has_ended() -> bool:
        return not await client.exists(f"{namespace}:{{42}}:sessions")

    await until_told(key_has_ended)
    settled = (await presence.settle(["42"], "a:1"))["42"]
    assert settled.lost == (one,)
    assert [change.online for change in settled.changes] == [True, False]
    last_seen = (await presence.look("42")).last_seen
    assert last_seen is not None
    assert before - 0.01 <= last_seen <= after + 0.01, "when it was registered"
    assert not await client.exists(f"{namespace}:{{42}}:info")


async def test_a_server_that_forgot_is_told_at_the_next_renewal(
    presence: RedisPresence, client: Redis, namespace: str
) -> None:
    one = info("42")
    await presence.register(one)
    await client.delete(*await client.keys(f"{namespace}:*"))
    assert not await presence.is_online("42")
    assert (await presence.renew([one])).fenced == ()
    assert [found.id for found in await presence.sessions_of("42")] == [one.id]


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"node": 5}', b"\xff"])
async def test_what_somebody_else_wrote_breaks_nothing(
    presence: RedisPresence,
    client: Redis,
    namespace: str,
    broken: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, other = info("42"), info("42")
    for session in (one, other):
        await presence.register(session)
    await answer(client.execute_command("HSET", f"{namespace}:{{42}}:info", one.id, broken))
    assert [found.id for found in await presence.sessions_of("42")] == [other.id]
    assert one.id in caplog.text
    await presence.renew([other])
    await presence.release(one)
    assert await presence.is_online("42")


async def test_a_worker_and_a_user_of_one_name_do_not_mix(presence: RedisPresence) -> None:
    name, client_id = "same", new_id()
    user = info(name, client_id=client_id)
    worker = info(name, client_id=client_id, kind=Kind.WORKER)
    assert (await presence.register(user)).replaced == ()
    assert (await presence.register(worker)).replaced == ()
    await presence.release(user)
    assert not await presence.is_online(name)
    assert (await presence.renew([worker])).fenced == ()


@pytest.mark.parametrize("user", ["}", "\\", "}{", "a}b", " ", "🙂", "x" * 1024, "{sessions}"])
async def test_any_user_id(presence: RedisPresence, user: str) -> None:
    one = info(user)
    await presence.register(one)
    assert await presence.sessions_of(user) == [one]


async def test_of_two_at_once_one_is_replaced(presence: RedisPresence) -> None:
    client_id = new_id()
    many = [info("42", client_id=client_id) for _ in range(20)]
    replaced = await asyncio.gather(*map(presence.register, many))
    assert sorted(len(one.replaced) for one in replaced) == [0] + [1] * 19
    assert len(await presence.sessions_of("42")) == 1


async def test_threads_ask_for_many(presence: RedisPresence, namespace: str) -> None:
    await presence.register(info("7"))
    client = connect_sync(shared().url)
    sync = SyncRedisPresence(client, calls(namespace), warm=lambda: 0.0)
    users = [str(n) for n in range(1_200)]
    counts = await asyncio.to_thread(sync.counts, users)
    assert counts == [int(user == "7") for user in users]
    assert await asyncio.to_thread(sync.is_online, "7")
    assert [one.user for one in await asyncio.to_thread(sync.sessions_of, "7")] == ["7"]
    client.close()


# --- a store that goes back in time


async def image(client: Redis, namespace: str) -> dict[bytes, bytes]:
    return {key: await client.dump(key) async for key in client.scan_iter(f"{namespace}:*")}


async def set_back(client: Redis, namespace: str, before: dict[bytes, bytes]) -> None:
    async for key in client.scan_iter(f"{namespace}:*"):
        await client.delete(key)
    for key, value in before.items():
        await client.restore(key, 0, value)


async def test_a_live_session_keeps_its_client_id_from_one_that_it_had_replaced(
    presence: RedisPresence, client: Redis, namespace: str
) -> None:
    """4503 would end a client for good."""
    old = info("42", node="a", connected_at=100.0)
    new = replace(old, id=new_id(), node="b", connected_at=200.0)
    await presence.register(old)
    before = await image(client, namespace)
    assert (await presence.register(new)).replaced
    await set_back(client, namespace, before)
    assert (await presence.renew([new])).fenced == ()
    assert [one.id for one in await presence.sessions_of("42")] == [new.id]
    (fenced,) = (await presence.renew([old])).fenced
    assert (fenced.session, fenced.code) == (old.id, 4503)


async def test_no_generation_comes_twice(client: Redis, namespace: str) -> None:
    presence = RedisPresence(client, calls(namespace, grace=0.05), warm=no_warmup)

    async def goes(one: SessionInfo) -> tuple[PresenceChange, ...]:
        await presence.release(one, "n")
        async with asyncio.timeout(PATIENCE):
            while (effects := (await presence.settle(["42"], "n"))["42"]).wait is not None:  # noqa: ASYNC110
                await asyncio.sleep(effects.wait)
        return effects.changes

    first, second = info("42"), info("42")
    told = list((await presence.register(first, "n")).effects.changes)
    await presence.announced(told)
    before = await image(client, namespace)
    told += await goes(first)
    told += (await presence.register(second, "n")).effects.changes
    await set_back(client, namespace, before)
    told += await goes(first)
    generations = {change.generation for change in told}
    states = {(change.generation, change.online, change.at) for change in told}
    assert len(generations) == len(states) == 4


async def test_a_shard_whose_clock_is_ahead_decides_all_the_same(presence: RedisPresence) -> None:
    """Of a Cluster: the time until which it may decide is that of the registry's shard."""
    one = info("42")
    await presence.register(one, "a:1")
    await presence.release(one, "a:1")
    seconds, _ = await presence._client.time()
    settled = await presence.settle(["42"], "a:1", until=seconds - 100.0)
    assert settled["42"].wait is not None and settled["42"].wait < 13, (
        "of the grace, not of a lease"
    )
