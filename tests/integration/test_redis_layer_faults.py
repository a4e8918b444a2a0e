"""The Redis layer in trouble: what other hosts, listeners and receivers notice of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sockets.base import metrics
from sockets.exceptions import GatewayUnavailable
from sockets.layers.line import pack
from sockets.layers.redis import RedisChannelLayer
from sockets.redis import connect
from tests.support.doubles import until_told
from tests.support.patience import PATIENCE
from tests.support.proxy import proxy
from tests.support.valkey import Server

QUICK: dict[str, Any] = {"canary_interval": 0.1, "canary_timeout": 0.2, "join_timeout": 1.0}

PATIENT: dict[str, Any] = {"canary_timeout": PATIENCE}
"""For those who count the gaps: a server that has no core for a moment is silent, too."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


class Listener:
    """A member of the group `g`, and of the gaps."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.heard: list[int] = []
        self.gaps = 0

    def hear(self, message: Any) -> None:
        self.heard.append(message["n"])

    def gap(self) -> None:
        self.gaps += 1

    async def send(self, n: int) -> None:
        await self.layer.group_send("g", {"type": "t", "n": n})


@asynccontextmanager
async def listening(*urls: str, **options: Any) -> AsyncIterator[Listener]:
    layer: Any = RedisChannelLayer(hosts=list(urls), **{**QUICK, **options})
    listener = Listener(layer)
    try:
        layer.add_gap_listener(listener.gap)
        await layer.group_add_sink("g", listener.hear)
        await listener.send(0)
        await soon(lambda: listener.heard == [0])
        yield listener
    finally:
        await layer.close()


async def soon(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    async def ask() -> object:
        return condition()

    await until_told(ask, seconds)


async def sent_at_last(listener: Listener, n: int) -> None:
    """Publish, again if that is refused."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await listener.send(n)
            except GatewayUnavailable:
                await asyncio.sleep(0.05)


async def kill(server: Server, kind: str) -> None:
    client = connect(server.url)
    await client.client_kill_filter(_type=kind, skipme=True)
    await client.aclose()


async def test_a_cut_publishing_line_is_made_again(server: Server) -> None:
    async with listening(server.url, **PATIENT) as listener:
        await kill(server, "normal")
        for n in range(1, 21):
            await sent_at_last(listener, n)
        await soon(lambda: listener.heard[-1] == 20)
        assert sorted(set(listener.heard)) == list(range(21))
        assert listener.gaps == 0


async def test_who_has_cut_a_connection_is_told(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(server.url) as listener:
        server.freeze()
        sent = asyncio.ensure_future(listener.send(1))
        with pytest.raises(GatewayUnavailable, match="it says nothing"):
            await asyncio.wait_for(sent, PATIENCE)
        assert "it says nothing; connecting again" in caplog.text
        assert "closed the connection" not in caplog.text
        server.thaw()
        await soon(lambda: listener.layer.connected)
        await kill(server, "normal")
        # Which of both it is depends on whether Redis had read all that we sent.
        cut = re.compile("publishing: (Redis closed the connection|ConnectionReset.*); trying on")
        await soon(lambda: cut.search(caplog.text))


async def test_a_failing_gap_listener_stops_no_other(server: Server) -> None:
    async with listening(server.url, **PATIENT) as listener:

        def fail() -> None:
            raise RuntimeError("a bad listener")

        listener.layer._gap_listeners.insert(0, fail)
        before = metrics.LAYER_ERRORS._value.get()
        await kill(server, "pubsub")
        await soon(lambda: listener.gaps == 1)
        assert metrics.LAYER_ERRORS._value.get() == before + 1
        await listener.send(1)
        await soon(lambda: listener.heard == [0, 1])


async def test_a_gap_of_one_host_is_told_when_the_other_comes_for_the_first_time(
    server: Server,
) -> None:
    other = Server()
    other.kill()
    layer: Any = RedisChannelLayer(hosts=[server.url, other.url], **QUICK)
    try:
        listener = Listener(layer)
        layer.add_gap_listener(listener.gap)
        group = next(g for g in map(str, range(99)) if not _on_second(layer, g))
        await layer.group_add_sink(group, listener.hear)
        await kill(server, "pubsub")
        await soon(lambda: not layer._links[0].subscriber.line.up)
        await soon(lambda: layer._links[0].subscriber.ready)
        assert listener.gaps == 0
        other.start()
        await soon(lambda: listener.gaps == 1)
        await soon(lambda: layer.connected)
    finally:
        await layer.close()
        other.stop()


def _on_second(layer: Any, group: str) -> bool:
    return bool(layer.wire.shard(layer.wire.group_channel(group)))


async def test_a_join_while_redis_is_away_fails_and_leaves_nothing(server: Server) -> None:
    async with listening(server.url) as listener:
        server.kill()
        await soon(lambda: not listener.layer.connected)
        heard: list[Any] = []
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(GatewayUnavailable):
                await listener.layer.group_add_sink("h", heard.append)
            with pytest.raises(GatewayUnavailable):
                await listener.layer.new_channel()
        assert "h" not in listener.layer._fanout
        assert len(listener.layer._queues._queues) == 0
        wanted = set(listener.layer._links[0].subscriber._wanted)
        assert {name for name in wanted if "__canary__" not in name} == {"asgi__group__g"}
        server.start()
        await soon(lambda: listener.layer.connected)
        await listener.layer.group_add_sink("h", heard.append)
        await sent_at_last(listener, 1)
        await listener.layer.group_send("h", {"type": "t"})
        await soon(lambda: heard == [{"type": "t"}])


async def test_a_receiver_outlives_an_absence_of_redis(server: Server) -> None:
    async with listening(server.url) as listener:
        layer = listener.layer
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        for n in (1, 2):
            await listener.send(n)
        await soon(lambda: listener.heard == [0, 1, 2])
        server.kill()
        await soon(lambda: not layer.connected)
        assert [(await layer.receive(channel))["n"] for _ in (1, 2)] == [1, 2]
        waiting = asyncio.ensure_future(layer.receive(channel))
        await asyncio.sleep(1.2)  # longer than a join may take
        server.start()
        await soon(lambda: layer.connected)
        await sent_at_last(listener, 3)
        async with asyncio.timeout(PATIENCE):
            assert (await waiting)["n"] == 3


async def test_a_link_that_is_half_open_before_all_is_confirmed_is_found(server: Server) -> None:
    async with (
        proxy(server.port) as hole,
        listening(f"redis://127.0.0.1:{hole.port}") as listener,
    ):
        subscriber = listener.layer._links[0].subscriber
        restore = subscriber.line._on_up

        def become_silent() -> None:
            restore()
            hole.open.clear()

        subscriber.line._on_up = become_silent
        subscriber.line.drop("that is the test")
        await soon(lambda: not hole.open.is_set())
        await soon(lambda: not subscriber.line.up)
        subscriber.line._on_up = restore
        hole.open.set()
        await soon(lambda: listener.gaps and listener.layer.connected)
        await sent_at_last(listener, 1)
        await soon(lambda: listener.heard[-1] == 1)


class Full:
    """Makes no connection, as a server that has as many as it takes."""

    def make_connection(self) -> Any:
        raise ConnectionRefusedError("max number of clients reached")


async def test_listening_goes_on_while_nothing_can_be_published(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In which a server that has no core for a moment answers all the same.
    canary = {"canary_timeout": 0.5}
    async with (
        listening(server.url, **canary) as listener,
        listening(server.url, **canary) as other,
    ):
        link = listener.layer._links[0]
        link.publisher.line._pool, pool = Full(), link.publisher.line._pool
        with monkeypatch.context() as patched:
            patched.setattr("sockets.layers.line.CONNECT_TIMEOUT", 0.1)  # nothing is queued then
            link.publisher.line.drop("that is the test")
            await soon(lambda: not link.publisher.line.up)
            sought = link.publisher.line.down_at + 2 * 3 * canary["canary_timeout"]
            await soon(lambda: asyncio.get_running_loop().time() > sought)
        assert "do not come through" not in caplog.text and not link.publisher.line.up
        await soon(lambda: link.subscriber.ready)
        await sent_at_last(other, 1)
        await soon(lambda: listener.heard[-1] == 1)
        link.publisher.line._pool = pool
        await soon(lambda: listener.layer.connected)
        await sent_at_last(listener, 2)
        await soon(lambda: listener.heard[-1] == 2)


async def test_an_answer_that_nobody_can_read_ends_one_connection_only(server: Server) -> None:
    async with listening(server.url) as listener:
        publisher, before = (
            listener.layer._links[0].publisher,
            metrics.LAYER_RECONNECTS._value.get(),
        )
        publisher.line.write(pack(b"PING"))  # its answer is to no message
        await soon(lambda: metrics.LAYER_RECONNECTS._value.get() > before)
        await soon(lambda: listener.layer.connected)
        await sent_at_last(listener, 1)
        await soon(lambda: listener.heard[-1] == 1)
