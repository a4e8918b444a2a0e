"""Who is taken for dead, and by whom; what is done then is in test_handover.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sockets.redis import close, connect
from sockets.types import NodeInfo
from tests.support.doubles import MovedClock, begin_life, info, node_info, until
from tests.support.nodes import LEASE, Cluster
from tests.support.valkey import shared


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    client = connect(shared().url)
    yield Cluster(client, MovedClock())
    await close(client)


async def test_a_reaper_that_dies_too_is_followed_by_another(cluster: Cluster) -> None:
    a, b, c = [await cluster.node(name) for name in "abc"]
    await a.arrive(info("42"))
    await a.tick()
    await cluster.pass_time(LEASE + 1, b=b, c=c)
    cluster.events["b"].held = True
    reaping = asyncio.ensure_future(cluster.reaper(b).reap())
    await until(lambda: cluster.events["b"].waiting)
    reaping.cancel()
    assert await cluster.reaper(c).reap() == 0, "b has the claim"
    await cluster.pass_time(LEASE + 2, c=c)
    assert await cluster.reaper(c).reap() == 2, "a, and b itself"
    assert cluster.events["c"].announced == ["-42"]


async def test_after_an_outage_the_others_have_time_to_come_back(cluster: Cluster) -> None:
    """Shorter than a lease, as a fail-over is: of two nodes only one is overdue when it ends."""
    a, b = await cluster.node("a"), await cluster.node("b")
    await cluster.pass_time(LEASE, a=a, b=b)
    await a.arrive(one := info("42", node="a"))
    await cluster.pass_time(8, b=b)
    await cluster.pass_time(LEASE - 6)
    await cluster.beat("b", b)
    reaper = cluster.reaper(b)
    assert await reaper.reap() == 0
    await cluster.beat("a", a)
    await a.renew([one])
    await cluster.pass_time(LEASE / 2, a=a, b=b)
    assert await reaper.reap() == 0
    assert cluster.events["b"].announced == [] and cluster.events["a"].announced == ["+42"]
    await cluster.pass_time(LEASE + 1, b=b)
    assert await reaper.reap() == 1, "now it is dead"


async def test_rows_of_a_name_that_lives_again_are_left_alone(cluster: Cluster) -> None:
    """Only an old life of it is dead: its new one has opened the rows again."""
    await cluster.node("a")
    b = await cluster.node("b")
    await cluster.pass_time(LEASE + 1, b=b)
    assert (await cluster.nodes.claim()) is not None
    await begin_life(cluster.nodes, NodeInfo("a:2", "a", 7, "h", "1", 0.0, "ready"))
    await cluster.pass_time(LEASE - 1, b=b)
    await begin_life(cluster.nodes, NodeInfo("a:2", "a", 7, "h", "1", 0.0, "ready"))
    await cluster.pass_time(2, b=b)
    buried: list[str] = []
    assert await cluster.reaper(b, lambda info, at: buried.append(info.id)).reap() == 1
    assert buried == []


async def test_whoever_could_not_renew_buries_nobody(cluster: Cluster) -> None:
    """Redis takes writes again: both seem to be dead, and one looks before it has renewed."""
    a, b = await cluster.node("a"), await cluster.node("b")
    for name, tracker in (("a", a), ("b", b)):
        await tracker.arrive(info(f"at {name}"))
    cluster.clock.advance(LEASE + 1)
    assert await cluster.reaper(a).reap() == 0
    assert (await cluster.nodes.beat(node_info("a"), begin=False, silent=LEASE + 1)).alive
    assert cluster.events["a"].announced == ["+at a"]


async def test_a_node_that_died_is_remembered_and_one_that_left_is_not(cluster: Cluster) -> None:
    await cluster.node("a")
    b, c = await cluster.node("b"), await cluster.node("c")
    await cluster.nodes.leave("c:1")
    await cluster.pass_time(LEASE + 1, b=b)
    assert await cluster.reaper(b).reap() == 1
    assert [node.name for node in await cluster.nodes.lost()] == ["a"]
    assert c is not None
