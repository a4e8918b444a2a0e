"""Many calls over one connection: each gets its own answer, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from sockets.base import metrics
from sockets.exceptions import GatewayUnavailable
from sockets.redis import close, connect, server_of, translated
from sockets.redis.links import links_to
from sockets.redis.multiplexed import FULL
from tests.support.doubles import until
from tests.support.observed import Observed
from tests.support.valkey import Server

ECHO = "return ARGV[1]"
PATIENCE = 2.0
"""Seconds that a call of `hasty` gets."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def admin(server: Server) -> Iterator[SyncRedis]:
    made = SyncRedis.from_url(server.url)
    yield made
    made.close()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Redis]:
    made = connect(server.url)
    yield made
    await close(made)


@pytest.fixture
async def hasty(server: Server) -> AsyncIterator[Redis]:
    made = connect(server.url, call_timeout=PATIENCE)
    yield made
    await close(made)


async def echo(client: Redis, text: Any) -> Any:
    return await client.eval(ECHO, 0, text)  # type: ignore[misc]


def ids(admin: SyncRedis) -> set[str]:
    """Of the connections that the server has, its own among them."""
    listed: Any = admin.client_list()
    return {one["id"] for one in listed}


async def test_all_share_one_connection_and_each_gets_its_answer(
    client: Redis, admin: SyncRedis
) -> None:
    answers = await asyncio.gather(*(echo(client, f"n{n}") for n in range(500)))
    assert answers == [f"n{n}".encode() for n in range(500)]
    assert len(ids(admin)) == 2
    assert await client.get("another") is None, "what is no script goes its own way"


async def test_an_error_is_its_callers(client: Redis) -> None:
    calls = [echo(client, "one"), client.eval("return redis.call('GET')", 0), echo(client, "two")]
    one, wrong, two = await asyncio.gather(*calls, return_exceptions=True)  # type: ignore[arg-type]
    assert (one, two) == (b"one", b"two") and isinstance(wrong, ResponseError)


async def test_the_answer_to_one_that_gave_up_is_nobodys(client: Redis, server: Server) -> None:
    await echo(client, "connected")
    server.freeze()
    gone = asyncio.ensure_future(echo(client, "gone"))
    stays = asyncio.ensure_future(echo(client, "stays"))
    await asyncio.sleep(0.01)
    gone.cancel()
    server.thaw()
    assert await stays == b"stays"
    assert gone.cancelled()
    assert await echo(client, "next") == b"next"


async def test_what_a_cancelled_call_did_is_not_known(client: Redis, server: Server) -> None:
    async def call() -> None:
        with translated(writes=True):
            try:
                await echo(client, "x")
            except asyncio.CancelledError:
                raise ConnectionError("its caller has gone") from None

    await echo(client, "connected")
    server.freeze()
    task = asyncio.ensure_future(call())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(GatewayUnavailable) as caught:
        await task
    assert caught.value.outcome == "unknown"
    server.thaw()


async def test_a_server_that_stands_still_fails_all_who_wait_in_time(
    hasty: Redis, server: Server
) -> None:
    await echo(hasty, "connected")
    server.freeze()

    async def call(n: int) -> str:
        with pytest.raises(GatewayUnavailable) as caught, translated(writes=True):
            await echo(hasty, n)
        return caught.value.outcome

    began = time.monotonic()
    outcomes = await asyncio.gather(*(call(n) for n in range(50)))
    assert set(outcomes) == {"unknown"}
    # Who comes now waits for one attempt to connect, all together.
    outcomes = await asyncio.gather(*(call(n) for n in range(50)))
    assert set(outcomes) == {"nothing"}
    assert time.monotonic() - began < 20
    server.thaw()
    assert await echo(hasty, "again") == b"again"


async def test_one_call_that_waited_too_long_fails_no_younger_one(
    hasty: Redis, server: Server
) -> None:
    await echo(hasty, "connected")
    server.freeze()
    old = asyncio.ensure_future(echo(hasty, "old"))
    await asyncio.sleep(0.8 * PATIENCE)
    young = asyncio.ensure_future(echo(hasty, "young"))
    with pytest.raises(TimeoutError):
        await old
    server.thaw()
    assert await young == b"young"


async def test_who_waits_for_space_is_told_in_time_as_well(hasty: Redis, server: Server) -> None:
    """More is on its way than the kernel takes from us; the server reads none of it."""
    await echo(hasty, "connected")
    server.freeze()

    async def call() -> str:
        with pytest.raises(GatewayUnavailable) as caught, translated(writes=True):
            await echo(hasty, b"x" * FULL)
        return caught.value.outcome

    async with asyncio.timeout(30 * PATIENCE):  # and not one after the other
        assert set(await asyncio.gather(*(call() for _ in range(40)))) <= {"unknown", "nothing"}
    server.thaw()
    assert await echo(hasty, "again") == b"again"


async def test_a_server_that_is_gone_is_told_at_once(client: Redis, server: Server) -> None:
    await echo(client, "connected")
    server.kill()
    with pytest.raises(GatewayUnavailable), translated():
        await echo(client, "x")
    server.start()
    assert await echo(client, "again") == b"again"


async def test_a_connection_that_was_cut_is_made_again(client: Redis, admin: SyncRedis) -> None:
    for n in range(5):
        assert await echo(client, n) == b"%d" % n
        admin.execute_command("CLIENT KILL TYPE normal SKIPME yes")
    assert await echo(client, "last") == b"last"


async def test_when_links_end_those_on_the_way_are_answered(
    client: Redis, server: Server, admin: SyncRedis
) -> None:
    links = links_to(server_of(server.url))
    await echo(client, "connected")
    before = ids(admin)
    server.freeze()
    waiting = asyncio.ensure_future(echo(client, "old"))
    await asyncio.sleep(0.01)
    links.end("a test", links.generation)
    new = asyncio.ensure_future(echo(client, "new"))
    await asyncio.sleep(0.01)
    server.thaw()
    assert [await waiting, await new] == [b"old", b"new"]
    assert ids(admin) - before
    await until(lambda: len(ids(admin)) == 2)


async def test_what_is_large_is_written_and_read_whole(client: Redis) -> None:
    texts = [bytes([65 + n]) * (FULL + n) for n in range(5)]
    assert await asyncio.gather(*(echo(client, text) for text in texts)) == texts


async def test_who_waits_when_the_client_is_closed_hears_of_it(server: Server) -> None:
    client = connect(server.url)
    await echo(client, "connected")
    server.freeze()
    waiting = asyncio.ensure_future(echo(client, "x"))
    await asyncio.sleep(0.01)
    await close(client)
    with pytest.raises(ConnectionError):
        await waiting
    server.thaw()


async def test_a_client_that_is_closed_while_it_connects(server: Server) -> None:
    server.freeze()
    client = connect(server.url)
    waiting = asyncio.ensure_future(echo(client, "x"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(60):
        await close(client)
        with pytest.raises(ConnectionError, match="closed"):
            await waiting
    server.thaw()


async def test_each_call_is_timed_until_its_answer(client: Redis, server: Server) -> None:
    await echo(client, "connected")
    calls = Observed(metrics.redis_call)
    await asyncio.gather(*(echo(client, n) for n in range(20)))
    assert calls.count == 20
    began, before = time.monotonic(), calls.sum
    server.freeze()
    slow = asyncio.ensure_future(echo(client, "slow"))
    await asyncio.sleep(0)  # it is on its way before the time is taken
    await asyncio.sleep(0.02)
    server.thaw()
    await slow
    assert 0.01 < calls.sum - before <= time.monotonic() - began
    gone = asyncio.ensure_future(echo(client, "nobody waits for it"))
    await asyncio.sleep(0)
    gone.cancel()
    await echo(client, "next")
    assert calls.count == 23, "Redis has run it"


async def test_a_call_that_is_given_up_counts_with_its_time(hasty: Redis, server: Server) -> None:
    await echo(hasty, "connected")
    calls = Observed(metrics.redis_call)
    server.freeze()
    with pytest.raises(GatewayUnavailable), translated():
        await echo(hasty, "x")
    assert calls.count == 1 and calls.sum >= PATIENCE
    server.thaw()
