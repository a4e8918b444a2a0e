"""A store that goes back in time: who had been told more notices, and nobody is passed over."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from sockets.base.ids import new_id
from sockets.protocol.recovery import recoverable
from sockets.redis import Keys, close, connect
from sockets.streams.base import NewEntry
from sockets.streams.known import LATE, MEMORY, Known, KnownPositions, Latest, mark_of, newest
from sockets.streams.redis import RedisStreams, StreamCalls
from sockets.types import Position
from tests.integration.test_redis_cluster import cluster
from tests.integration.test_redis_streams import SETTINGS
from tests.support.doubles import MovedClock
from tests.support.valkey import Server, answer

KEYS = Keys("gw")
PARTS = ("meta", "stream", "collapse", "expiring")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server("--appendonly", "yes", "--appendfsync", "always")
    yield made
    made.stop()


@pytest.fixture(params=[True, False], ids=["durable", "not durable"])
async def made(
    request: pytest.FixtureRequest, server: Server
) -> AsyncIterator[tuple[Redis, Callable[[], RedisStreams]]]:
    """A client of an empty server, and what makes another process' streams on it."""
    client = connect(server.url)
    await client.flushall()
    yield client, lambda: node(client, durable=request.param)
    await close(client)


def node(client: Redis, *, durable: bool = True, **options: Any) -> RedisStreams:
    options = {**SETTINGS, "size": 100, **options}
    return RedisStreams(client, StreamCalls(KEYS, **options, durable=durable))


def entry(**given: Any) -> NewEntry:
    id = new_id()
    return NewEntry(id, json.dumps({"id": id}, separators=(",", ":")).encode(), **given)


async def append(streams: RedisStreams, count: int, user: str = "u") -> Position:
    for _ in range(count):
        done = await streams.append(user, entry())
    return done.position


async def image(client: Redis, user: str = "u") -> dict[str, bytes | None]:
    return {part: await client.dump(KEYS.user(user, part)) for part in PARTS}


async def set_back(client: Redis, before: dict[str, bytes | None], user: str = "u") -> None:
    """What an older append-only file, or a replica that lagged, does to this user."""
    for part, value in before.items():
        await client.delete(KEYS.user(user, part))
        if value is not None:
            await client.restore(KEYS.user(user, part), 0, value)


Made = tuple[Redis, Callable[[], RedisStreams]]


async def test_an_append_of_who_had_been_told_more_begins_a_new_epoch(made: Made) -> None:
    """Nobody has to be connected for that."""
    client, process = made
    streams = process()
    await append(streams, 3)
    before = await image(client)
    told = await append(streams, 2)
    await set_back(client, before)
    again = await append(streams, 1)
    assert (again.epoch != told.epoch, again.offset) == (True, 4)
    assert await answer(client.hget(KEYS.user("u", "meta"), "epoch")) == again.epoch.encode()
    # What the store still had is there, under its new name.
    page = await process().read("u", Position(again.epoch, 0), 100)
    assert [one.offset for one in page.entries] == [1, 2, 3, 4]


async def test_a_position_of_before_stays_lost_when_the_head_has_passed_it(made: Made) -> None:
    client, process = made
    streams = process()
    await append(streams, 3)
    before = await image(client)
    told = await append(streams, 2)
    await set_back(client, before)
    await append(streams, 9)
    page = await process().follow("u", told, 100, Known(told))
    assert not recoverable(told, page)


async def test_who_returns_with_more_than_the_store_has_makes_it_known(made: Made) -> None:
    """At a process that knew nothing; and it stays so for the next one who returns."""
    client, process = made
    await append(process(), 3)
    before = await image(client)
    streams = process()
    told = await append(streams, 2)
    await set_back(client, before)
    page = await process().follow("u", told, 100, Known(told))
    assert not recoverable(told, page)
    await append(process(), 9)
    later = await process().follow("u", told, 100, Known(told))
    assert not recoverable(told, later) and later.epoch == page.epoch


async def test_a_head_that_has_passed_is_known_by_the_message_that_was_there(made: Made) -> None:
    """By others, while this process was not looking."""
    client, process = made
    await append(process(), 1)
    before = await image(client)
    mine = process()
    last = entry()
    told = (await mine.append("u", last)).position
    await set_back(client, before)
    await append(process(), 3)
    assert (await process().read("u", None, 0)).epoch == told.epoch, "the others saw nothing"
    assert (await mine.heads(["u"]))["u"].epoch != told.epoch
    # And where the message at that offset is the same, it is no fault.
    epoch = (await mine.heads(["u"]))["u"].epoch
    assert (await append(mine, 1)).epoch == epoch
    assert (await mine.heads(["u"]))["u"].epoch == epoch


async def test_a_newcomer_knows_the_message_at_the_head(made: Made) -> None:
    """Nothing is read by whoever connects without a position, or with the newest one."""
    client, process = made
    await append(process(), 1)
    before = await image(client)
    head = await append(process(), 1)
    for position in (None, head):
        mine = process()
        page = await mine.follow("u", position, 100)
        assert page.entries == ()
        kept = await image(client)
        await set_back(client, before)
        await append(process(), 3)
        assert (await process().heads(["u"], {"u": Known.by(page)}))["u"].epoch != head.epoch
        await set_back(client, kept)


@pytest.mark.parametrize("knowing", [True, False], ids=["noticed", "not noticed"])
async def test_a_receipt_of_a_message_that_is_lost_counts_no_more(
    made: Made, knowing: bool
) -> None:
    client, process = made
    mine = process()
    await append(mine, 1)
    await mine.append("u", entry(idempotency_key="kept"))
    before = await image(client)
    await mine.append("u", entry(idempotency_key="lost"))
    await set_back(client, before)
    streams = mine if knowing else process()
    again = await streams.append("u", entry(idempotency_key="lost"))
    assert (again.duplicate, again.position.offset) == (False, 3)
    assert (await streams.append("u", entry(idempotency_key="lost"))).duplicate
    assert (await streams.append("u", entry(idempotency_key="kept"))).duplicate


@pytest.mark.parametrize("asked", ["follow", "head"])
async def test_whoever_was_told_a_head_knows_the_message_there(made: Made, asked: str) -> None:
    """Without having sent or read it: as a socket does that begins, and a page."""
    client, process = made
    await append(process(), 1)
    before = await image(client)
    told = await append(process(), 1)
    mine = process()
    match asked:
        case "follow":
            mine.left("u", Known.by(await mine.follow("u", None, 10)))
        case "head":
            assert await mine.head("u") == told
    await set_back(client, before)
    await append(process(), 3)
    page = await mine.follow("u", told, 100, Known(told))
    assert not recoverable(told, page)


@pytest.mark.parametrize("ask", ["append", "append_many", "follow", "heads", "head"])
async def test_every_question_notices(made: Made, ask: str) -> None:
    client, process = made
    streams = process()
    await append(streams, 1)
    before = await image(client)
    told = await append(streams, 1)
    await set_back(client, before)
    match ask:
        case "append":
            epoch = (await streams.append("u", entry())).position.epoch
        case "append_many":
            epoch = (await streams.append_many([("v", entry()), ("u", entry())]))[1].position.epoch
        case "follow":
            epoch = (await streams.follow("u", None, 0)).epoch
        case "heads":
            epoch = (await streams.heads(["v", "u"]))["u"].epoch
        case "head":
            epoch = (await streams.head("u")).epoch
    assert epoch != told.epoch
    assert (await process().read("u", None, 0)).epoch == epoch, "stored before it was told"


async def test_what_a_room_was_told_is_remembered_when_it_has_gone(made: Made) -> None:
    client, process = made
    await append(process(), 1)
    before = await image(client)
    told = await append(process(), 1)
    mine = process()
    mine.left("u", Known(told))
    await set_back(client, before)
    assert (await append(mine, 1)).epoch != told.epoch


async def test_what_arrives_while_the_answer_is_under_way_is_no_fault(made: Made) -> None:
    _, process = made
    mine, other = process(), process()
    epoch = (await append(mine, 1)).epoch
    asked = mine._calls.follow("u")
    await append(other, 5)
    mine.left("u", Known(await append(other, 1)))
    from sockets.streams.redis import _FOLLOW

    answer = await _FOLLOW.run(mine._client, asked)
    assert mine._calls.page(answer).epoch == epoch
    assert (await mine.heads(["u"]))["u"] == Position(epoch, 7)


@pytest.mark.parametrize("given", [{}, {"collapse_key": "k"}, {"ttl": 50.0}])
async def test_the_mark_of_the_head_is_kept_beside_it(made: Made, given: Any) -> None:
    client, process = made
    for n in range(1, 4):
        sent = entry(**given)
        await process().append("u", sent)
        last = await answer(client.hget(KEYS.user("u", "meta"), "last"))
        assert last == f"{n} ".encode() + mark_of(sent.body)


async def test_a_wrong_position_of_another_epoch_is_no_fault(made: Made) -> None:
    _, process = made
    position = await append(process(), 2)
    for told in (Known(Position("another", 99)), Known(Position("", 99)), None):
        assert (await process().follow("u", None, 0, told)).epoch == position.epoch


async def test_a_key_that_was_used_before_is_known_in_the_new_epoch(made: Made) -> None:
    """The message is still in the stream: the repetition of a caller must not double it."""
    client, process = made
    streams = process()
    once = entry(idempotency_key="k")
    first = await streams.append("u", once)
    before = await image(client)
    await append(streams, 1)
    await set_back(client, before)
    again = await streams.append("u", once)
    assert again.duplicate and again.position.offset == first.position.offset
    assert again.position.epoch != first.position.epoch
    assert (await streams.append("u", entry(idempotency_key="k"))).duplicate


async def test_an_ordinary_restart_resets_nobody(server: Server) -> None:
    client = connect(server.url)
    await client.flushall()
    streams = node(client)
    users = [f"u{n}" for n in range(50)]
    heads = {user: await append(streams, 3, user) for user in users}
    await close(client)
    server.kill()
    server.start()
    client = connect(server.url)
    try:
        streams._client = client
        assert await streams.heads(users) == heads
        assert await node(client).heads(users) == heads
    finally:
        await close(client)


async def test_one_shard_of_a_cluster_goes_back() -> None:
    with cluster() as (url, _):
        client = connect(url)
        try:
            streams = node(client)
            users = [f"u{n}" for n in range(30)]
            told = {user: await append(streams, 2, user) for user in users}
            lost = [user for user in users if key_slot(KEYS.user(user, "meta").encode()) < 5461]
            images = {user: await image(client, user) for user in lost}
            assert 0 < len(lost) < len(users)
            for user in lost:
                await append(streams, 1, user)
            for user in lost:
                await set_back(client, images[user], user)
            heads = await streams.heads(users)
            assert {user for user in users if heads[user].epoch != told[user].epoch} == set(lost)
        finally:
            await close(client)


# --- what is remembered


def test_the_newest_is_remembered_of_those_that_were_told_last() -> None:
    known = KnownPositions(size=2)
    known.note("a", Known(Position("e", 5), b"five"))
    known.note("a", Known(Position("e", 3), b"three"))
    assert known.get("a") == Known(Position("e", 5), b"five")
    known.note("a", Known(Position("e", 5)))
    assert known.get("a") == Known(Position("e", 5), b"five"), (
        "what is known of it is not forgotten"
    )
    known.note("a", Known(Position("f", 1)))
    assert known.get("a") == Known(Position("f", 1))
    known.note("b", Known(Position("e", 1)))
    known.note("a", Known(Position("f", 1)))
    known.note("c", Known(Position("e", 1)))
    assert known.get("b") is None and known.get("a") and known.get("c")
    assert MEMORY >= 10_000


def test_a_late_answer_of_the_epoch_before_changes_nothing() -> None:
    clock = MovedClock()
    latest = Latest(clock)
    before, now = Known(Position("e", 9)), Known(Position("f", 2), b"m")
    for told in (before, now, before, Known(Position("f", 2))):
        latest.take(told)
    assert latest.known == now
    latest.take(Known(Position("g", 1)))
    assert latest.known == Known(Position("g", 1)), "another one is believed"
    clock.advance(LATE + 1)
    latest.take(now)
    assert latest.known == now, "what comes so late is no late answer: the store went back"


def test_the_start_of_a_message_is_its_mark() -> None:
    assert mark_of(b'{"id":"01A","event":"e"}') == b'{"id":"01A"'
    assert mark_of(b'{"n":1}') == mark_of(b'{"id":"never ends') == b""
    assert newest(None, None) is None
