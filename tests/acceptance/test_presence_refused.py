"""Redis answers and takes no writes, for longer than a lease: nobody who is there is offline."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.place import BOUND, GRACE, LEASE, Place, crowd, place, ready
from tests.acceptance.test_http_api import api_of
from tests.support.gateway import Gateway
from tests.support.peers import client
from tests.support.scale import scaled
from tests.support.valkey import Server

USERS = [f"u{n}" for n in range(5)]


async def states(node: Gateway, users: list[str]) -> dict[str, str]:
    """As the HTTP API of this node tells them."""
    async with api_of(node) as http:
        answer = await http.post("/presence", json={"users": users})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["users"]
        return {user: one["state"] for user, one in found.items()}


async def all_are(node: Gateway, users: list[str], state: str) -> bool:
    found = set((await states(node, users)).values())
    assert found <= {"connected", "in_grace"}, "nobody here ever left"
    return found == {state}


REFUSALS = {
    "no memory left": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "a replica": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "missing rights": ("ACL SETUSER default -zadd", "ACL SETUSER default +zadd"),
}


KINDS = scaled(len(REFUSALS), 1)


@pytest.mark.parametrize(
    ("refuse", "allow"), list(REFUSALS.values())[:KINDS], ids=list(REFUSALS)[:KINDS]
)
async def test_nobody_is_offline_while_writes_are_refused(
    tmp_path: Path, redis: Server, refuse: str, allow: str
) -> None:
    async with place(tmp_path, redis) as here:
        a, b = await here.begin("a", "b")
        await crowd(a, USERS)
        others = [f"b-{user}" for user in USERS]
        await crowd(b, others)
        everybody = USERS + others
        await here.until("told", lambda: len(here.heard("user_online")) == len(everybody))
        assert redis.ask(refuse.encode()) == b"+OK\r\n"
        for node in (a, b):
            grace = partial(all_are, node, everybody, "in_grace")
            await here.until("in grace", grace, LEASE + 20)
            async with api_of(node) as http:
                own = USERS[0] if node is a else others[0]
                assert (await http.get(f"/users/{own}")).json()["state"] == "in_grace"
        ending = asyncio.get_running_loop().time() + LEASE + GRACE
        while asyncio.get_running_loop().time() < ending:
            assert await all_are(a, everybody, "in_grace")
        assert redis.ask(allow.encode()) == b"+OK\r\n"
        for node in (a, b):
            back = partial(all_are, node, everybody, "connected")
            await here.until("back", back, LEASE + 20)
            await here.until("ready", partial(ready, node), LEASE + 20)
        ending = asyncio.get_running_loop().time() + LEASE + GRACE
        while asyncio.get_running_loop().time() < ending:
            assert await all_are(a, everybody, "connected")
        assert not here.heard("user_offline")


async def test_a_killed_node_is_offline_in_time_all_the_same(tmp_path: Path, redis: Server) -> None:
    """The only one; its successor, which took no part, knows what the leases say."""
    async with place(tmp_path, redis) as here:
        (a,) = await here.begin("a")
        await client(a, "gone")
        await here.until("told", lambda: len(here.heard("user_online")) == 1)
        await asyncio.to_thread(a.kill)
        await here.until("no lease", lambda: _no_lease(here, "gone"), BOUND)
        assert (await here.look(["gone"]))["gone"].state == "offline"
        (a,) = await here.begin("a")
        assert await states(a, ["gone"]) == {"gone": "offline"}
        await here.until("offline told", lambda: here.heard("user_offline"), BOUND + 5)


async def _no_lease(here: Place, user: str) -> bool:
    return not await here.store.exists(f"gw:{{{user}}}:sessions")
