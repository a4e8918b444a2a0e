"""A node of the last release beside one of now, as in a rolling restart: one Redis, one crowd."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.acceptance.cluster import Cluster, cluster
from tests.support.gateway import ROOT
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
