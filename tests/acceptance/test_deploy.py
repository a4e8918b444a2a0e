"""Deploys: a node goes, in good order, and nobody is missed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from websockets.exceptions import ConnectionClosed

from sockets.base.ids import new_id
from sockets.layers.groups import user_group
from sockets.types import PresenceState
from tests.acceptance.cluster import cluster
from tests.acceptance.place import LEASE, SETTINGS, place, ready, say
from tests.support.api_server import api_server
from tests.support.gateway import Gateway, wait_for
from tests.support.peers import Peer, RawClient, client, http_get
from tests.support.scale import scaled
from tests.support.valkey import Server


async def test_a_drained_node_hands_its_grace_to_the_others(tmp_path: Path, redis: Server) -> None:
    async with place(tmp_path, redis, DRAIN_SECONDS="0.3", PRESENCE_GRACE="3") as here:
        a, b = await here.begin("a", "b")
        stays, goes = await client(a, "stays"), await client(a, "goes")
        await here.until("told", lambda: len(here.heard("user_online")) == 2)
        a.signal(signal.SIGTERM)
        assert (await stays.closed())[0] == (await goes.closed())[0] == 4000
        await client(b, "stays", client_id=stays.welcome["client"])
        assert await asyncio.to_thread(a.wait) == 0
        assert (await here.look(["goes"]))["goes"].state is not PresenceState.CONNECTED
        await here.until("told", lambda: here.heard("user_offline"))
        assert [e["user"] for e in here.heard("user_offline")] == ["goes"]
        assert here.rows("close_code = 4000") == 2


async def test_the_drain_command_ends_a_node_from_elsewhere(tmp_path: Path, redis: Server) -> None:
    async with place(tmp_path, redis, READY_LAG="0.5", DRAIN_SECONDS="0.5") as here:
        a, b = await here.begin("a", "b")
        tab = await client(a, "42")
        unknown = await asyncio.to_thread(b.manage, "drain", "--node", "z", check=False)
        assert unknown.returncode == 1 and "those that do: a, b" in unknown.stderr
        drained = asyncio.create_task(asyncio.to_thread(b.manage, "drain", "--node", "a"))
        closing = await tab.receive(30)
        assert (closing["type"], closing["code"]) == ("closing", 4000)
        assert (await tab.closed())[0] == 4000
        assert "node a is gone" in (await drained).stdout
        assert await asyncio.to_thread(a.wait) == 0


async def test_one_name_is_one_node(tmp_path: Path, redis: Server) -> None:
    """On two machines, where no file lock is seen; whoever is dead is in nobody's way."""
    async with place(tmp_path, redis) as here:
        (a,) = await here.begin("a")
        other = Gateway(tmp_path / "other machine", NODE_NAME="a", **here.environment)
        with pytest.raises(AssertionError, match=f"process {a.pid} .* already runs as node 'a'"):
            await asyncio.to_thread(other.start)
        assert other.wait() == 1
        await client(a, "42")
        await asyncio.to_thread(a.kill)
        here.nodes["other"] = other
        await asyncio.to_thread(other.start)
        await here.until("ready", lambda: ready(other))
        await here.until("told", lambda: here.heard("user_offline"), LEASE + 10)


async def test_ready_lag_goes_before_the_drain(tmp_path: Path, redis: Server) -> None:
    async with place(tmp_path, redis, READY_LAG="3", DRAIN_SECONDS="0.1") as here:
        (a,) = await here.begin("a")
        first = await client(a, "42")
        a.signal(signal.SIGTERM)
        await here.until("not ready", lambda: not ready(a))
        late = await client(a, "43")  # a balancer that has not noticed
        assert http_get(a.client_port, "/healthz")[0] == 200
        assert (await first.closed())[0] == (await late.closed())[0] == 4000
        assert await asyncio.to_thread(a.wait) == 0


@pytest.mark.timeout(scaled(600, 120))
async def test_a_rolling_restart_under_load_is_no_event(tmp_path: Path, redis: Server) -> None:
    """Make before break: no offline event, no message missed, none doubled."""
    users, messages, rate = scaled(200, 12), scaled(12_000, 300), scaled(200, 30)
    async with (
        api_server() as api,
        cluster(
            tmp_path,
            redis.url,
            users=users,
            **SETTINGS
            | {
                "API_SERVER_URL": f"http://127.0.0.1:{api.port}",
                "DRAIN_SECONDS": str(scaled(10, 1)),
                "READY_LAG": "0.3",
                "PRESENCE_GRACE": "10",
            },
        ) as audience,
    ):
        publishing = asyncio.create_task(audience.publish(messages, rate))
        took = []
        for node in audience.nodes:
            await asyncio.sleep(1)  # the pace of the deployment
            began = time.monotonic()
            node.signal(signal.SIGTERM)
            assert await asyncio.to_thread(node.wait, 60) == 0
            took.append(time.monotonic() - began)
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(wait_for, lambda: ready(node), "ready")  # noqa: B023
        await publishing
        await audience.until("all at the end of their streams", lambda: not audience.behind())
        total = audience.total()
        per_user = {user: offset for user, (_, offset) in audience.heads.items()}
        missed = sum(per_user[one.user] - len(one.seen) for one in audience.listeners)
        events = [event["type"] for request in api.requests for event in request.events]
        offline = events.count("user_offline")
        say(
            f"rolling restart of two nodes, {messages} messages at {rate}/s to "
            f"{len(audience.listeners)} sessions: moved {total['connections lost']}, drains took "
            f"{', '.join(f'{seconds:.1f} s' for seconds in took)}; missed {missed}, doubled "
            f"{total['doubled']}, gaps {total['gaps']}, offline events {offline}"
        )
        assert total["closing"] == total["connections lost"], "each was told before"
        assert (missed, total["doubled"], total["gaps"], offline) == (0, 0, 0, 0)
        assert (total["reset"], total["not recovered"]) == (0, 0)
        assert events.count("user_online") == users


async def test_stalled_clients_cost_a_drain_no_more_than_its_limit(
    tmp_path: Path, redis: Server
) -> None:
    async with place(tmp_path, redis, SHUTDOWN_GRACE="2", DRAIN_SECONDS="0.5") as here:
        (a,) = await here.begin("a")
        deaf = [
            RawClient(a.client_port, f"/?user_id=deaf-{n}", receive_buffer=4096) for n in range(5)
        ]
        a.manage("notify", "deaf-0", "e", f'"{"x" * 40_000}"')
        began = time.monotonic()
        a.signal(signal.SIGTERM)
        assert await asyncio.to_thread(a.wait) == 0
        assert time.monotonic() - began < 15
        assert here.rows("close_code is null") == 0
        for peer in deaf:
            peer.socket.close()
        assert await here.registry.all() == []
        assert await here.connected([f"deaf-{n}" for n in range(5)]) == set()


SLOW = 0.4
"""Seconds that a client of the test needs to come back, less than what it has: DRAIN_SECONDS."""


class Overlapping:
    """A client as docs/reference/protocol.md wants it: it opens its new connection before the old
    one is gone, reads the old one to its end, and drops by id what came by both."""

    def __init__(self, nodes: list[Gateway], user: str) -> None:
        self._nodes = nodes
        self._user = user
        self.id = new_id()
        self.seen: Counter[str] = Counter()
        self.moves = 0
        self.codes: list[int] = []
        self._reading: set[asyncio.Task[None]] = set()

    async def open(self, node: Gateway) -> None:
        peer = await client(node, self._user, client_id=self.id)
        task = asyncio.create_task(self._read(node, peer))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, node: Gateway, peer: Peer) -> None:
        while True:
            try:
                frame = await peer.receive(60)
            except ConnectionClosed as error:
                self.codes.append(error.rcvd.code if error.rcvd else 1006)
                return
            if frame["type"] == "message":
                self.seen[frame["data"]] += 1
            elif frame["type"] == "closing":
                await asyncio.sleep(frame["reconnect_after"] + SLOW)
                (other,) = [one for one in self._nodes if one is not node]
                self.moves += 1
                await self.open(other)

    async def close(self) -> None:
        for task in tuple(self._reading):
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)


async def test_a_rolling_deploy_misses_no_ephemeral_message(tmp_path: Path, redis: Server) -> None:
    users = scaled(50, 4)
    async with place(tmp_path, redis, DRAIN_SECONDS="2", READY_LAG="0.1") as here:
        nodes = await here.begin("a", "b")
        layer = RedisPubSubChannelLayer(hosts=[redis.url])
        tabs = [Overlapping(nodes, f"u{number}") for number in range(users)]
        for number, tab in enumerate(tabs):
            await tab.open(nodes[number % 2])
        sent = 0

        async def publish() -> None:
            nonlocal sent
            while True:
                for tab in tabs:
                    group, number = user_group(tab._user), f"{sent}"
                    message = {"type": "user.notify", "event": "e", "data": number}
                    await layer.group_send(group, message)
                sent += 1
                await asyncio.sleep(0.02)

        publishing = asyncio.create_task(publish())
        for node in nodes:
            node.signal(signal.SIGTERM)
            assert await asyncio.to_thread(node.wait, 60) == 0
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(wait_for, lambda: ready(node), "ready")  # noqa: B023
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        await here.until("all", lambda: all(f"{sent - 1}" in tab.seen for tab in tabs))
        missed = sum(len({*map(str, range(sent))} - tab.seen.keys()) for tab in tabs)
        twice = sum(count - 1 for tab in tabs for count in tab.seen.values())
        say(
            f"rolling deploy of two nodes, {sent} ephemeral messages to each of {users} clients "
            f"that open before they close: missed {missed}, came by both sockets {twice}, moves "
            f"{sum(tab.moves for tab in tabs)}"
        )
        codes = {code for tab in tabs for code in tab.codes}
        for tab in tabs:
            await tab.close()
        assert (missed, codes) == (0, {4000})
        assert all(tab.moves >= 1 for tab in tabs)
