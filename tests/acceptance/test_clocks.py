"""Nodes whose clocks are five minutes wrong, on one Redis: nobody notices."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_http_api import api_of
from tests.support.gateway import Gateway, running
from tests.support.peers import client, refused, worker
from tests.support.valkey import Server

WRONG = 300
LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]

TASK = {"pool": "p", "event": "e"}


def clock(seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is so much ahead."""
    assert LIBRARIES, "libfaketime is not installed (Debian: apt-get install faketime)"
    return {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "LEASE_TTL": "2",
        "LEASE_RENEW": "0.5",
    }


async def _block_lasts(node: Gateway, redis: Server, **length: float) -> float:
    """Seconds that a block lasts in Redis; 0: there is none."""
    async with api_of(node) as http:
        answer = await http.put("/users/b/block", json=length)
        assert answer.status_code == 200, answer.text
        left = int(redis.ask(b"PTTL gw:{b}:block").split(b":")[1]) / 1000
        await http.delete("/users/b/block")
    return max(0.0, left)


@pytest.mark.parametrize("wrong", [WRONG, -WRONG])
async def test_a_wrong_clock_decides_nothing(tmp_path: Path, wrong: int) -> None:
    redis = Server()
    try:
        with running(tmp_path / "a", REDIS_URL=redis.url, NODE_NAME="a", **clock(wrong)) as node:
            assert 55 < await _block_lasts(node, redis, until=time.time() + 60) <= 60
            assert 55 < await _block_lasts(node, redis, seconds=60) <= 60
            assert await _block_lasts(node, redis, until=time.time() - 1) == 0
            before = time.time()
            tab = await client(node, "42")
            async with api_of(node) as http:
                (shown,) = (await http.get("/users/42")).json()["sessions"]
                assert before - 1 < shown["connected_at"] <= shown["seen_at"] < time.time() + 1
                # What was proved before counts no more; who logs in anew is let in at once.
                answer = await http.post("/users/42/revocations", json={})
                assert answer.json() == {"closed": 1, "unconfirmed": 0}
                assert (await tab.closed())[0] == 4508
                again = await client(node, "42")
                # So where the caller says since when, by the right clock.
                answer = await http.post("/users/42/revocations", json={"before": time.time()})
                assert answer.json() == {"closed": 1, "unconfirmed": 0}
                assert (await again.closed())[0] == 4508
                third = await client(node, "42")
                far = {"before": time.time() + 3_600}
                await http.post("/users/42/revocations", json=far)
                assert (await third.closed())[0] == 4508
                fourth = await client(node, "42")
                assert (await fourth.ask(type="sessions"))["ok"]
                helper = await worker(node, pools="p")
                assigning = asyncio.create_task(http.post("/tasks", json=TASK))
                offer = await helper.receive()
                await helper.ask(type="accept", task=offer["task"], offer=offer["offer"])
                task = (await assigning).json()
                assert before - 1 < task["created"] <= task["started"] + 1 < time.time() + 2
                (one,) = (await http.get("/nodes")).json()["nodes"]
                assert one["started_at"] <= one["seen_at"]
            for _ in range(4):
                await asyncio.sleep(0.5)
                assert (await fourth.ask(type="sessions"))["ok"], "renewals agree"
            await fourth.close()
            await asyncio.to_thread(node.stop)
            (*_, row) = node.rows("user = '42'")
            lasted = _seconds(row["disconnected_at"]) - _seconds(row["connected_at"])
            assert 0 < lasted < 60
            assert "Traceback" not in node.log()
    finally:
        redis.stop()


def _seconds(text: str) -> float:
    from datetime import UTC, datetime

    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


async def test_a_user_revoked_at_one_node_is_let_in_at_one_that_is_behind(tmp_path: Path) -> None:
    redis = Server()
    more: dict[str, Any] = {"REDIS_URL": redis.url}
    try:
        with (
            running(tmp_path / "a", NODE_NAME="a", **more, **clock(WRONG)) as ahead,
            running(tmp_path / "b", NODE_NAME="b", **more, **clock(-WRONG)) as behind,
        ):
            tabs = [await client(ahead, "42"), await client(behind, "42")]
            async with api_of(ahead) as http:
                answer = await http.post("/users/42/revocations", json={})
                assert answer.json() == {"closed": 2, "unconfirmed": 0}
                for tab in tabs:
                    assert (await tab.closed())[0] == 4508
                back = await client(behind, "42")
                await http.put("/users/42/block", json={"until": time.time() + 60})
                assert (await back.closed())[0] == 4507
                assert (await refused(behind.client_url(user_id="42")))[0] == 4507
    finally:
        redis.stop()
