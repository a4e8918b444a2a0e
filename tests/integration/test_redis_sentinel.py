"""A fail-over whose old primary lives on: whoever uses it changes to the new one by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio.connection import Connection as AsyncConnection
from redis.connection import Connection
from redis.exceptions import RedisError

from sockets.redis import close, connect, connect_sync
from sockets.redis.links import LinkedConnection, Links, SyncLinkedConnection
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE
from tests.support.valkey import Sentinel, Server, shared


class Pair:
    """A primary, its replica, and the Sentinel that watches them."""

    def __init__(self) -> None:
        self.first, self.second = Server(), Server()
        self.second.ask(b"REPLICAOF 127.0.0.1 %d" % self.first.port)
        wait_for(lambda: b"state=online" in self.first.ask(b"INFO replication"), "the replica")
        self.sentinel = Sentinel(self.first)
        wait_for(lambda: b"slaves=1" in self.sentinel.ask(b"INFO sentinel"), "Sentinel", PATIENCE)

    def fail_over(self) -> None:
        """Return when Sentinel names the second one."""
        begins = b"SENTINEL FAILOVER m"  # refused until it knows how well the replica is
        wait_for(lambda: b"+OK" in self.sentinel.ask(begins), "the fail-over to begin", PATIENCE)
        port = b"%d" % self.second.port
        wait_for(
            lambda: port in self.sentinel.ask(b"SENTINEL GET-MASTER-ADDR-BY-NAME m"), "fail-over"
        )

    def is_primary(self, server: Server) -> bool:
        return b"role:master" in server.ask(b"INFO replication")

    def stop(self) -> None:
        for server in (self.sentinel, self.second, self.first):
            server.stop()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.stop()


@pytest.fixture
async def both(pair: Pair) -> AsyncIterator[Pair]:
    yield pair


@pytest.mark.parametrize("way", ["a command", "a script"])
async def test_calls_go_to_the_new_primary_while_the_old_one_takes_writes(
    both: Pair, way: str
) -> None:
    """Commands take a connection out of the pool; scripts share one."""
    client = connect(both.sentinel.url)

    async def put(value: str) -> None:
        if way == "a command":
            await client.set("place", value)
        else:
            await client.eval("redis.call('SET', KEYS[1], ARGV[1])", 1, "place", value)  # type: ignore[misc]

    await put("before")
    taken = await client.connection_pool.get_connection()
    both.fail_over()

    async def arrived() -> bool:
        await put("after")
        return b"after" in both.second.ask(b"GET place")

    for _ in range(160):
        if await arrived():
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("no call reached the new primary in 8 s")
    assert both.is_primary(both.first), "it was not demoted: nothing but Sentinel could say so"
    await taken.send_command("PING")
    assert taken.port == both.second.port, "one that somebody had taken goes there too"
    await client.connection_pool.release(taken)
    await close(client)


def test_calls_of_threads_do_too(pair: Pair) -> None:
    client = connect_sync(pair.sentinel.url)
    client.set("place", "before")
    taken = client.connection_pool.get_connection()
    pair.fail_over()

    def arrived() -> bool:
        client.set("place", "after")
        return b"after" in pair.second.ask(b"GET place")

    wait_for(arrived, "a call to reach the new primary", PATIENCE)
    assert pair.is_primary(pair.first)
    taken.send_command("PING")
    assert taken.port == pair.second.port
    client.connection_pool.release(taken)
    client.close()


def test_a_call_that_waits_for_the_old_primary_is_cut(pair: Pair) -> None:
    """It would be told that its write is done, and the write is lost."""
    client, waiting = connect_sync(pair.sentinel.url), connect_sync(pair.sentinel.url, retries=0)
    client.set("place", "before")
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(RedisError):
            waiting.blpop(["never"], timeout=30)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    wait_for(lambda: b"cmd=blpop" in pair.first.ask(b"CLIENT LIST"), "the call to wait")
    pair.fail_over()

    def cut() -> bool:
        client.set("place", "after")
        return ended.is_set()

    wait_for(cut, "the call to be cut", PATIENCE)
    assert pair.is_primary(pair.first)
    thread.join(5)
    client.close()
    waiting.close()


async def test_a_connection_that_was_made_while_links_end_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was sent to the old primary, and would be taken for one to the new."""
    links = Links()
    connection = LinkedConnection(links=links, port=shared().port, password="pw")
    connect_to = AsyncConnection._connect

    async def meanwhile(self: AsyncConnection) -> None:
        await connect_to(self)
        links.end("a test", links.generation)

    monkeypatch.setattr(AsyncConnection, "_connect", meanwhile)
    await connection.connect()
    monkeypatch.undo()
    first = connection._writer
    await connection.send_command("PING")
    assert connection._writer is not first
    await connection.send_command("PING")
    await connection.disconnect()


def test_one_of_a_thread_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    links = Links()
    connection = SyncLinkedConnection(links=links, port=shared().port, password="pw")
    connect_to = Connection._connect

    def meanwhile(self: Connection) -> object:
        made = connect_to(self)
        links.end("a test", links.generation)
        return made

    monkeypatch.setattr(Connection, "_connect", meanwhile)
    connection.connect()
    monkeypatch.undo()
    first: object = connection._sock
    connection.send_command("PING")
    assert connection._sock is not first
    connection.disconnect()
