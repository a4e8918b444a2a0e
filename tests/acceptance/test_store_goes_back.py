"""A store that goes back in time under live sockets: told to everybody, passed over in silence by
nobody. Real gateways; the server loses what an older append-only file would not have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.acceptance.test_redis_mode import elsewhere
from tests.support.gateway import SHORT, Gateway, running
from tests.support.peers import Peer, client, http_get, worker
from tests.support.valkey import Server

PARTS = ("meta", "stream")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server("--appendonly", "yes", "--appendfsync", "always")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def nodes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    environment = {**SHORT, "REDIS_URL": server.url, "REDIS_DURABILITY": "always"}
    path: Path = tmp_path_factory.mktemp("nodes")
    with (
        running(path / "a", NODE_NAME="a", **environment) as a,
        running(path / "b", NODE_NAME="b", **environment) as b,
    ):
        yield [a, b]
    for node in (a, b):
        assert "Traceback" not in node.log(), node.log()


class Store:
    """One user's stream, that can be put back to what it was."""

    def __init__(self, server: Server, user: str) -> None:
        self._redis = Redis(port=server.port)
        self._keys = [f"gw:{{{user}}}:{part}" for part in PARTS]
        self._image: list[bytes | None] = []

    def keep(self) -> None:
        self._image = [self._redis.dump(key) for key in self._keys]  # type: ignore[misc]

    def go_back(self) -> None:
        with self._redis.pipeline() as at_once:  # or a renewal may come between
            for key, value in zip(self._keys, self._image, strict=True):
                at_once.delete(key)
                if value is not None:
                    at_once.restore(key, 0, value)
            at_once.execute()
        self._redis.close()


async def notify(through: Peer, user: str, count: int) -> list[dict[str, Any]]:
    return [await through.ask(type="notify", user=user, event="e", data=n) for n in range(count)]


async def until(tab: Peer, kind: str) -> dict[str, Any]:
    while (frame := await tab.receive())["type"] != kind:
        pass
    return frame


@pytest.mark.parametrize("sender", [0, 1], ids=["the same node", "another node"])
@pytest.mark.parametrize("count", [1, 3, 12], ids=["one", "below the head", "past the head"])
async def test_a_live_socket_is_told_reset(
    nodes: list[Gateway], server: Server, sender: int, count: int
) -> None:
    user = f"live-{sender}-{count}"
    store, backend = Store(server, user), await worker(nodes[sender])
    tab = await client(nodes[0], user)
    await notify(backend, user, 5)
    await asyncio.to_thread(store.keep)
    await notify(backend, user, 5)
    assert [frame["offset"] for frame in await tab.receive_many(10)] == list(range(1, 11))
    await asyncio.to_thread(store.go_back)
    await notify(backend, user, count)
    reset = await until(tab, "reset")
    assert reset["epoch"] != tab.welcome["epoch"]
    (last,) = await notify(backend, user, 1)
    offset = reset["offset"]
    while offset < last["offset"]:
        frame = await tab.receive()
        assert (frame["type"], frame["offset"]) == ("message", offset + 1), "no gap after that"
        offset += 1
    assert http_get(nodes[0].worker_port, "/readyz")[0] == 200


@pytest.mark.parametrize("count", [0, 3, 12])
@pytest.mark.parametrize("node", [0, 1], ids=["the same node", "another node"])
async def test_who_comes_back_is_told_that_it_was_lost(
    nodes: list[Gateway], server: Server, count: int, node: int
) -> None:
    """Before the head has caught up, and after it: the node that knew more has appended."""
    user = f"back-{count}-{node}"
    store, backend = Store(server, user), await worker(nodes[0])
    tab = await client(nodes[0], user)
    await notify(backend, user, 5)
    await asyncio.to_thread(store.keep)
    await notify(backend, user, 5)
    frames = await tab.receive_many(10)
    await tab.close()
    await asyncio.to_thread(store.go_back)
    await notify(backend, user, count)
    position = {"epoch": tab.welcome["epoch"], "offset": str(frames[-1]["offset"])}
    for _ in range(2):
        again = await client(nodes[node], user, **position)
        assert again.welcome["recovered"] is False
        await notify(backend, user, 12)  # past the head: it stays lost
        await again.receive_many(12)


async def test_a_user_whom_nobody_was_connected_as(nodes: list[Gateway], server: Server) -> None:
    """A page took the position along; the same node goes on sending."""
    store, backend = Store(server, "nobody"), await worker(nodes[0])
    await notify(backend, "nobody", 5)
    await asyncio.to_thread(store.keep)
    await notify(backend, "nobody", 5)
    code = "import json; from sockets import api; p = api.stream_position('nobody')"
    told = await asyncio.to_thread(
        elsewhere, nodes[0], f"{code}; print(json.dumps([p.epoch, p.offset]))"
    )
    epoch, offset = json.loads(told.stdout)
    assert offset == 10
    await asyncio.to_thread(store.go_back)
    await notify(backend, "nobody", 12)
    tab = await client(nodes[1], "nobody", epoch=epoch, offset=str(offset))
    assert tab.welcome["recovered"] is False


async def test_an_idle_socket_is_told_at_the_next_renewal(server: Server, tmp_path: Path) -> None:
    """Nobody sends anything."""
    environment = {**SHORT, "LEASE_RENEW": "0.5", "LEASE_TTL": "3", "REDIS_URL": server.url}
    with running(tmp_path, NODE_NAME="c", REDIS_DURABILITY="always", **environment) as node:
        store, backend = Store(server, "idle"), await worker(node)
        tab = await client(node, "idle")
        await asyncio.to_thread(store.keep)
        await notify(backend, "idle", 1)
        await tab.receive()
        await asyncio.to_thread(store.go_back)
        assert (await until(tab, "reset"))["offset"] == 0


async def test_an_ordinary_restart_resets_nobody(nodes: list[Gateway], server: Server) -> None:
    backend = await worker(nodes[0])
    tabs = [await client(node, "calm") for node in nodes]
    await notify(backend, "calm", 3)
    for tab in tabs:
        await tab.receive_many(3)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    for _ in range(100):
        answer = await backend.ask(type="notify", user="calm", event="e")
        if answer["ok"]:
            break
        await asyncio.sleep(0.1)
    for tab in tabs:
        frame = await tab.receive()
        assert (frame["type"], frame["offset"]) == ("message", 4)
