"""Whoever only asks changes nothing: no key in Redis, and no connected user's stream in memory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from redis import Redis

from tests.support.gateway import API_KEY, SHORT, Gateway, running
from tests.support.peers import client, http_get
from tests.support.valkey import Server

KEY = {"Authorization": f"Bearer {API_KEY}"}
USERS = [f"nobody-{n}" for n in range(40)]


def call(node: Gateway, method: str, path: str, body: Any) -> tuple[int, Any]:
    headers = {**KEY, "Content-Type": "application/json"}
    status, answer = http_get(
        node.worker_port,
        f"/api/v1{path}",
        method=method,
        body=json.dumps(body).encode(),
        headers=headers,
    )
    return status, json.loads(answer)


def ask_everything(node: Gateway, users: list[str]) -> None:
    for user in users:
        for path in (
            f"/api/v1/users/{user}/messages",
            f"/api/v1/users/{user}/messages?epoch=e&offset=3",
        ):
            status, body = http_get(node.worker_port, path, headers=KEY)
            assert (status, json.loads(body)["messages"]) == (200, [])
    for path in ("/api/v1/sessions", "/api/v1/nodes"):
        assert http_get(node.worker_port, path, headers=KEY)[0] == 200
    status, answer = call(node, "POST", "/presence", {"users": users})
    assert status == 200 and set(answer["users"]) == set(users)


def positions(node: Gateway, users: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for user in users:
        status, body = http_get(node.worker_port, f"/api/v1/users/{user}", headers=KEY)
        assert status == 200
        found[user] = json.loads(body)["position"]
    return found


async def test_questions_leave_no_key(tmp_path: Path) -> None:
    server = Server()
    redis = Redis(port=server.port)
    environment = {**SHORT, "REDIS_URL": server.url}
    try:
        with running(tmp_path, **environment) as node:
            before = set(redis.keys())  # type: ignore[arg-type]
            await asyncio.to_thread(ask_everything, node, USERS)
            assert set(redis.keys()) == before  # type: ignore[arg-type]
            told = await asyncio.to_thread(positions, node, USERS)
            made = set(redis.keys()) - before  # type: ignore[arg-type]
            assert made == {f"gw:{{{user}}}:meta".encode() for user in USERS}
            assert all(0 < redis.ttl(key) <= 600 for key in made)  # type: ignore[operator]
            assert await asyncio.to_thread(positions, node, USERS) == told
            # Good at connect: nothing to reload, and nothing missed.
            call(node, "POST", f"/users/{USERS[0]}/messages", {"event": "e"})
            for user, missed in ((USERS[0], 1), (USERS[1], 0)):
                position = {name: str(value) for name, value in told[user].items()}
                tab = await client(node, user, **position)
                assert tab.welcome["recovered"] is True
                for _ in range(missed):
                    assert (await tab.receive())["event"] == "e"
                assert redis.ttl(f"gw:{{{user}}}:meta") > 600  # type: ignore[operator]
    finally:
        redis.close()
        server.stop()


async def test_questions_take_no_connected_users_stream_in_memory(tmp_path: Path) -> None:
    with running(tmp_path, MEMORY_MAX_USERS="20", **SHORT) as node:
        tab = await client(node, "here")
        call(node, "POST", "/users/here/messages", {"event": "one"})
        assert (await tab.receive())["offset"] == 1
        await asyncio.to_thread(ask_everything, node, USERS)
        await asyncio.to_thread(positions, node, USERS)
        call(node, "POST", "/users/here/messages", {"event": "two"})
        assert (await tab.receive())["offset"] == 2, "no reset"
        position = {"epoch": tab.welcome["epoch"], "offset": "1"}
        again = await client(node, "here", **position)
        assert again.welcome["recovered"] is True
