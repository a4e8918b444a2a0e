"""Streams on a real server: what the contract suite cannot show with a moved clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from sockets.base.ids import new_id
from sockets.delivery.compose import batch_keys
from sockets.exceptions import GatewayUnavailable
from sockets.redis import BATCH, Keys, connect
from sockets.streams.base import Appended, NewEntry
from sockets.streams.redis import RedisStreams, StreamCalls
from sockets.types import Position
from tests.support.valkey import Server, shared

SETTINGS: dict[str, Any] = {"size": 5, "ttl": 100.0, "record_ttl": 1_000.0, "idempotency_ttl": 50.0}


@pytest.fixture
async def client() -> AsyncIterator[Redis]:
    made = connect(shared().url)
    yield made
    await made.aclose()


@pytest.fixture
def keys() -> Keys:
    return Keys(f"t{new_id()}")


@pytest.fixture
def streams(client: Redis, keys: Keys) -> RedisStreams:
    return RedisStreams(client, StreamCalls(keys, **SETTINGS))


@asynccontextmanager
async def at(server: Server, *, durable: bool = False, **patience: float) -> AsyncIterator[Any]:
    """A client and the streams of a server of the test's own."""
    client = connect(server.url, **patience)
    try:
        yield client, RedisStreams(client, StreamCalls(Keys("gw"), **SETTINGS, durable=durable))
    finally:
        await client.aclose()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own, to be killed and frozen; it keeps what it has on disk."""
    made = Server("--appendonly", "yes", "--appendfsync", "always")
    yield made
    made.stop()


def entry(id: str = "", **given: str) -> NewEntry:
    id = id or new_id()
    return NewEntry(id, json.dumps({"id": id, "data": 1}).encode(), **given)  # type: ignore[arg-type]


async def after(streams: RedisStreams, position: Position) -> list[int]:
    page = await streams.read("u", position, 100)
    assert page.epoch == position.epoch
    return [one.offset for one in page.entries]


async def test_time_is_the_servers_own(streams: RedisStreams, client: Redis, keys: Keys) -> None:
    await streams.append("u", entry())
    (stored,) = await client.zrange(keys.user("u", "stream"), 0, -1)
    seconds, micros = await client.time()
    assert 0 <= seconds + micros / 1e6 - json.loads(stored)["at"] < 60


async def test_an_entry_is_json_for_any_language(
    streams: RedisStreams, client: Redis, keys: Keys
) -> None:
    sent = entry("m", collapse_key='k"}', exclude_client="c")
    await streams.append("u", sent)
    ((stored, score),) = await client.zrange(keys.user("u", "stream"), 0, -1, withscores=True)
    told = json.loads(stored)
    assert (told["id"], told["data"], told["offset"], score) == ("m", 1, 1, 1.0)
    assert (told["collapse_key"], told["exclude_client"]) == ('k"}', "c")
    page = await streams.read("u", Position((await streams.head("u")).epoch, 0), 10)
    assert page.entries[0].body == sent.body


async def test_everything_ends_by_itself(streams: RedisStreams, client: Redis, keys: Keys) -> None:
    await streams.append("u", entry("m", collapse_key="k", idempotency_key="i"))
    ends = {}
    async for key in client.scan_iter(f"{keys.user('u', '')}*"):
        ends[key.decode().removeprefix(keys.user("u", ""))] = await client.ttl(key)
    assert {name: 0 < end <= 1_000 for name, end in ends.items()} == dict.fromkeys(
        ["meta", "stream", "collapse", "idem:m", "idem:i"], True
    )
    assert ends["idem:m"] <= 50 and 100 < ends["stream"] <= 160


async def test_entries_that_are_gone_are_not_taken_for_told(
    streams: RedisStreams, client: Redis, keys: Keys
) -> None:
    """They ended with their key, or somebody deleted it."""
    done = [await streams.append("u", entry()) for _ in range(3)]
    await client.delete(keys.user("u", "stream"))
    page = await streams.read("u", done[0].position, 10)
    assert (page.head, page.floor, page.entries) == (3, 3, ())
    assert (await streams.append("u", entry())).position.offset == 4


async def test_a_flushed_server_begins_a_new_epoch(server: Server) -> None:
    async with at(server) as (client, streams):
        before = (await streams.append("u", entry())).position
        await client.flushall()
        await client.script_flush()
        now = (await streams.append("u", entry())).position
        assert now.epoch != before.epoch and now.offset == 1


@pytest.mark.parametrize("durable", [False, True])
async def test_a_restarted_server_is_trusted_only_if_it_never_forgets(
    server: Server, durable: bool
) -> None:
    async with at(server, durable=durable) as (_, streams):
        before = (await streams.append("u", entry())).position
        server.kill()
        server.start()
        after = (await streams.append("u", entry())).position
        assert (after == Position(before.epoch, 2)) is durable
        assert (after.epoch != before.epoch and after.offset == 1) is not durable


async def test_offsets_have_no_holes_when_many_append_at_once(streams: RedisStreams) -> None:
    done = await asyncio.gather(*(streams.append("u", entry()) for _ in range(200)))
    assert sorted(one.position.offset for one in done) == list(range(1, 201))


async def test_of_many_calls_with_one_id_one_appends(streams: RedisStreams) -> None:
    same = entry("m")
    done = await asyncio.gather(*(streams.append("u", same) for _ in range(20)))
    assert sorted(one.duplicate for one in done) == [False] + [True] * 19
    assert {one.position.offset for one in done} == {1}


async def test_a_batch_of_many_users_is_in_order(streams: RedisStreams, client: Redis) -> None:
    await client.script_flush()  # the pipeline has to send the script itself
    users = [f"u{number % 700}" for number in range(2 * BATCH + 1)]
    done = await streams.append_many([(user, entry()) for user in users])
    assert [one.position.offset for one in done] == [1] * 700 + [2] * (len(users) - 700)
    heads = await streams.heads(users)
    assert len(heads) == 700
    assert heads["u0"] == done[700].position and heads["u699"].offset == 1


@pytest.mark.parametrize("user", ["}", "{}", "}{", "\\}", "a}b", "a}:idem:k", "한국", "a b/c%"])
async def test_any_user_id_has_keys_of_its_own_in_one_slot(keys: Keys, user: str) -> None:
    from redis.crc import key_slot

    names = [keys.user(user, name) for name in ("meta", "stream")]
    names.append(keys.receipt(user, "k}:stream"))
    assert len({key_slot(name.encode()) for name in names}) == 1
    assert keys.user(user, "meta") != keys.user("a", "idem:k}:stream")
    assert keys.receipt("a", "k}:stream") != keys.user("a}:idem:k", "stream")
    assert keys.user("}", "x") != keys.user("\\}", "x")


# --- the server away


async def test_what_surely_was_not_done_is_told_so(server: Server) -> None:
    async with at(server) as (_, streams):
        server.kill()
        with pytest.raises(GatewayUnavailable) as caught:
            await streams.append("u", entry("m"))
        assert (caught.value.outcome, caught.value.id) == ("nothing", "m")
        with pytest.raises(GatewayUnavailable):
            await streams.head("u")
        server.start()
        assert (await streams.append("u", entry("m"))).duplicate is False


async def test_repeating_an_unknown_append_never_doubles_it(server: Server) -> None:
    """The server takes the command and is frozen before it answers."""
    async with at(server, call_timeout=1.5) as (_, streams):
        epoch = (await streams.head("u")).epoch
        server.freeze()
        with pytest.raises(GatewayUnavailable) as caught:
            await streams.append("u", entry("m"))
        assert (caught.value.outcome, caught.value.id) == ("unknown", "m")
        server.thaw()
        done: Appended = await streams.append("u", entry("m"))
        assert done.position == Position(epoch, 1)
        assert await after(streams, Position(epoch, 0)) == [1]


async def test_a_server_that_refuses_is_told_in_our_words(server: Server) -> None:
    """Its own are for the log: strangers are told what `str` says."""
    async with at(server) as (client, streams):
        await client.config_set("maxmemory", "1")
        with pytest.raises(GatewayUnavailable, match=r"\ARedis is out of memory\Z") as caught:
            await streams.append("u", entry())
        assert caught.value.outcome == "nothing"
        assert "maxmemory" in caught.value.detail


# What append.lua of the version before does with receipts: KEYS are the receipts, ARGV the epoch,
# the id, the offset.
OF_BEFORE = """
local now = tonumber(redis.call('TIME')[1])
for i = 1, #KEYS do
  local receipt = redis.call('GET', KEYS[i])
  if receipt then
    local till, epoch, offset, id = string.match(receipt, '^(%S+) (%S+) (%S+) (.*)$')
    if tonumber(till) > now and epoch == ARGV[1] then return { id, tonumber(offset), 1 } end
  end
end
local receipt = string.format('%.6f %s %d %s', now + 50, ARGV[1], ARGV[3], ARGV[2])
for i = 1, #KEYS do redis.call('SET', KEYS[i], receipt, 'EX', 50) end
return { ARGV[2], tonumber(ARGV[3]), 0 }
"""

LONG = "k" * 255
BATCHES = [("job:0", "job", 0), (f"{LONG}:12"[-255:], LONG, 12)]


@pytest.fixture
def before(client: Redis, keys: Keys, streams: RedisStreams) -> Any:
    """A node of the version before sends a message with this key; whose id, and 1 if repeated."""

    async def append(key: str) -> tuple[str, int]:
        id, head = new_id(), await streams.head("u")
        receipts = [keys.receipt("u", id), keys.receipt("u", key)]
        args = (head.epoch, id, head.offset)
        answer = await client.eval(OF_BEFORE, 2, *receipts, *args)  # type: ignore[misc]
        return answer[0].decode(), answer[2]

    return append


async def appended(streams: RedisStreams, **given: str) -> tuple[str, int]:
    done = await streams.append("u", entry(**given))
    return done.id, int(done.duplicate)


@pytest.mark.parametrize(("name", "key", "place"), BATCHES)
async def test_a_batch_repeated_at_a_node_of_another_version_is_known(
    streams: RedisStreams, before: Any, name: str, key: str, place: int
) -> None:
    legacy, own = batch_keys(key, place)
    assert legacy == name
    first, _ = await appended(streams, idempotency_key=legacy, own_key=own)
    assert await before(name) == (first, 1)
    assert await appended(streams, idempotency_key=legacy, own_key=own) == (first, 1)


@pytest.mark.parametrize(("name", "key", "place"), BATCHES)
async def test_a_batch_of_a_node_of_the_version_before_is_known_here(
    streams: RedisStreams, before: Any, name: str, key: str, place: int
) -> None:
    legacy, own = batch_keys(key, place)
    first, _ = await before(name)
    assert await appended(streams, idempotency_key=legacy, own_key=own) == (first, 1)


async def test_single_keys_are_known_by_both_versions(streams: RedisStreams, before: Any) -> None:
    first, _ = await appended(streams, idempotency_key="a")
    assert await before("a") == (first, 1)
    first, _ = await before("b")
    assert await appended(streams, idempotency_key="b") == (first, 1)


async def test_what_is_written_for_the_version_before_takes_no_callers_receipt(
    streams: RedisStreams, before: Any
) -> None:
    legacy, own = batch_keys("job", 0)
    single, _ = await appended(streams, idempotency_key=legacy)
    batch, _ = await appended(streams, idempotency_key=legacy, own_key=own)
    assert single != batch
    assert await before(legacy) == (single, 1), "it was there first"
    assert await appended(streams, idempotency_key=legacy) == (single, 1)
    assert await appended(streams, idempotency_key=legacy, own_key=own) == (batch, 1)


async def test_no_name_of_a_receipt_is_anothers(keys: Keys) -> None:
    _, own = batch_keys("job", 0)
    assert keys.own_receipt("u", own) not in {
        keys.receipt("u", key) for key in ("job:0", own, f"own:{own}", f"}}:own:{own}")
    }
    assert len({batch_keys(f"{n}{'k' * 254}", 0)[1] for n in range(10)}) == 10, "keys count in full"
