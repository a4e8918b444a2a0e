"""The last release beside this one, as in a rolling restart: nodes on one Redis, and workers."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway_client import AssignedTask, AsyncClient, errors
from sockets.base.ids import new_id
from tests.acceptance.cluster import Cluster, cluster
from tests.acceptance.test_python_worker import Crew
from tests.support.gateway import API_KEY, ROOT, SHORT, WORKER_KEY, Gateway
from tests.support.patience import PATIENCE
from tests.support.peers import client
from tests.support.releases import checkout_of_last_release
from tests.support.scale import scaled
from tests.support.valkey import Server

RENEW, LEASE = 0.5, 3.0
PERIODS = 3
"""Leases for which both run side by side."""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return checkout_of_last_release(tmp_path / "release")


async def is_online_all_the_time(cluster: Cluster, redis: Redis, seconds: float) -> None:
    """For services in any language: the key of each user is there, whoever renews it."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    keys = [f"gw:{{u{number}}}:sessions" for number in range(cluster.users)]
    while loop.time() < end:
        there = await redis.exists(*keys)
        assert there == len(keys), f"{len(keys) - there} seem to be offline"
        await asyncio.sleep(0.05)


async def test_the_last_release_runs_beside_this_one(
    tmp_path: Path, redis: Server, release: Path
) -> None:
    settings: dict[str, Any] = {
        "LEASE_RENEW": f"{RENEW}",
        "LEASE_TTL": f"{LEASE}",
        "PRESENCE_GRACE": "1",
    }
    store: Redis = Redis.from_url(redis.url)
    messages = scaled(6_000, 1_500)
    async with cluster(
        tmp_path, redis.url, users=20, sessions=2, folders=(release, ROOT), **settings
    ) as both:
        old, new = both.nodes
        assert os.readlink(f"/proc/{old.pid}/cwd") == str(release)
        # Each user has a session at either: both renew the leases, and compare the streams.
        publishing = asyncio.create_task(both.publish(messages, messages / (PERIODS * LEASE)))
        await is_online_all_the_time(both, store, LEASE)
        assert both.total()["connections lost"] == 0, "somebody was closed"
        for one in both.listeners[::3]:
            await one.move()
        await both.until("back", lambda: all(one.welcomed for one in both.listeners))
        await is_online_all_the_time(both, store, LEASE)
        moved = len(both.listeners[::3])
        assert both.total()["connections lost"] == moved
        # The roll: the old one goes, and what comes in its place is of now.
        await asyncio.to_thread(old.stop)
        await both.until("all at one", lambda: all(one.welcomed for one in both.listeners))
        old.folder = ROOT
        await asyncio.to_thread(old.manage, "migrate", "--verbosity", "0")
        await asyncio.to_thread(old.start)
        await asyncio.to_thread(new.kill)
        await both.until("all at the other", lambda: all(one.welcomed for one in both.listeners))
        await publishing
        await both.until("all have all", lambda: not both.behind())
        assert not both.passed_over()
        total = both.total()
        assert not [
            total[name] for name in ("doubled", "gaps", "reset", "not recovered") if total[name]
        ]
        assert total["messages"] >= 2 * messages
    await store.aclose()


async def test_a_worker_of_now_at_a_gateway_of_the_last_release(
    tmp_path: Path, release: Path
) -> None:
    """Its signs of life are not told to the user as progress null."""
    old = Gateway(tmp_path / "old", **SHORT)
    old.folder, old.may_be_warm = release, False
    crew = Crew(old)
    try:
        old.manage("migrate", "--verbosity", "0")
        old.start()
        crew.start({"coroutine": 1})
        tab = await client(old, "kim")
        async with AsyncClient(f"http://127.0.0.1:{old.worker_port}", API_KEY, retries=8) as api:
            data = {"do": "", "seconds": 2}
            asked = {"user": "kim", "timeout": 2}
            task = await _assigned(api, "coroutine", data, asked)
        heard = [await tab.receive()]
        while heard[-1]["event"] == "task.progress":
            heard.append(await tab.receive())
        told = [frame["data"]["data"] for frame in heard[:-1]]
        assert len(told) > 1 and all(one == {"part": 0} for one in told)
        assert (heard[-1]["event"], heard[-1]["data"]["task"]) == ("task.done", task.id)
    finally:
        try:
            crew.stop()
        finally:
            old.kill()


async def _assigned(api: AsyncClient, pool: str, data: Any, asked: dict[str, Any]) -> AssignedTask:
    """Assign a task as soon as there is a worker for it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(errors.NoWorkerAvailable):
                return await api.assign_task(pool, pool, data, **asked)
            await asyncio.sleep(0.05)


async def test_the_example_worker_of_the_last_release_at_a_gateway_of_now(
    tmp_path: Path, release: Path, shared_gateway: Gateway
) -> None:
    """It takes a task, hands back what is no order, and ends in good order."""
    url, user = f"127.0.0.1:{shared_gateway.worker_port}", new_id()
    command = ["-m", "examples.image_converter.worker", "--url", f"ws://{url}"]
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--data", str(tmp_path)),
        cwd=release,
        env={"PATH": os.environ["PATH"], "WORKER_KEY": WORKER_KEY},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        tab = await client(shared_gateway, user)
        async with AsyncClient(f"http://{url}", API_KEY, retries=8) as api:
            task = await _assigned(api, "image.convert", "no order", {"user": user})
        assert (await tab.receive())["event"] == "task.released"
        worker.terminate()
        assert await asyncio.wait_for(worker.wait(), PATIENCE) == 0
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert task.state == "running"
