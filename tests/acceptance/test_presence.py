"""Is user 42 connected, and where? Real nodes, a real Redis, a real PostgreSQL, real trouble."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed

from sockets.types import Kind
from tests.acceptance.place import BOUND, GRACE, LEASE, RENEW, Place, crowd, place, ready, say
from tests.support.gateway import Gateway
from tests.support.peers import Peer, client, refused, worker
from tests.support.scale import scaled
from tests.support.valkey import Server

# --- kill -9


def _lost(here: Place) -> list[dict[str, Any]]:
    """What was told of sessions whose node was gone."""
    return [event for event in here.heard("session_closed") if event["cause"] == "lost"]


async def test_a_killed_node_leaves_no_ghost(tmp_path: Path, redis: Server) -> None:
    async with place(tmp_path, redis) as here:
        a, b, c = await here.begin("a", "b", "c")
        gone = [f"gone-{n}" for n in range(scaled(800, 40))]
        both = [f"both-{n}" for n in range(scaled(200, 10))]
        await crowd(a, both)
        await crowd(c, gone + both)
        helper = await worker(c, pools="p")
        tab = await client(b, "asks")
        await _assign(b, helper, "asks")
        everybody = gone + both
        await here.until("all online", lambda: _all_online(here, everybody))
        await here.until("all told", lambda: len(here.heard("user_online")) == len(everybody) + 1)
        await here.until("all rows", lambda: here.rows("node = 'c'") == len(everybody) + 1)
        killed = time.monotonic()
        await asyncio.to_thread(c.kill)
        await here.until("no ghost", lambda: _connected(here, everybody, set(both)), BOUND)
        counts = [await here.store.exists(f"gw:{{{user}}}:sessions") for user in gone]
        assert sum(counts) == 0, "one command, in any language"
        await here.until(
            "offline told", lambda: len(here.heard("user_offline")) >= len(gone), BOUND + 5
        )
        took = time.monotonic() - killed
        frame = await tab.receive(LEASE + 10)
        assert frame["event"] == "task.lost"
        await here.until("rows closed", lambda: not here.rows("node = 'c' and close_code is null"))
        assert here.rows("node = 'c' and close_code = 4099") == len(everybody) + 1
        assert here.rows("node = 'a' and close_code is null") == len(both)
        offline = Counter(event["user"] for event in here.heard("user_offline"))
        assert offline == Counter(gone), "each once, and nobody who is at a too"
        await here.until("closes told", lambda: len(_lost(here)) >= len(everybody) + 1)
        assert len(_lost(here)) == len(everybody) + 1
        assert await here.connected(everybody) == set(both)
        assert [info.name for info in await here.registry.all()] == ["a", "b"]
        ids = here.api.ids
        say(
            f"kill -9 of a node with {len(everybody) + 1} sessions, LEASE_TTL {LEASE:g} s: all "
            f"told {took:.1f} s later; events {len(ids)}, told twice {len(ids) - len(set(ids))}"
        )


async def _all_online(here: Place, users: list[str]) -> bool:
    return await here.connected(users) == set(users)


async def _connected(here: Place, users: list[str], expected: set[str]) -> bool:
    return await here.connected(users) == expected


async def _assign(node: Gateway, helper: Peer, user: str) -> None:
    code = f"from sockets.api import assign_task; assign_task('p', 'e', user_id={user!r})"
    assigning = asyncio.create_task(asyncio.to_thread(node.manage, "shell", "-v0", "-c", code))
    offer = await helper.receive(30)
    assert offer["type"] == "task"
    await helper.ask(type="accept", task=offer["task"], offer=offer["offer"])
    await assigning


# --- SIGSTOP


async def test_a_frozen_node_is_never_split(tmp_path: Path, redis: Server) -> None:
    """Longer than its lease; meanwhile some of its clients come back elsewhere."""
    async with place(tmp_path, redis) as here:
        a, b = await here.begin("a", "b")
        users = [f"u{n}" for n in range(scaled(200, 20))]
        peers = await crowd(a, users)
        moved = users[::4]
        a.signal(signal.SIGSTOP)
        await here.until("offline", lambda: _connected(here, users, set()), BOUND)
        await here.until("told", lambda: len(here.heard("user_offline")) == len(users), BOUND + 5)
        back = [
            await client(b, user, client_id=peer.welcome["client"])
            for user, peer in zip(users, peers, strict=True)
            if user in moved
        ]
        a.signal(signal.SIGCONT)
        stayed = [peer for user, peer in zip(users, peers, strict=True) if user not in moved]
        # Served only when it has registered anew: the answer knows the session that asks.
        answers = await asyncio.gather(*(peer.ask(type="sessions") for peer in stayed))
        for peer, answer in zip(stayed, answers, strict=True):
            assert [s["session"] for s in answer["sessions"]] == [peer.welcome["session"]]
        for user, peer in zip(users, peers, strict=True):
            if user in moved:
                assert (await peer.closed())[0] == 4503
        found = await here.look(users)
        live = [peer.welcome["session"] for peer in stayed + back]
        assert sorted(one.sessions[0].id for one in found.values()) == sorted(live)
        assert all(len(one.sessions) == 1 for one in found.values())
        await here.until(
            "rows", lambda: here.rows("node = 'a' and close_code is null") == len(stayed)
        )
        await here.until("online again", lambda: len(here.heard("user_online")) == 2 * len(users))


async def test_late_results_of_a_frozen_worker_node(tmp_path: Path, redis: Server) -> None:
    async with place(tmp_path, redis) as here:
        a, b = await here.begin("a", "b")
        helper = await worker(a, pools="p")
        tab = await client(b, "42")
        await _assign(b, helper, "42")
        a.signal(signal.SIGSTOP)
        lost = await tab.receive(LEASE + 15)
        assert lost["event"] == "task.lost"
        a.signal(signal.SIGCONT)
        late = await helper.ask(type="done", task=lost["data"]["task"], data=1)
        assert late["error"]["code"] == "task_lost"


# --- Redis


async def test_a_flushed_redis_is_right_again_within_a_renewal(
    tmp_path: Path, redis: Server
) -> None:
    async with place(tmp_path, redis) as here:
        nodes = await here.begin("a", "b")
        users = [f"u{n}" for n in range(scaled(500, 30))]
        for node in nodes:
            await crowd(node, users)
        await here.until("told", lambda: len(here.heard("user_online")) == len(users))

        async def forgotten() -> bool:
            await here.store.flushall()
            return await here.connected(users) == set()  # unless a renewal came between

        await here.until("nobody is known", forgotten)
        flushed = time.monotonic()
        await here.until("everybody twice", lambda: _everybody_twice(here, users), RENEW + 5)
        took = time.monotonic() - flushed
        await asyncio.sleep(GRACE + 1)
        assert len(here.heard("user_online")) == len(users) and not here.heard("user_offline")
        listed = [
            await here.registry.count_users(info.id, Kind.CLIENT)
            for info in await here.registry.all()
        ]
        assert listed == [len(users)] * 2
        say(f"Redis flushed under {2 * len(users)} sessions: right again after {took:.1f} s")


async def _everybody_twice(here: Place, users: list[str]) -> bool:
    return all(len(one.sessions) == 2 for one in (await here.look(users)).values())


async def test_after_an_outage_nobody_is_offline_who_is_there(
    tmp_path: Path, redis: Server
) -> None:
    """Longer than the leases: they have all run out when Redis answers again."""
    async with place(tmp_path, redis) as here:
        nodes = await here.begin("a", "b")
        users = [f"u{n}" for n in range(scaled(100, 20))]
        for node in nodes:
            await crowd(node, users)
        lonely = await client(nodes[0], "leaves meanwhile")
        await here.until("told", lambda: len(here.heard("user_online")) == len(users) + 1)
        redis.freeze()
        await asyncio.sleep(1.5 * LEASE)
        for node in nodes:
            await here.until("not ready", lambda: not ready(node))  # noqa: B023
            assert (await refused(node.client_url(user_id="new")))[0] == 1013
        await lonely.close()
        redis.thaw()
        await here.until("everybody", lambda: _everybody_twice(here, users), 30)
        for node in nodes:
            await here.until("ready", lambda: ready(node))  # noqa: B023
        # Of whom left meanwhile it may be known by now.
        assert {e["user"] for e in here.heard("user_offline")} <= {"leaves meanwhile"}
        assert [e["user"] for e in here.heard("user_online")].count(users[0]) == 1
        await here.until(
            "whoever left",
            lambda: [e["user"] for e in here.heard("user_offline")] == ["leaves meanwhile"],
            2 * LEASE + GRACE + 15,
        )
        await client(nodes[0], "new")


# --- control


async def test_control_reaches_every_node_and_says_what_came_of_it(
    tmp_path: Path, redis: Server
) -> None:
    async with place(tmp_path, redis, SESSIONS_PER_USER="3") as here:
        a, b = await here.begin("a", "b")
        one, two, other = [
            await client(node, user) for node, user in ((a, "42"), (b, "42"), (b, "43"))
        ]
        assert (await asyncio.to_thread(_api, a, "disconnect_user", "42")) == [2, 0]
        assert (await one.closed())[0] == (await two.closed())[0] == 4504
        session = other.welcome["session"]
        assert (await asyncio.to_thread(_api, a, "disconnect_session", session)) == [1, 0]
        assert (await other.closed())[0] == 4504

        peers = [await client(node, "44") for node in (a, b)]
        assert (await asyncio.to_thread(_api, a, "block_user", "44")) == [2, 0]
        for peer in peers:
            assert (await peer.closed())[0] == 4507
        for node in (a, b):
            assert (await refused(node.client_url(user_id="44")))[0] == 4507
        await asyncio.to_thread(_api, b, "unblock_user", "44")
        await client(b, "44")

        # 50 at once, over two nodes: three get in.
        tries = await asyncio.gather(
            *(refused_or_in((a, b)[n % 2], "45") for n in range(scaled(50, 20)))
        )
        assert Counter(tries)["in"] == 3 and set(tries) == {"in", 4505}
        assert len((await here.look(["45"]))["45"].sessions) == 3

        shown = (await asyncio.to_thread(b.manage, "sessions", "--user", "45")).stdout
        assert "user 45: connected" in shown and shown.count("\n45 ") == 3
        shown = (await asyncio.to_thread(b.manage, "sessions")).stdout
        assert shown.count("ready") == 2 and "44" in shown
        lines = (await asyncio.to_thread(b.manage, "sessions", "--json", "--node", "b")).stdout
        assert {json.loads(line)["node"] for line in lines.splitlines()} == {"b"}


async def refused_or_in(node: Gateway, user: str) -> str | int:
    try:
        await client(node, user)
    except ConnectionClosed as error:
        assert error.rcvd is not None
        return error.rcvd.code
    return "in"


def _api(node: Gateway, name: str, argument: str) -> Any:
    """A call from another process; (closed, unconfirmed) where it says that."""
    code = (
        "import dataclasses, json\nfrom sockets import api\n"
        f"found = api.{name}({argument!r})\n"
        "print(json.dumps(found if isinstance(found, bool) else dataclasses.astuple(found)))"
    )
    return json.loads(node.manage("shell", "-v0", "-c", code).stdout)
