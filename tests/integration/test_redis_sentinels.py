"""Several sentinels, of which one is away or lags: the others are asked, and believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sockets.layers.redis import RedisChannelLayer
from sockets.redis import (
    close,
    close_sentinels,
    connect,
    connect_sync,
    connect_sync_layer,
    layer_pool,
)
from sockets.redis import links as links_module
from tests.support.doubles import until
from tests.support.sentinels import FakeSentinel, url_of
from tests.support.valkey import Server


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """Two that know nothing of each other: the old primary lives on, and takes writes."""
    found = Server(), Server()
    yield found
    for server in found:
        server.stop()


@pytest.fixture
async def pair(servers: tuple[Server, Server]) -> AsyncIterator[tuple[FakeSentinel, FakeSentinel]]:
    old, _new = servers
    with FakeSentinel(old.port) as first, FakeSentinel(old.port) as second:
        yield first, second


Pair = tuple[FakeSentinel, FakeSentinel]


async def test_one_that_is_away_keeps_no_call(pair: Pair) -> None:
    pair[0].up = False
    client = connect(url_of(*pair))
    await client.set("other", 1)
    assert pair[0].connections == 2, (
        "once more, for one that was cut for being idle; not ten seconds"
    )
    await close(client)


async def test_nor_one_of_a_thread(pair: Pair) -> None:
    pair[0].up = False
    client = connect_sync(url_of(*pair))
    client.ping()
    assert pair[0].connections == 2
    client.close()


@pytest.mark.parametrize("spelled", [False, True])
async def test_nor_a_connection_of_the_layer(pair: Pair, spelled: bool) -> None:
    """`spelled`: as channels-redis writes sentinels."""
    pair[0].up = False
    host = {"address": url_of(*pair)}
    if spelled:
        hosts = [("127.0.0.1", one.port) for one in pair]
        host = {"master_name": "m", "sentinels": hosts}  # type: ignore[dict-item]
    pool, _links = layer_pool(host)
    connection = pool.make_connection()
    await connection.connect()
    await connection.disconnect()
    client = connect_sync_layer(host)
    client.ping()
    assert pair[0].connections == 4
    client.close()
    await close_sentinels(pool)


async def test_one_that_is_silent_keeps_no_layer_from_its_server(pair: Pair) -> None:
    """A line of the layer gets two seconds to connect, and begins with it each time."""
    pair[0].silent = True
    layer: Any = RedisChannelLayer(hosts=[{"address": url_of(*pair)}])
    heard: list[Any] = []
    await layer.group_add_sink("g", heard.append)
    await layer.group_send("g", {"type": "t"})
    await until(lambda: heard == [{"type": "t"}])
    await layer.close()


async def test_a_client_that_is_closed_leaves_no_question_behind(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop may end next, with a task of nobody's."""
    monkeypatch.setattr(links_module, "LOOK_EVERY", 0.0)
    before = asyncio.all_tasks()
    client = connect(url_of(*pair))
    await client.set("other", 1)
    for sentinel in pair:
        sentinel.silent = True
    await client.set("other", 1)
    assert asyncio.all_tasks() - before
    await close(client)
    assert asyncio.all_tasks() <= before


async def test_one_that_lags_is_not_believed(pair: Pair, servers: tuple[Server, Server]) -> None:
    """Two clients of a process go by different sentinels: both change, and stay."""
    ahead, behind = pair
    old, new = servers
    first, second = connect(url_of(*pair)), connect(url_of(*pair))
    pool, links = layer_pool({"address": url_of(*pair)})
    await first.set("other", 1)
    ahead.up = False
    await second.set("other", 1)
    line = pool.make_connection()
    await line.connect()  # it goes by that one as well
    await line.disconnect()
    ahead.up, ahead.primary, ahead.epoch = True, new.port, 2
    third = connect(url_of(*pair))
    await third.set("other", 1)  # hears of it
    asked = behind.asked
    for client in (first, second, third):
        for _ in range(3):
            await client.set("place", "after")
    assert old.ask(b"GET place").startswith(b"$-1"), "no write goes to the old primary"
    assert links.generation == 1, "and nobody comes back to it"
    await line.connect()
    assert line.port == new.port
    await line.disconnect()
    assert behind.asked > asked
    for client in (first, second, third):
        await close(client)
    await close_sentinels(pool)


async def test_connections_to_former_primaries_are_not_kept(
    pair: Pair, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "AGAIN", 0.0)
    client = connect_sync(url_of(*pair))
    pool: Any = client.connection_pool
    for number in range(4):
        taken = pool.get_connection()
        for sentinel in pair:
            sentinel.primary, sentinel.epoch = servers[(number + 1) % 2].port, 2 + number
        assert pool.get_master_address()[1] == pair[0].primary
        pool.release(taken)
    client.set("other", 1)
    assert len(pool._connections) == 1
    client.close()


async def test_threads_do_not_believe_it_either(pair: Pair, servers: tuple[Server, Server]) -> None:
    ahead, _behind = pair
    client = connect(url_of(*pair))
    ahead.primary, ahead.epoch = servers[1].port, 2
    await client.set("other", 1)
    for sync in (connect_sync(url_of(*pair)), connect_sync_layer({"address": url_of(*pair)})):
        pool: Any = sync.connection_pool
        pool.sentinel_manager.sentinels.reverse()  # asks the other one first
        assert pool.get_master_address() == ("127.0.0.1", servers[1].port)
        sync.close()
    await close(client)
