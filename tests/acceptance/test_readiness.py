"""Ready means that a newcomer would be welcomed and a durable message kept; and what Redis says
about it is for the log, not for strangers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support.gateway import API_KEY, ROOT, SHORT, Gateway, running, wait_for
from tests.support.peers import Peer, client, http_get, worker
from tests.support.valkey import Server

QUICK = {**SHORT, "LEASE_RENEW": "0.5", "LEASE_TTL": "10"}
KEY = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def admin(server: Server) -> Iterator[Redis]:
    made = Redis(port=server.port)
    yield made
    made.close()


def readiness(node: Gateway) -> tuple[int, dict[str, Any]]:
    status, body = http_get(node.worker_port, "/readyz")
    return status, json.loads(body)


def until_ready_is(node: Gateway, status: int, reason: str | None = None) -> None:
    def is_so() -> bool:
        now, body = readiness(node)
        return now == status and body.get("reason") == reason

    wait_for(is_so, f"readiness {status} {reason}: {readiness(node)}")


def notify(node: Gateway) -> tuple[int, dict[str, Any]]:
    status, body = http_get(
        node.worker_port,
        "/api/v1/users/42/messages",
        method="POST",
        body=b'{"event":"e"}',
        headers=KEY,
    )
    return status, json.loads(body)


async def test_what_redis_refuses_is_told_in_our_words(
    server: Server, admin: Redis, tmp_path: Path
) -> None:
    with running(tmp_path, REDIS_URL=server.url, **QUICK) as node:
        tab = await client(node, "42")
        until_ready_is(node, 200)
        admin.config_set("maxmemory", "1")
        await asyncio.to_thread(until_ready_is, node, 503, "Redis is out of memory")
        status, body = notify(node)
        assert status == 503 and body["outcome"] == "nothing"
        for text in (json.dumps(body), json.dumps(readiness(node))):
            assert "maxmemory" not in text and "script" not in text
        for _ in range(20):
            readiness(node)
        admin.config_set("maxmemory", "0")
        await asyncio.to_thread(until_ready_is, node, 200)
        assert notify(node)[0] == 200
        while (await tab.receive())["type"] != "message":
            pass
        log = node.log()
        assert "command not allowed when used memory" in log, "an operator finds Redis' own words"
        assert "/readyz" not in log, "a probe writes no line"
        assert "Traceback" not in log


async def test_where_publishing_is_refused_messages_are_kept(
    server: Server, admin: Redis, tmp_path: Path
) -> None:
    admin.acl_setuser(
        "app", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=["+@all"]
    )
    url = f"redis://app:pw@127.0.0.1:{server.port}/0"
    with running(tmp_path, REDIS_URL=url, **QUICK) as node:
        tab = await client(node, "42")
        admin.acl_setuser("app", commands=["-publish"])
        status, body = notify(node)
        assert (status, body["offset"]) == (200, 1)
        assert (await tab.receive())["offset"] == 1, "the renewal finds it"
        why = "Redis does not let the gateway publish messages"
        await asyncio.to_thread(until_ready_is, node, 503, why)
        admin.acl_setuser("app", commands=["+publish"])
        await asyncio.to_thread(until_ready_is, node, 200)


async def test_a_promise_that_breaks_is_an_error_line_and_no_503(
    server: Server, admin: Redis, tmp_path: Path
) -> None:
    admin.acl_setuser(
        "app",
        enabled=True,
        passwords=["+pw"],
        keys=["*"],
        channels=["*"],
        commands=["+@all", "-config"],
    )
    url = f"redis://app:pw@127.0.0.1:{server.port}/0"
    with running(tmp_path, REDIS_URL=url, REDIS_DURABILITY="always", **QUICK) as node:
        until_ready_is(node, 200)
        wait_for(lambda: "no right to CONFIG GET" in node.log(), "the log to say so")
        assert node.log().count("no right to CONFIG GET") == 1


async def peers_do_everything(node: Gateway) -> None:
    tab, hand = await client(node, "42"), await worker(node)
    assert (await hand.ask(type="notify", user="42", event="e", collapse_key="k", ttl=5))["ok"]
    assert (await tab.receive())["event"] == "e"
    again: Peer = await client(node, "42", epoch=tab.welcome["epoch"], offset="0")
    assert again.welcome["recovered"] is True
    for path in (
        "/api/v1/users/42",
        "/api/v1/users/42/messages",
        "/api/v1/nodes",
        "/api/v1/sessions",
    ):
        assert http_get(node.worker_port, path, headers=KEY)[0] == 200
    for method, path, body in (
        ("POST", "/api/v1/presence", b'{"users":["42","43"]}'),
        ("POST", "/api/v1/users/42/revocations", b'{"sid":"s"}'),
        ("PUT", "/api/v1/users/43/block", b"{}"),
        ("DELETE", "/api/v1/users/43/block", None),
        ("DELETE", "/api/v1/users/42/sessions", None),
    ):
        status, answer = http_get(node.worker_port, path, method=method, body=body, headers=KEY)
        assert status == 200, (path, answer)


async def test_the_rights_of_the_page_are_enough(
    server: Server, admin: Redis, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "redis-rights.md").read_text()
    (rule,) = re.findall(r"^ACL SETUSER .*$", page, re.M)
    admin.execute_command(*rule.replace("PASSWORD", "pw").split())
    url = f"redis://gateway:pw@127.0.0.1:{server.port}/0"
    with running(tmp_path, REDIS_URL=url, **QUICK) as node:
        until_ready_is(node, 200)
        await peers_do_everything(node)
    assert admin.acl_log() == [], "nothing was denied"
    assert "denies" not in node.log()
