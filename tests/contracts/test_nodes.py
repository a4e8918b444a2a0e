"""What every registry of nodes does; and what only one for many nodes can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from sockets.base.ids import new_id
from sockets.cluster.registry import CLAIM_TTL, LOST_TTL, MAX_LOST, Nodes
from sockets.cluster.registry_memory import MemoryNodes
from sockets.cluster.registry_redis import NodeCalls, RedisNodes
from sockets.redis import Keys, connect
from sockets.types import Kind, NodeInfo
from tests.support.doubles import MovedClock, begin_life, node_info
from tests.support.valkey import shared

LEASE, WARMUP = 30.0, 40.0


@asynccontextmanager
async def memory(clock: MovedClock) -> AsyncIterator[MemoryNodes]:
    yield MemoryNodes(clock=clock)


@asynccontextmanager
async def redis(clock: MovedClock) -> AsyncIterator[RedisNodes]:
    client = connect(shared().url)
    try:
        calls = NodeCalls(Keys(f"t{new_id()}"), lease=LEASE, warmup=WARMUP, clock=clock)
        yield RedisNodes(client, calls)
    finally:
        await client.aclose()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=[memory, redis], ids=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest, clock: MovedClock) -> AsyncIterator[Nodes]:
    async with request.param(clock) as made:
        yield made


@pytest.fixture
async def many(clock: MovedClock) -> AsyncIterator[RedisNodes]:
    """A registry that holds more than one node."""
    async with redis(clock) as made:
        yield made


async def test_who_lives_is_listed_as_it_described_itself(nodes: Nodes, clock: MovedClock) -> None:
    assert await nodes.all() == []
    await begin_life(nodes, node_info("a"))
    clock.advance(10)
    newer = node_info("a", clients=5, state="draining", cpu=0.5, memory=10)
    assert (await nodes.beat(newer, begin=False, silent=10.0)).alive
    (found,) = await nodes.all()
    assert found == newer and found.seen_at == pytest.approx(clock(), abs=0.01)
    await nodes.leave("a:1")
    assert await nodes.all() == []


async def test_nodes_that_died_are_remembered_for_a_while(
    many: RedisNodes, clock: MovedClock
) -> None:
    assert await many.lost() == []
    await many.note_lost(node_info("a", clients=5))
    at = clock.now
    clock.advance(10)
    await many.note_lost(node_info("b"))
    assert await many.lost() == [node_info("b"), node_info("a", clients=5)]
    assert [info.seen_at for info in await many.lost()] == [at + 10, at]
    clock.advance(LOST_TTL - 5)
    assert [info.name for info in await many.lost()] == ["b"]
    for number in range(MAX_LOST + 5):
        clock.advance(0.001)
        await many.note_lost(node_info(f"n{number}"))
    found = await many.lost()
    assert len(found) == MAX_LOST and found[0].name == f"n{MAX_LOST + 4}"


async def test_a_registry_of_one_process_remembers_nobody(clock: MovedClock) -> None:
    nodes = MemoryNodes(clock=clock)
    await nodes.note_lost(node_info("a"))
    assert await nodes.lost() == []


async def test_users_of_a_life_are_walked_a_part_at_a_time(nodes: Nodes) -> None:
    await begin_life(nodes, node_info("a"))
    users = {f"user-{n}" for n in range(500)}
    await nodes.add_users("a:1", Kind.CLIENT, users)
    await nodes.add_users("a:1", Kind.WORKER, ["key"])
    seen: set[str] = set()
    place, parts = "", 0
    while parts == 0 or place:
        found, place = await nodes.users_after("a:1", Kind.CLIENT, place, 50)
        seen.update(found)
        parts += 1
    assert seen == users and parts > 3
    found, _ = await nodes.users_after("a:1", Kind.CLIENT, "no place", 50)
    assert set(found) <= users


async def test_users_are_listed_until_they_are_removed(nodes: Nodes) -> None:
    await begin_life(nodes, node_info("a"))
    await nodes.add_users("a:1", Kind.CLIENT, ["한/국", "2", "3"])
    await nodes.add_users("a:1", Kind.CLIENT, ["2"])
    await nodes.add_users("a:1", Kind.WORKER, ["key"])
    assert await nodes.count_users("a:1", Kind.CLIENT) == 3
    await nodes.remove_users("a:1", Kind.CLIENT, ["2", "none"])
    assert set(await nodes.users_of("a:1", Kind.CLIENT, 10)) == {"한/국", "3"}
    assert len(await nodes.users_of("a:1", Kind.CLIENT, 1)) == 1
    assert await nodes.users_of("a:1", Kind.WORKER, 10) == ["key"]


async def test_nobody_claims_the_living(nodes: Nodes, clock: MovedClock) -> None:
    await begin_life(nodes, node_info("a"))
    clock.advance(LEASE - 1)
    assert await nodes.claim() is None
    assert await nodes.warm() == 0.0


async def test_the_dead_are_claimed_once(many: RedisNodes, clock: MovedClock) -> None:
    await begin_life(many, node_info("a", pid=42))
    await begin_life(many, node_info("b"))
    clock.advance(LEASE + 1)
    await begin_life(many, node_info("c"))
    claimed = [await many.claim(), await many.claim()]
    assert {info and (info.name, info.pid) for info in claimed} == {("a", 42), ("b", 7)}
    assert await many.claim() is None
    assert [info.name for info in await many.all()] == ["c"]
    await many.forget("a:1")
    await many.forget("b:1")
    await many.keep_claim("a:1")  # by one that was slow: it is over all the same
    clock.advance(CLAIM_TTL + 1)
    await begin_life(many, node_info("c"))
    assert await many.claim() is None


async def test_a_claim_that_nobody_keeps_is_another_nodes(
    many: RedisNodes, clock: MovedClock
) -> None:
    await begin_life(many, node_info("a"))
    clock.advance(LEASE + 1)
    await begin_life(many, node_info("b"))
    assert await many.claim() is not None
    clock.advance(CLAIM_TTL - 1)
    await many.keep_claim("a:1")
    clock.advance(CLAIM_TTL - 1)
    await begin_life(many, node_info("b"))
    assert await many.claim() is None, "it goes on"
    clock.advance(2)
    assert (await many.claim()) == node_info("a")


async def test_a_node_that_was_claimed_must_begin_anew(many: RedisNodes, clock: MovedClock) -> None:
    await begin_life(many, node_info("a"))
    clock.advance(LEASE + 1)
    await begin_life(many, node_info("b"))
    assert (await many.beat(node_info("a"), begin=False, silent=LEASE + 1)).alive, "not yet claimed"
    clock.advance(LEASE + 1)
    await begin_life(many, node_info("b"))
    assert await many.claim() is not None
    assert not (await many.beat(node_info("a"), begin=False, silent=LEASE + 1)).alive
    assert [info.name for info in await many.all()] == ["b"]


async def test_whoever_leaves_work_behind_is_claimed_at_once(many: RedisNodes) -> None:
    for name in "ab":
        await begin_life(many, node_info(name))
    await many.add_users("a:1", Kind.CLIENT, ["1"])
    await many.beat(node_info("a", state="stopped"), begin=False, silent=1.0)
    for name in "ab":
        await many.leave(f"{name}:1")
    left = await many.claim()
    assert left is not None and (left.name, left.state) == ("a", "stopped")
    assert await many.claim() is None, "b had nothing"


async def test_after_an_outage_nobody_is_dead_for_a_while(
    many: RedisNodes, clock: MovedClock
) -> None:
    for name in "abc":
        await begin_life(many, node_info(name))
    clock.advance(3 * LEASE)
    beat = await many.beat(node_info("a"), begin=False, silent=3 * LEASE)
    assert beat.alive and beat.warm == pytest.approx(WARMUP, abs=0.1)
    assert await many.claim() is None and await many.warm() == pytest.approx(WARMUP, abs=0.1)
    clock.advance(10)
    assert (await many.beat(node_info("b"), begin=False, silent=100)).warm == pytest.approx(
        30, abs=0.1
    )
    clock.advance(29)
    await many.beat(node_info("a"), begin=False, silent=10)
    await many.beat(node_info("b"), begin=False, silent=10)
    clock.advance(2)
    assert (await many.claim()) == node_info("c"), "it did not come back"


async def test_what_was_asked_before_the_store_stood_still_declares_nobody_dead(
    many: RedisNodes, clock: MovedClock
) -> None:
    """Claims and beats that were under way are carried out when it goes on, in any order: all
    leases have run out, and nobody was silent."""
    await begin_life(many, node_info("a"))
    await begin_life(many, node_info("b"))
    clock.advance(LEASE + 1)
    assert await many.claim("a:1") is None, "b may be as alive as the one who asks"
    beat = await many.beat(node_info("a"), begin=False, silent=1.0)
    assert beat.alive and beat.warm == pytest.approx(WARMUP)
    assert await many.claim("a:1") is None
    assert (await many.beat(node_info("b"), begin=False, silent=1.0)).alive
    assert await many.claim("b:1") is None


@pytest.mark.parametrize(("silent", "others"), [(LEASE - 1, False), (LEASE + 1, True)])
async def test_one_nodes_own_trouble_is_no_outage(
    many: RedisNodes, clock: MovedClock, silent: float, others: bool
) -> None:
    await begin_life(many, node_info("a"))
    clock.advance(silent)
    if others:
        await begin_life(many, node_info("b"))
    assert (await many.beat(node_info("a"), begin=False, silent=silent)).warm == 0.0


async def test_a_life_that_nobody_described_is_claimed_by_its_id(
    many: RedisNodes, clock: MovedClock
) -> None:
    """Somebody deleted the hash; its users are still there to be seen to."""
    await begin_life(many, node_info("a"))
    await many._client.delete(many._calls.keys.nodes("info"))
    clock.advance(LEASE + 1)
    found = await many.claim()
    assert found is not None and (found.id, found.name, found.state) == ("a:1", "a", "dead")


def life(name: str, number: int) -> NodeInfo:
    """One of several processes of a name."""
    return replace(node_info(name), id=f"{name}:{number}")


@pytest.mark.parametrize("frozen", [LEASE + 1, LEASE / 2])
async def test_whoever_comes_back_to_a_name_that_is_taken_begins_anew(
    many: RedisNodes, clock: MovedClock, frozen: float
) -> None:
    """Within its lease too: nobody answered by the name, so another process has taken it."""
    await begin_life(many, life("a", 1))
    clock.advance(frozen)
    await begin_life(many, life("a", 2))
    assert [info.id for info in await many.all()] == ["a:2"]
    clock.advance(0.1)
    assert not (await many.beat(life("a", 1), begin=False, silent=frozen)).alive
    assert (await many.beat(life("a", 2), begin=False, silent=0.1)).alive
    assert [info.id for info in await many.all()] == ["a:2"]
    left = await many.claim()
    assert left is not None and left.id == "a:1", "what it answered for is seen to"


async def test_a_late_one_goes_on_where_nobody_took_its_name(
    many: RedisNodes, clock: MovedClock
) -> None:
    await begin_life(many, node_info("a"))
    clock.advance(LEASE + 1)
    for other in ("b", "aa", "a~x1y2", "a.1", "A"):
        await begin_life(many, node_info(other))
    assert (await many.beat(node_info("a"), begin=False, silent=LEASE + 1)).alive
    assert len(await many.all()) == 6
