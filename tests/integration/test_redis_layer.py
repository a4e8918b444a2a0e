"""The Redis layer on a real server: the stock layer beside it, cut and silent links, races."""

from __future__ import annotations

import asyncio
import random
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from msgpack import unpackb  # type: ignore[attr-defined]  # it comes from a star import
from redis.asyncio import Redis

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.exceptions import GatewayUnavailable
from sockets.layers.redis import RedisChannelLayer
from sockets.redis import SentinelGroup, close, connect, connect_sync
from tests.support.doubles import until, until_told
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE
from tests.support.proxy import proxy
from tests.support.scale import scaled
from tests.support.valkey import Sentinel, Server, answer, shared

SHORT: dict[str, Any] = {"canary_interval": 0.1, "canary_timeout": 0.2, "join_timeout": 2.0}

PATIENT: dict[str, Any] = {"canary_timeout": PATIENCE}
"""For those who count the gaps: a server that has no core for a moment is silent, too."""


@pytest.fixture
def prefix() -> str:
    return f"t{new_id()}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
async def make(prefix: str) -> AsyncIterator[Callable[..., Any]]:
    made: list[Any] = []

    def layer(*hosts: Any, **options: Any) -> Any:
        made.append(RedisChannelLayer(hosts=list(hosts), prefix=prefix, **SHORT | options))
        return made[-1]

    yield layer
    for one in made:
        await one.close()


async def at_last(call: Callable[[], Awaitable[None]]) -> None:
    """Call until Redis can be reached."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except GatewayUnavailable:
                await asyncio.sleep(0.05)


async def subscribers(hosts: list[str], channel: str) -> int:
    """How many connections listen to a channel, on all servers."""
    count = 0
    for url in hosts:
        async with Redis.from_url(url) as redis:
            count += dict(await redis.pubsub_numsub(channel))[channel.encode()]
    return count


# --- beside the stock layer


@pytest.mark.parametrize("shards", [1, 2])
async def test_the_stock_layer_and_ours_reach_each_other(
    make: Any, prefix: str, server: Server, shards: int
) -> None:
    hosts = [shared().url, server.url][:shards]
    ours, stock = make(*hosts), RedisPubSubChannelLayer(hosts=hosts, prefix=prefix)
    heard: dict[str, list[Any]] = {}
    for n in range(10):
        group = f"g{n}"
        await ours.group_add_sink(group, heard.setdefault(group, []).append)
        await stock.group_send(group, {"type": "t", "한": [n, None, b"\xff"]})
    await until(lambda: all(heard.values()))
    assert [heard[f"g{n}"] for n in range(10)] == [
        [{"type": "t", "한": [n, None, b"\xff"]}] for n in range(10)
    ]
    theirs, mine = await stock.new_channel(), await ours.new_channel()
    await stock.group_add("x", theirs)
    await ours.group_add("x", mine)

    async def both_listen() -> bool:
        """The stock layer does not wait for Redis' confirmation."""
        return await subscribers(hosts, f"{prefix}__group__x") == 2

    await until_told(both_listen)
    await ours.group_send("x", {"type": "to both"})
    await ours.send(theirs, {"type": "to theirs"})
    await stock.send(mine, {"type": "to mine"})
    async with asyncio.timeout(PATIENCE):
        # In any order: a group and a channel may be on different servers.
        assert {(await stock.receive(theirs))["type"] for _ in range(2)} == {"to both", "to theirs"}
        assert {(await ours.receive(mine))["type"] for _ in range(2)} == {"to both", "to mine"}
    await stock.flush()


@pytest.mark.parametrize("members", [1, 3, 13, 14, 15, 16, 20])
def test_a_head_announces_what_the_script_adds(prefix: str, members: int) -> None:
    wire = RedisChannelLayer(hosts=["redis://x"], prefix=prefix).wire
    message = {f"m{n}": n for n in range(members)}
    tail = b"\xa5epoch\xa1e\xa6offset\x07"
    assert wire.scriptable
    assert unpackb(wire.encode_head(message) + tail) == message | {
        "epoch": "e",
        "offset": 7,
    }


# --- links that break


def is_round(round: int, noted: list[Any]) -> bool:
    return len(noted) == round


async def test_a_link_that_is_cut_is_made_again_and_the_gap_is_told(make: Any) -> None:
    layer, heard, gaps = make(shared().url, **PATIENT), list[Any](), list[Any]()
    await layer.group_add_sink("g", lambda message: heard.append(message["n"]))
    layer.add_gap_listener(lambda: gaps.append(layer.connected))
    async with Redis.from_url(shared().url) as redis:
        for round in range(1, 4):
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await until(partial(is_round, round, gaps))
            await layer.group_send("g", {"type": "t", "n": round})
            await until(partial(is_round, round, heard))
    assert gaps == [True] * 3 and heard == [1, 2, 3]


async def test_a_half_open_link_is_found(make: Any, server: Server) -> None:
    async with proxy(server.port) as hole:
        layer, heard, gaps = make(f"redis://127.0.0.1:{hole.port}"), [], []
        await layer.group_add_sink("g", lambda message: heard.append(message["n"]))
        layer.add_gap_listener(lambda: gaps.append(1))
        await layer.group_send("g", {"type": "t", "n": 1})
        await until(lambda: heard == [1])
        [link] = layer._get_layer()._links
        hole.open.clear()
        # Either finds it by itself, in any order; one that has not is heard again, without a gap.
        await until(lambda: not link.publisher.line.up and not link.subscriber.line.up)
        hole.open.set()
        await until(lambda: gaps and layer.connected)
        await layer.group_send("g", {"type": "t", "n": 2})
        await until(lambda: heard[-1:] == [2])
        await layer.close()


async def test_a_busy_loop_is_no_broken_link(make: Any) -> None:
    layer, gaps = make(shared().url, canary_timeout=0.8), []
    await layer.group_add_sink("g", lambda _: None)
    layer.add_gap_listener(lambda: gaps.append(1))
    [link], before = layer._get_layer()._links, metrics.LAYER_RECONNECTS._value.get()
    for _ in range(3):
        link._sung_at = None
        link._look_at_canary(asyncio.get_running_loop().time())  # is written when there is time
        time.sleep(0.9)  # noqa: ASYNC251  (that is the point)
        await asyncio.sleep(0.15)
    await asyncio.sleep(0.3)
    assert gaps == [] and layer.connected
    assert metrics.LAYER_RECONNECTS._value.get() == before


async def test_a_server_that_is_away(make: Any, server: Server) -> None:
    """Calls fail in time and leave nothing behind; all goes on when it is back."""
    layer, heard = make(server.url), list[Any]()
    await layer.group_add_sink("g", heard.append)
    server.kill()
    await until(lambda: not layer.connected)
    began = time.monotonic()
    with pytest.raises(GatewayUnavailable) as caught:
        await layer.group_send("g", {"type": "t"})
    assert caught.value.outcome == "nothing"
    with pytest.raises(GatewayUnavailable):
        await layer.group_add_sink("h", heard.append)
    assert time.monotonic() - began < 20
    layer.send_local("g", {"type": "here"})
    assert heard == [{"type": "here"}]
    await asyncio.to_thread(server.start)
    await until(lambda: layer.connected)
    await layer.group_add_sink("h", heard.append)
    for group in "gh":
        await layer.group_send(group, {"type": group})
    await until(lambda: len(heard) == 3)
    async with Redis.from_url(server.url) as redis:
        channels = [name.decode() for name in await redis.pubsub_channels()]
    assert len([name for name in channels if "__group__" in name]) == 2


async def test_a_message_whose_answer_is_lost_is_unknown(make: Any, server: Server) -> None:
    layer = make(server.url)
    await layer.group_add_sink("g", lambda _: None)
    await layer.group_send("g", {"type": "t"})
    server.freeze()
    with pytest.raises(GatewayUnavailable) as caught:
        await layer.group_send("g", {"type": "t"})
    assert caught.value.outcome == "unknown"
    server.thaw()


async def test_the_password_is_in_no_message(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    layer = make(shared().url.replace("pw", "hunter2"))
    with pytest.raises(GatewayUnavailable) as caught:
        await layer.group_add_sink("g", lambda _: None)
    await until(lambda: "trying on" in caplog.text)
    assert "hunter2" not in caplog.text + str(caught.value) + repr(layer)


async def test_over_tls(make: Any, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=IP:127.0.0.1 -out {certificate} -keyout {key}"
    await asyncio.to_thread(subprocess.run, command.split(), check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with proxy(shared().port, tls) as door:
        url = f"rediss://:pw@127.0.0.1:{door.port}/0?ssl_ca_certs={certificate}"
        layer, heard = make(url), list[Any]()
        # A busy machine shakes hands for longer than one attempt may take.
        await at_last(lambda: layer.group_add_sink("g", heard.append))
        await at_last(lambda: layer.group_send("g", {"type": "t"}))
        await until(lambda: heard[:1] == [{"type": "t"}])
        client, sync = connect(url), connect_sync(url)
        assert await answer(client.ping()) and await asyncio.to_thread(sync.execute_command, "PING")
        stranger = make(f"rediss://:pw@127.0.0.1:{door.port}/0")
        with pytest.raises(GatewayUnavailable):
            await stranger.group_add_sink("g", heard.append)
        sync.close()
        for one in (stranger, layer):
            await one.close()
        await close(client)


# --- races and bounds


async def test_who_listens_is_what_the_server_knows(make: Any, prefix: str) -> None:
    """Any order of joins and leaves, at the same time, over links that are cut in between."""
    layer, seed = make(shared().url), random.randrange(2**32)
    dice = random.Random(seed)
    heard: dict[str, list[Any]] = {}
    member: dict[str, bool] = {}

    async def fickle(group: str) -> None:
        sink = heard.setdefault(group, []).append
        for _ in range(scaled(60, 15)):
            member[group] = dice.random() < 0.5
            if member[group]:
                await layer.group_add_sink(group, sink)
            else:
                await layer.group_discard_sink(group, sink)
            await asyncio.sleep(dice.random() * 0.01)

    async with Redis.from_url(shared().url) as redis:

        async def cut() -> None:
            for _ in range(3):
                await asyncio.sleep(0.05)
                await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

        await asyncio.gather(cut(), *(fickle(f"g{n}") for n in range(30)))
        await until(lambda: layer.connected)
        for group in member:
            heard[group].clear()
            await layer.group_send(group, {"type": "t"})
        expected = {f"{prefix}__group__{group}" for group, inside in member.items() if inside}

        async def is_known() -> bool:
            """What is left is left without waiting for Redis."""
            found = await redis.pubsub_channels(f"{prefix}__group__*")
            return {name.decode() for name in found} == expected

        await until_told(is_known)
    await until(lambda: all(heard[group] or not inside for group, inside in member.items()))
    assert {group: len(got) for group, got in heard.items()} == member, f"seed {seed}"


async def test_many_messages_come_whole_and_in_order(make: Any) -> None:
    layer, heard, count = make(shared().url), [], scaled(20_000, 3_000)
    await layer.group_add_sink("g", lambda message: heard.append(message["n"]))
    for start in range(0, count, 500):
        sends = (layer.group_send("g", {"type": "t", "n": n}) for n in range(start, start + 500))
        await asyncio.gather(*sends)
    await until(lambda: len(heard) == count)
    assert heard == list(range(count))


async def test_what_cannot_be_read_stops_nobody(make: Any, prefix: str) -> None:
    layer, heard = make(shared().url), list[Any]()
    await layer.group_add_sink("g", heard.append)
    before = metrics.LAYER_ERRORS._value.get()
    async with Redis.from_url(shared().url) as redis:
        for data in (b"\xc1", b"", b"\x01", b"\x93\x01\x02\x03"):
            await redis.publish(f"{prefix}__group__g", data)
    await layer.group_send("g", {"type": "t"})
    await until(lambda: heard == [{"type": "t"}])
    assert metrics.LAYER_ERRORS._value.get() == before + 4


async def test_a_channel_that_nobody_reads_is_given_up(make: Any) -> None:
    now = 0.0
    layer = make(shared().url, clock=lambda: now, expiry=60)
    old = await layer.new_channel()
    now = 100.0
    new = await layer.new_channel()
    subscriber = layer._link(old).subscriber
    await until(lambda: old not in subscriber._wanted)
    assert new in subscriber._wanted


# --- Sentinel


async def test_a_fail_over_is_followed(make: Any) -> None:
    master = Server()
    replica = Server("--replicaof", "127.0.0.1", str(master.port))
    sentinel = Sentinel(master)
    sync, client = connect_sync(sentinel.url), connect(sentinel.url)
    try:
        await asyncio.to_thread(
            wait_for, lambda: b"slaves=1" in sentinel.ask(b"INFO sentinel"), "both to be known"
        )
        layer, heard, gaps = make(sentinel.url), list[Any](), list[Any]()
        await layer.group_add_sink("g", heard.append)
        layer.add_gap_listener(lambda: gaps.append(1))
        assert sync.set("k", 1) and await client.get("k") == b"1"
        await asyncio.to_thread(master.kill)
        await until(lambda: gaps and layer.connected, 30)
        await layer.group_send("g", {"type": "t"})
        await until(lambda: heard)
        assert await asyncio.to_thread(sync.set, "k", 2) and await client.get("k") == b"2"
    finally:
        sync.close()
        await close(client)
        for server in (sentinel, replica, master):
            server.stop()


@pytest.mark.parametrize(
    ("url", "service", "hosts", "options"),
    [
        ("redis+sentinel://h", "mymaster", [("h", 26379)], {"db": 0}),
        (
            "redis+sentinel://u:p%40w@a:1,b/3?service=m&sentinel_password=s",
            "m",
            [("a", 1), ("b", 26379)],
            {"db": 3, "username": "u", "password": "p@w"},
        ),
        ("redis+sentinel://[::1]:5,[::2]/0", "mymaster", [("::1", 5), ("::2", 26379)], {"db": 0}),
    ],
)
def test_the_address_of_a_sentinel(
    url: str, service: str, hosts: list[Any], options: dict[str, Any]
) -> None:
    group = SentinelGroup.of(url)
    assert group is not None
    assert (group.service, group.hosts, group.options) == (service, hosts, options)
    assert "p@w" not in repr(group) and SentinelGroup.of("redis://h") is None
