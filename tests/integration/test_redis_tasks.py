"""Task records in Redis: scripts that run twice, nodes that race, nodes that die."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from sockets.base.ids import new_id
from sockets.exceptions import GatewayUnavailable
from sockets.redis import Keys, Script, close, connect
from sockets.tasks.base import Offer
from sockets.tasks.redis import RedisTaskRecords
from sockets.types import PoolLoad, Task, TaskState
from tests.support.doubles import MovedClock, seat, task
from tests.support.valkey import shared

SETTINGS: dict[str, Any] = {
    **{"offer_ttl": 10.0, "grace": 30.0, "keep": 1_000.0, "history": 50},
    **{"seat_ttl": 20.0, "announce_within": 40.0},
}

Make = Callable[[], RedisTaskRecords]


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def client() -> AsyncIterator[Redis]:
    made = connect(shared().url)
    yield made
    await close(made)


@pytest.fixture
def node(client: Redis, clock: MovedClock) -> Make:
    """One more node's view of the same table."""
    keys = Keys(f"t{new_id()}")
    return lambda: RedisTaskRecords(client, keys, **SETTINGS, clock=clock)


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is lost once, and the call repeated."""
    run = Script.run

    async def run_twice(self: Script, *args: Any) -> Any:
        await run(self, *args)
        return await run(self, *args)

    monkeypatch.setattr(Script, "run", run_twice)


async def begun(records: RedisTaskRecords, one: Task | None = None) -> Task:
    offer = await records.offer(one or task(), ())
    assert offer is not None
    found = await records.accept(offer.task.id, offer.id, offer.seat.worker)
    assert found is not None
    return found


@pytest.mark.usefixtures("twice")
async def test_a_repetition_is_the_same_step(node: Make) -> None:
    records = node()
    await records.take_seat(seat(capacity=2))
    one = await begun(records)
    assert one.state is TaskState.RUNNING
    assert await records.pools() == [PoolLoad("p", 1, 2, 1)]
    assert (await records.extend(one.id, one.worker)) is not None
    done = await records.end(one.id, TaskState.DONE, worker=one.worker, result={"n": 1})
    assert done is not None and (done.state, done.result) == (TaskState.DONE, {"n": 1})
    assert await records.pools() == [PoolLoad("p", 1, 2, 0)]
    assert await records.end(one.id, TaskState.CANCELLED) is None, "another call"


async def test_another_call_is_no_repetition(node: Make) -> None:
    records = node()
    await records.take_seat(seat())
    offer = await records.offer(task(), ())
    assert offer is not None
    found = [await records.accept(offer.task.id, offer.id, offer.seat.worker) for _ in range(2)]
    assert [one is not None for one in found] == [True, False]
    ends = [await records.end(offer.task.id, TaskState.DONE) for _ in range(2)]
    assert [one is not None for one in ends] == [True, False]


async def test_nodes_that_race_never_overfill_a_worker(node: Make) -> None:
    nodes = [node(), node()]
    capacity = {"k/a": 3, "k/b": 5}
    for name, places in capacity.items():
        await nodes[0].take_seat(seat(name, capacity=places))
    tasks = [task() for _ in range(50)]
    offers = await asyncio.gather(*(nodes[n % 2].offer(one, ()) for n, one in enumerate(tasks)))
    held = Counter(offer.seat.worker for offer in offers if offer is not None)
    assert held == capacity

    async def accept(one: RedisTaskRecords, offer: Offer) -> bool:
        return await one.accept(offer.task.id, offer.id, offer.seat.worker) is not None

    standing = [offer for offer in offers if offer is not None]
    accepted = await asyncio.gather(*(accept(one, offer) for offer in standing for one in nodes))
    assert sum(accepted) == len(standing)


async def test_seats_of_a_dead_node_are_empty(node: Make, clock: MovedClock) -> None:
    """kill -9: nobody leaves the seat, nobody renews it."""
    dead, alive = node(), node()
    await dead.take_seat(seat("k/a", capacity=2))
    running = await begun(dead)
    offered = await dead.offer(task(), ())
    assert offered is not None
    await alive.take_seat(seat("k/b"))
    clock.advance(15)
    await alive.renew_seats([seat("k/b", session="another")])  # not its own: changes nothing
    clock.advance(6)
    assert await alive.pools() == []
    clock.advance(SETTINGS["grace"] + 1)
    lost = await alive.overdue()
    assert {one.id for one in lost} == {running.id, offered.task.id}
    assert {one.state for one in lost} == {TaskState.LOST}
    assert await dead.end(running.id, TaskState.DONE, worker="k/a") is None, "task_lost"


async def test_a_renewed_seat_stays_and_a_forgotten_one_comes_back(
    node: Make, clock: MovedClock, client: Redis
) -> None:
    records, mine = node(), seat("k/a")
    await records.take_seat(mine)
    one = await begun(records)
    for _ in range(5):
        clock.advance(15)
        await records.renew_seats([mine])
    assert await records.pools() == [PoolLoad("p", 1, 1, 1)]
    clock.advance(25)  # frozen for longer than its lease
    assert await records.pools() == []
    await records.renew_seats([mine])
    assert await records.pools() == [PoolLoad("p", 1, 1, 1)]
    clock.advance(19)
    await records.renew_seats([mine])
    clock.advance(15)
    assert await records.overdue() == [], "its worker is back"
    await client.delete(*await client.keys(f"{records._keys[0].partition('{')[0]}*"))
    await records.renew_seats([mine])
    assert await records.pools() == [PoolLoad("p", 1, 1, 0)]
    assert await records.end(one.id, TaskState.DONE, worker="k/a") is None


async def test_an_end_that_nobody_announced_is_announced_by_another(
    node: Make, clock: MovedClock
) -> None:
    dead, alive = node(), node()
    await dead.take_seat(seat(capacity=2))
    said, unsaid = [await begun(dead), await begun(dead)]
    for one in (said, unsaid):
        await dead.end(one.id, TaskState.DONE, worker=one.worker, result=1)
    await dead.announced(said.id)
    clock.advance(39)
    assert await alive.overdue() == []
    clock.advance(2)
    [again] = await alive.overdue()
    assert (again.id, again.state, again.result) == (unsaid.id, TaskState.DONE, 1)
    assert await dead.overdue() == [], "one announces at a time"
    await alive.announced(unsaid.id)
    clock.advance(100)
    assert await dead.overdue() == []


async def ended_by_the_dead(dead: RedisTaskRecords, count: int) -> list[str]:
    await dead.take_seat(seat())
    ids = []
    for _ in range(count):
        one = await begun(dead)
        await dead.end(one.id, TaskState.DONE, worker=one.worker)
        ids.append(one.id)
    return ids


async def test_all_that_a_dead_node_had_not_announced_is_announced_by_another(
    node: Make, clock: MovedClock
) -> None:
    """Many more than are remembered, and longer ago than they are remembered."""
    ids = await ended_by_the_dead(node(), 3 * SETTINGS["history"])
    clock.advance(SETTINGS["keep"] + 1)
    alive = node()
    assert await alive.get(ids[0]) is None, "too long ago to be asked for"
    found: list[str] = []
    while told := await alive.overdue():
        found += [one.id for one in told]
        for one in told:
            await alive.announced(one.id)
    assert found == ids


class OfBefore:
    """A node of the version before, as far as it ends and announces tasks."""

    def __init__(self, client: Redis, records: RedisTaskRecords, clock: MovedClock) -> None:
        self.client, self.clock = client, clock
        names = ("workers", "seats", "idle", "deadlines", "ended", "unsaid", "task")
        self.keys = dict(zip(names, records._keys, strict=False))

    async def end(self, one: Task) -> None:
        now, task = self.clock(), f"{self.keys['task']}{one.id}"
        await self.client.hset(task, mapping={"state": "done", "ended": f"{now:.6f}"})  # type: ignore[misc]
        await self.client.zrem(self.keys["deadlines"], one.id)
        await self.client.zadd(self.keys["ended"], {one.id: now + SETTINGS["keep"]})
        await self.client.zadd(self.keys["unsaid"], {one.id: now + SETTINGS["announce_within"]})

    async def announced(self, id: str) -> None:
        await self.client.zrem(self.keys["unsaid"], id)


async def test_ends_of_a_node_of_the_version_before_are_not_forgotten_here(
    node: Make, clock: MovedClock, client: Redis
) -> None:
    records, count = node(), 2 * SETTINGS["history"]
    old = OfBefore(client, records, clock)
    await records.take_seat(seat(capacity=1_000))
    tasks = [await begun(records) for _ in range(count)]
    for one in tasks:
        await old.end(one)
        clock.advance(0.01)
    assert await records.overdue() == []
    clock.advance(SETTINGS["announce_within"])
    found = [one.id for one in await records.overdue()]
    assert found == [one.id for one in tasks]
    for id in found:
        await records.announced(id)
    assert [one.id for one in tasks if await records.get(one.id)] == found[-SETTINGS["history"] :]


async def test_what_a_node_of_the_version_before_announces_is_forgotten_in_time(
    node: Make, clock: MovedClock, client: Redis
) -> None:
    records = node()
    old = OfBefore(client, records, clock)
    ids = await ended_by_the_dead(records, 3)
    for id in ids:
        await old.announced(id)
    clock.advance(SETTINGS["announce_within"] + 1)
    assert await records.overdue() == [], "it was announced"
    assert [one.state for id in ids if (one := await records.get(id))] == [TaskState.DONE] * 3
    clock.advance(SETTINGS["keep"])
    assert await records.overdue() == []
    prefix = records._keys[0].partition("{")[0]
    left = {key.decode().removeprefix(prefix) for key in await client.keys(f"{prefix}*")}
    assert not [key for key in left if ":task:" in key or "ended" in key or "announced" in key]


async def test_so_much_is_swept_at_a_time(node: Make, clock: MovedClock) -> None:
    records = node()
    for _ in range(130):
        await records.offer(task(), ())
    clock.advance(11)
    assert [len(await records.overdue()) for _ in range(3)] == [100, 30, 0]


@pytest.mark.parametrize("right", ["hset", "zadd", "hdel", "srem", "zrem"])
async def test_an_end_that_redis_took_in_part_is_announced(
    client: Redis, clock: MovedClock, right: str
) -> None:
    """Whichever step was refused: the task is found by its deadline, with the end that it had."""
    name = new_id()
    await client.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all")
    app = connect(shared().url.replace("redis://:pw@", f"redis://{name}:pw@"))
    records = RedisTaskRecords(app, Keys(f"t{new_id()}"), **SETTINGS, clock=clock)
    try:
        mine = seat(capacity=2)
        await records.take_seat(mine)
        one = await begun(records)
        await client.execute_command("ACL", "SETUSER", name, f"-{right}")
        with pytest.raises(GatewayUnavailable) as refused:
            await records.end(one.id, TaskState.DONE, worker=one.worker, result={"n": 1})
        await client.execute_command("ACL", "SETUSER", name, "+@all")
        clock.advance(one.timeout + SETTINGS["announce_within"])
        (found,) = await records.overdue()
        state = TaskState.LOST if refused.value.outcome == "nothing" else TaskState.DONE
        assert (found.id, found.state) == (one.id, state)
        await records.announced(one.id)
        assert await records.overdue() == []
        await records.take_seat(mine)
        assert (await records.pools())[0].held == 0
    finally:
        await close(app)
        await client.execute_command("ACL", "DELUSER", name)
