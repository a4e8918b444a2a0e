"""What every backend of task records does, sentence by sentence of `sockets/tasks/base.py`.

`RECORDS` has an entry for each backend: a context manager that yields an empty one whose clock the
test moves. The same entries are held against a model in `test_tasks_model.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.redis import Keys, connect
from sockets.tasks.base import Offer, TaskRecords
from sockets.tasks.memory import MemoryTaskRecords
from sockets.tasks.redis import RedisTaskRecords
from sockets.types import PoolLoad, Task, TaskState
from tests.support.doubles import NOON, MovedClock, seat, task
from tests.support.valkey import shared

OPTIONS: dict[str, Any] = {"offer_ttl": 10.0, "grace": 30.0, "keep": 100.0, "history": 5}
OFFER_TTL, GRACE, KEEP = OPTIONS["offer_ttl"], OPTIONS["grace"], OPTIONS["keep"]
TIMEOUT = 300.0

FINAL = [state for state in TaskState if state.final]


@asynccontextmanager
async def memory(clock: MovedClock, **options: Any) -> AsyncIterator[MemoryTaskRecords]:
    yield MemoryTaskRecords(**OPTIONS | options, clock=clock, wall=clock)


@asynccontextmanager
async def redis(clock: MovedClock, **options: Any) -> AsyncIterator[RedisTaskRecords]:
    client = connect(shared().url)
    chosen = {"seat_ttl": 1e9, "announce_within": 1e9} | OPTIONS | options
    try:
        yield RedisTaskRecords(client, Keys(f"t{new_id()}"), **chosen, clock=clock)
    finally:
        await client.aclose()


Make = Callable[..., AbstractAsyncContextManager[TaskRecords]]
RECORDS: dict[str, Make] = {"memory": memory, "redis": redis}


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=list(RECORDS.values()), ids=list(RECORDS))
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


@pytest.fixture
async def records(make: Make, clock: MovedClock) -> AsyncIterator[TaskRecords]:
    async with make(clock) as made:
        yield made


async def offered(records: TaskRecords, one: Task | None = None, *passed_over: str) -> Offer:
    offer = await records.offer(one or task(), passed_over)
    assert offer is not None
    return offer


async def running(records: TaskRecords, one: Task | None = None) -> Task:
    """A task that the worker accepted to whom it was offered."""
    offer = await offered(records, one)
    begun = await records.accept(offer.task.id, offer.id, offer.seat.worker)
    assert begun is not None
    return begun


async def state_of(records: TaskRecords, one: Task) -> TaskState | None:
    found = await records.get(one.id)
    return found.state if found else None


def load(pool: str, workers: int, capacity: int, held: int) -> PoolLoad:
    return PoolLoad(pool, workers, capacity, held)


# --- seats


async def test_nobody_is_there_at_first(records: TaskRecords) -> None:
    assert await records.pools() == []
    assert await records.seat_of("k/w") is None
    assert await records.offer(task(), ()) is None
    assert await records.get("unknown") is None
    assert await records.overdue() == []
    assert await records.leave_seat("k/w", "s") == []


async def test_a_seat_is_where_the_worker_took_it(records: TaskRecords) -> None:
    one = seat("k/한", pools=("a", "b"), capacity=3, node="elsewhere")
    assert await records.take_seat(one) == []
    assert await records.seat_of("k/한") == one
    assert await records.seat_of("k/other") is None


async def test_a_later_seat_replaces_the_earlier(records: TaskRecords) -> None:
    await records.take_seat(seat(pools=("a",), capacity=5))
    new = seat(pools=("b",), capacity=2)
    await records.take_seat(new)
    assert await records.seat_of("k/w") == new
    assert await records.pools() == [load("b", 1, 2, 0)]
    assert await records.offer(task(pool="a"), ()) is None
    assert (await offered(records, task(pool="b"))).seat == new


async def test_a_socket_that_was_replaced_takes_no_seat_with_it(records: TaskRecords) -> None:
    old, new = seat(), seat()
    for one in (old, new):
        await records.take_seat(one)
    assert await records.leave_seat("k/w", old.session) == []
    assert await records.seat_of("k/w") == new
    assert (await offered(records)).seat == new


async def test_who_left_is_offered_nothing_and_is_in_no_pool(records: TaskRecords) -> None:
    gone, there = seat("k/gone"), seat("k/there", pools=("p", "q"))
    for one in (gone, there):
        await records.take_seat(one)
    await records.leave_seat(gone.worker, gone.session)
    assert await records.seat_of("k/gone") is None
    assert (await offered(records)).seat == there
    assert await records.offer(task(), ()) is None
    assert await records.pools() == [load("p", 1, 1, 1), load("q", 1, 1, 1)]


async def test_the_same_worker_id_of_two_keys_is_two_workers(records: TaskRecords) -> None:
    for key in ("a", "b"):
        await records.take_seat(seat(f"{key}/W"))
    first, second = await offered(records), await offered(records)
    assert {first.seat.worker, second.seat.worker} == {"a/W", "b/W"}


# --- pools


async def test_pools_are_told_by_name_with_all_their_workers(records: TaskRecords) -> None:
    await records.take_seat(seat("k/1", pools=("z", "a"), capacity=3))
    await records.take_seat(seat("k/2", pools=("z",), capacity=4))
    await records.take_seat(seat("k/3", pools=(), capacity=9))
    await running(records, task(pool="a"))
    await offered(records, task(pool="z"))
    assert await records.pools() == [load("a", 1, 3, 1), load("z", 2, 7, 2)]


async def test_what_is_held_is_offered_or_running(records: TaskRecords) -> None:
    await records.take_seat(seat(capacity=4))
    assert await records.pools() == [load("p", 1, 4, 0)]
    offer = await offered(records)
    assert await records.pools() == [load("p", 1, 4, 1)]
    await records.accept(offer.task.id, offer.id, "k/w")
    assert await records.pools() == [load("p", 1, 4, 1)]
    await records.end(offer.task.id, TaskState.DONE, worker="k/w")
    assert await records.pools() == [load("p", 1, 4, 0)]


# --- who is chosen


async def test_an_offer_names_task_worker_and_seat(records: TaskRecords) -> None:
    there = seat(pools=("q", "p"))
    await records.take_seat(there)
    one = task(user="42", progress_to_user=False, event="convert", timeout=5.0)
    offer = await offered(records, one)
    assert offer.task == replace(one, worker="k/w")
    assert offer.task.state is TaskState.OFFERED
    assert offer.seat == there and offer.id
    assert await records.get(one.id) == offer.task


async def test_a_task_goes_to_its_pool_only(records: TaskRecords) -> None:
    await records.take_seat(seat(pools=("p.q", "P")))
    assert await records.offer(task(pool="p"), ()) is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # (tasks held, capacity): the load is the part that is taken, not the number
        ((1, 2), (1, 4), "k/second"),
        ((1, 4), (1, 2), "k/first"),
        ((2, 10), (1, 2), "k/first"),
        ((3, 4), (0, 1), "k/second"),
        ((0, 1), (3, 4), "k/first"),
    ],
)
async def test_the_least_loaded_is_asked_first(
    records: TaskRecords,
    clock: MovedClock,
    first: tuple[int, int],
    second: tuple[int, int],
    expected: str,
) -> None:
    for name, (held, capacity) in (("k/first", first), ("k/second", second)):
        await records.take_seat(seat(name, pools=("p", name[2:]), capacity=capacity))
        for _ in range(held):
            await running(records, task(pool=name[2:]))
            clock.advance(1)
    assert (await offered(records)).seat.worker == expected


@pytest.mark.parametrize("names", [("k/a", "k/b", "k/c"), ("k/c", "k/b", "k/a")])
async def test_of_equally_loaded_the_longest_idle_is_asked(
    records: TaskRecords, clock: MovedClock, names: tuple[str, ...]
) -> None:
    for name in names:
        await records.take_seat(seat(name))
        clock.advance(1)
    order = []
    for _ in range(6):
        one = await running(records)
        order.append(one.worker)
        clock.advance(1)
        await records.end(one.id, TaskState.DONE, worker=one.worker)
        clock.advance(1)
    assert order == [*names, *names], "round and round"


async def test_who_got_a_task_later_is_less_idle(records: TaskRecords, clock: MovedClock) -> None:
    for name in ("k/b", "k/a"):
        await records.take_seat(seat(name, capacity=2))
        clock.advance(1)
    for other in ("k/b", "k/a"):
        await offered(records, None, other)  # to k/a, then to k/b
        clock.advance(1)
    assert (await offered(records)).seat.worker == "k/a"


async def test_who_ended_a_task_later_is_less_idle(records: TaskRecords, clock: MovedClock) -> None:
    for name in ("k/a", "k/b"):
        await records.take_seat(seat(name))
    one, two = await running(records), await running(records)
    for ended in (two, one):
        clock.advance(1)
        await records.end(ended.id, TaskState.FAILED, worker=ended.worker)
    assert (await offered(records)).seat.worker == two.worker


async def test_the_end_of_a_task_on_nobodys_table_makes_nobody_less_idle(
    records: TaskRecords, clock: MovedClock
) -> None:
    for name in ("k/a", "k/b"):
        await records.take_seat(seat(name))
        clock.advance(1)
    offer = await offered(records)
    await records.withdraw(offer.task.id, offer.id)
    clock.advance(1)
    busy = await running(records)
    await records.end(busy.id, TaskState.DONE, worker=busy.worker)
    assert (offer.seat.worker, busy.worker) == ("k/a", "k/b")
    clock.advance(1)
    await records.end(offer.task.id, TaskState.CANCELLED)  # k/a has not held it for long
    assert (await offered(records)).seat.worker == "k/a"


async def test_who_was_passed_over_is_not_asked(records: TaskRecords) -> None:
    for name in ("k/a", "k/b"):
        await records.take_seat(seat(name, capacity=9))
    one = task()
    first = await offered(records, one)
    await records.withdraw(one.id, first.id)
    second = await offered(records, one, first.seat.worker)
    assert {first.seat.worker, second.seat.worker} == {"k/a", "k/b"}
    await records.withdraw(one.id, second.id)
    assert await records.offer(one, {"k/a", "k/b"}) is None
    assert await state_of(records, one) is TaskState.OFFERED
    assert await offered(records, one, "k/c")


@pytest.mark.parametrize("capacity", [1, 3])
async def test_nobody_holds_more_than_its_capacity(records: TaskRecords, capacity: int) -> None:
    await records.take_seat(seat(capacity=capacity))
    held = [await running(records) for _ in range(capacity - 1)]
    last = await offered(records)
    assert await records.offer(task(), ()) is None
    await records.withdraw(last.task.id, last.id)
    held.append(await running(records))
    assert await records.offer(task(), ()) is None
    await records.end(held[0].id, TaskState.RELEASED, worker="k/w")
    assert await offered(records)


async def test_many_at_once_find_no_more_places_than_there_are(records: TaskRecords) -> None:
    for name in ("k/a", "k/b"):
        await records.take_seat(seat(name, capacity=2))
    offers = await asyncio.gather(*[records.offer(task(), ()) for _ in range(9)])
    found = [offer.seat.worker for offer in offers if offer]
    assert sorted(found) == ["k/a", "k/a", "k/b", "k/b"]
    assert len({offer.id for offer in offers if offer}) == 4


async def test_a_worker_that_returns_smaller_is_offered_nothing_until_it_has_space(
    records: TaskRecords,
) -> None:
    await records.take_seat(seat(capacity=3))
    held = [await running(records) for _ in range(3)]
    await records.take_seat(seat(capacity=2))
    for one in held:
        assert await records.offer(task(), ()) is None
        await records.end(one.id, TaskState.DONE, worker="k/w")
        if one is held[0]:
            assert await records.offer(task(), ()) is None, "two of two places are taken"
            continue
        break
    assert await offered(records)


# --- an offer: accepted, withdrawn, never both


async def test_the_worker_that_was_asked_accepts(records: TaskRecords, clock: MovedClock) -> None:
    await records.take_seat(seat())
    offer = await offered(records)
    clock.advance(2)
    begun = await records.accept(offer.task.id, offer.id, "k/w")
    assert begun == replace(offer.task, state=TaskState.RUNNING, started=NOON + 2)
    assert await records.get(offer.task.id) == begun


async def test_an_offer_is_accepted_once(records: TaskRecords) -> None:
    await records.take_seat(seat(capacity=2))
    offer = await offered(records)
    results = await asyncio.gather(
        *[records.accept(offer.task.id, offer.id, "k/w") for _ in range(3)]
    )
    assert sorted(one is not None for one in results) == [False, False, True]
    assert await state_of(records, offer.task) is TaskState.RUNNING


async def test_an_offer_is_accepted_by_none_but_the_one_that_was_asked(
    records: TaskRecords,
) -> None:
    await records.take_seat(seat("k/w"))
    offer = await offered(records)
    for other in ("k/v", "", "K/w", "j/w"):
        assert await records.accept(offer.task.id, offer.id, other) is None
    assert await records.accept(offer.task.id, "another offer", "k/w") is None
    assert await records.accept("another task", offer.id, "k/w") is None
    assert await records.accept(offer.task.id, offer.id, "k/w") is not None


async def test_an_offer_that_was_withdrawn_is_accepted_by_nobody(records: TaskRecords) -> None:
    await records.take_seat(seat())
    offer = await offered(records)
    assert await records.withdraw(offer.task.id, offer.id) is not None
    assert await records.accept(offer.task.id, offer.id, "k/w") is None
    assert await state_of(records, offer.task) is TaskState.OFFERED
    again = await offered(records, offer.task)
    assert again.id != offer.id
    assert await records.accept(offer.task.id, offer.id, "k/w") is None, "the offer before"
    assert await records.accept(offer.task.id, again.id, "k/w") is not None


async def test_an_offer_is_withdrawn_once_and_frees_the_place(records: TaskRecords) -> None:
    await records.take_seat(seat())
    offer = await offered(records)
    assert await records.withdraw(offer.task.id, "another offer") is None
    assert await records.withdraw("another task", offer.id) is None
    withdrawn = await records.withdraw(offer.task.id, offer.id)
    assert withdrawn is not None and withdrawn.id == offer.task.id
    assert await records.withdraw(offer.task.id, offer.id) is None
    assert await records.pools() == [load("p", 1, 1, 0)]


@pytest.mark.parametrize("then", ["accepted", "cancelled", "overdue", "left"])
async def test_an_offer_that_does_not_stand_cannot_be_withdrawn(
    records: TaskRecords, clock: MovedClock, then: str
) -> None:
    there = seat()
    await records.take_seat(there)
    offer = await offered(records)
    if then == "accepted":
        await records.accept(offer.task.id, offer.id, "k/w")
    elif then == "cancelled":
        await records.end(offer.task.id, TaskState.CANCELLED)
    elif then == "overdue":
        clock.advance(OFFER_TTL + 1)
        await records.overdue()
    else:
        assert await records.leave_seat("k/w", there.session) == [offer]
    assert await records.withdraw(offer.task.id, offer.id) is None


async def test_of_an_accept_and_a_withdrawal_at_once_one_happens(records: TaskRecords) -> None:
    await records.take_seat(seat(capacity=20))
    for turn in range(10):
        offer = await offered(records)
        calls = [
            records.accept(offer.task.id, offer.id, "k/w"),
            records.withdraw(offer.task.id, offer.id),
        ]
        results = await asyncio.gather(*(calls if turn % 2 else reversed(calls)))
        assert sorted(one is not None for one in results) == [False, True]


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_task_lies_on_one_table_at_most(records: TaskRecords, accepted: bool) -> None:
    for name in ("k/a", "k/b"):
        await records.take_seat(seat(name, capacity=2))
    offer = await offered(records)
    if accepted:
        await records.accept(offer.task.id, offer.id, offer.seat.worker)
    assert await records.offer(offer.task, ()) is None
    assert await records.offer(offer.task, {offer.seat.worker}) is None
    assert sum(pool.held for pool in await records.pools()) == 1


async def test_a_task_that_ended_is_not_offered_any_more(records: TaskRecords) -> None:
    await records.take_seat(seat())
    one = await running(records)
    await records.end(one.id, TaskState.RELEASED, worker="k/w")
    assert await records.offer(one, ()) is None
    assert await state_of(records, one) is TaskState.RELEASED


async def test_a_task_that_nobody_took_is_dropped_once(records: TaskRecords) -> None:
    await records.take_seat(seat())
    never, withdrawn = task(), task()
    assert await records.offer(never, {"k/w"}) is None
    offer = await offered(records, withdrawn)
    await records.withdraw(withdrawn.id, offer.id)
    for one in (never, withdrawn):
        assert await records.drop(one) is True
        assert await records.drop(one) is False
        assert await records.get(one.id) is None
    assert await records.drop(task()) is False


async def test_a_task_that_somebody_has_is_not_dropped(records: TaskRecords) -> None:
    await records.take_seat(seat(capacity=3))
    offer, begun, ended = await offered(records), await running(records), await running(records)
    await records.end(ended.id, TaskState.DONE, worker="k/w")
    for one in (offer.task, begun, ended):
        before = await records.get(one.id)
        assert await records.drop(one) is False
        assert await records.get(one.id) == before


OTHERS: list[dict[str, Any]] = [
    {"request": "another"},
    *({"request": ""} | one for one in ({"pool": "q"}, {"event": "f"}, {"user": "43"})),
    *({"request": ""} | one for one in ({"progress_to_user": False}, {"timeout": 1.0})),
]


@pytest.mark.parametrize("other", OTHERS)
async def test_another_task_of_its_id_leaves_a_task_alone(
    records: TaskRecords, other: dict[str, Any]
) -> None:
    for pool in "pq":
        await records.take_seat(seat(f"k/{pool}", pools=(pool,), capacity=3))
    first = task(request="one", user="42")
    assert await records.offer(first, {"k/p", "k/q"}) is None, "it lies on nobody's table"
    another = replace(first, **other)
    assert await records.offer(another, ()) is None
    assert await records.drop(another) is False
    found = await records.get(first.id)
    assert found == first and found.request == "one"
    again = replace(first, node="elsewhere", created=NOON + 1)
    assert (await offered(records, again)).task == replace(first, worker="k/p")


async def test_a_record_without_a_hash_is_compared_by_what_it_has(records: TaskRecords) -> None:
    """It was made by a node of the version before."""
    await records.take_seat(seat(capacity=3))
    old = task(user="42")
    assert await records.offer(old, {"k/w"}) is None
    assert await records.offer(replace(old, request="new", event="f"), ()) is None
    assert await records.drop(replace(old, request="new", event="f")) is False
    assert (await offered(records, replace(old, request="new"))).task == replace(old, worker="k/w")


# --- the end


@pytest.mark.parametrize("state", FINAL)
async def test_a_running_task_ends_as_its_worker_says(
    records: TaskRecords, clock: MovedClock, state: TaskState
) -> None:
    await records.take_seat(seat())
    one = await running(records)
    clock.advance(3)
    result = {"한": [1.5, None]}
    ended = await records.end(one.id, state, worker="k/w", result=result, error="why")
    expected = replace(one, state=state, ended=NOON + 3, result=result, error="why")
    assert ended == expected
    assert await records.get(one.id) == expected
    assert await records.pools() == [load("p", 1, 1, 0)]


@pytest.mark.parametrize("again", FINAL)
async def test_a_task_ends_once(records: TaskRecords, clock: MovedClock, again: TaskState) -> None:
    await records.take_seat(seat())
    one = await running(records)
    first = await records.end(one.id, TaskState.DONE, worker="k/w", result=1)
    for worker in ("k/w", None):
        assert await records.end(one.id, again, worker=worker, result=2) is None
    clock.advance(10 * TIMEOUT - 1)
    assert await records.overdue() == []
    assert first is not None and first.state is TaskState.DONE


async def test_of_many_ends_at_once_one_happens(records: TaskRecords) -> None:
    await records.take_seat(seat())
    one = await running(records)
    ends = await asyncio.gather(
        *[records.end(one.id, state, worker="k/w") for state in FINAL],
        records.end(one.id, TaskState.CANCELLED),
    )
    (ended,) = [end for end in ends if end]
    assert await records.get(one.id) == ended


async def test_none_but_its_holder_ends_or_extends_a_task(records: TaskRecords) -> None:
    for name in ("k/w", "k/v"):
        await records.take_seat(seat(name))
    one = await running(records)
    other = "k/v" if one.worker == "k/w" else "k/w"
    for worker in (other, "", "k/unknown"):
        assert await records.end(one.id, TaskState.DONE, worker=worker) is None
        assert await records.extend(one.id, worker) is None
    assert await state_of(records, one) is TaskState.RUNNING
    assert await records.end("unknown", TaskState.DONE, worker=one.worker) is None
    assert await records.extend("unknown", one.worker) is None


async def test_an_offer_must_be_accepted_before_it_is_worked_on(records: TaskRecords) -> None:
    """Start only on ok."""
    await records.take_seat(seat())
    offer = await offered(records)
    assert await records.extend(offer.task.id, "k/w") is None
    for state in FINAL:
        assert await records.end(offer.task.id, state, worker="k/w") is None
    assert await records.accept(offer.task.id, offer.id, "k/w") is not None


@pytest.mark.parametrize("where", ["offered", "running", "on nobody's table"])
async def test_a_cancel_ends_a_task_wherever_it_is(records: TaskRecords, where: str) -> None:
    await records.take_seat(seat())
    offer = await offered(records)
    if where == "running":
        await records.accept(offer.task.id, offer.id, "k/w")
    elif where != "offered":
        await records.withdraw(offer.task.id, offer.id)
    ended = await records.end(offer.task.id, TaskState.CANCELLED)
    assert ended is not None and ended.state is TaskState.CANCELLED
    assert await records.get(offer.task.id) == ended
    assert await records.pools() == [load("p", 1, 1, 0)]
    assert await records.accept(offer.task.id, offer.id, "k/w") is None
    assert await records.extend(offer.task.id, "k/w") is None
    assert await records.end(offer.task.id, TaskState.DONE, worker="k/w") is None
    assert await records.end(offer.task.id, TaskState.CANCELLED) is None


async def test_what_was_never_there_cannot_be_cancelled(records: TaskRecords) -> None:
    assert await records.end("unknown", TaskState.CANCELLED) is None


# --- a worker that is away


async def test_leaving_withdraws_what_was_offered_and_says_what(records: TaskRecords) -> None:
    there = seat(capacity=3)
    await records.take_seat(there)
    begun = await running(records)
    one, two = await offered(records), await offered(records)
    left = await records.leave_seat("k/w", there.session)
    assert sorted(offer.id for offer in left) == sorted([one.id, two.id])
    assert await records.leave_seat("k/w", there.session) == []
    for offer in (one, two):
        assert await records.accept(offer.task.id, offer.id, "k/w") is None
        assert await records.drop(offer.task) is True
    assert await state_of(records, begun) is TaskState.RUNNING


async def test_only_the_offers_to_that_socket_are_withdrawn(records: TaskRecords) -> None:
    """One that was replaced leaves late: what lies before its successor stays there."""
    old, new = seat(capacity=2), seat(capacity=2)
    await records.take_seat(old)
    to_old = await offered(records)
    await records.take_seat(new)
    to_new = await offered(records)
    assert await records.leave_seat("k/w", old.session) == [to_old]
    assert await records.withdraw(to_new.task.id, to_new.id) is not None


async def test_a_worker_may_accept_on_its_new_socket(records: TaskRecords) -> None:
    await records.take_seat(seat())
    offer = await offered(records)
    await records.take_seat(new := seat())
    assert await records.accept(offer.task.id, offer.id, "k/w") is not None
    assert [one.id for one in await records.take_seat(new)] == [offer.task.id]


async def test_a_worker_away_for_its_grace_loses_its_running_tasks(
    records: TaskRecords, clock: MovedClock
) -> None:
    there = seat(capacity=2)
    await records.take_seat(there)
    tasks = [await running(records) for _ in range(2)]
    await records.leave_seat("k/w", there.session)
    clock.advance(GRACE - 1)
    assert await records.overdue() == []
    clock.advance(2)
    lost = await records.overdue()
    assert {one.id for one in lost} == {one.id for one in tasks}
    for one in lost:
        assert (one.state, one.ended, one.worker) == (TaskState.LOST, clock(), "k/w")
        assert await records.get(one.id) == one
        assert await records.end(one.id, TaskState.DONE, worker="k/w") is None, "a late done"
        assert await records.extend(one.id, "k/w") is None
    assert await records.overdue() == [], "each is returned once"


async def test_a_worker_back_in_time_keeps_its_running_tasks(
    records: TaskRecords, clock: MovedClock
) -> None:
    there = seat(capacity=2)
    await records.take_seat(there)
    tasks = [await running(records) for _ in range(2)]
    for _ in range(3):
        await records.leave_seat("k/w", there.session)
        clock.advance(GRACE - 1)
        there = seat(capacity=2)
        assert {one.id for one in await records.take_seat(there)} == {one.id for one in tasks}
    clock.advance(2 * GRACE)
    assert await records.overdue() == []
    ended = await records.end(tasks[0].id, TaskState.DONE, worker="k/w")
    assert ended is not None and ended.state is TaskState.DONE


async def test_leaving_again_does_not_begin_the_grace_again(
    records: TaskRecords, clock: MovedClock
) -> None:
    there = seat()
    await records.take_seat(there)
    await running(records)
    await records.leave_seat("k/w", there.session)
    clock.advance(GRACE - 1)
    await records.leave_seat("k/w", there.session)
    clock.advance(2)
    assert len(await records.overdue()) == 1


async def test_the_grace_does_not_begin_while_the_worker_sits_elsewhere(
    records: TaskRecords, clock: MovedClock
) -> None:
    old, new = seat(), seat()
    await records.take_seat(old)
    one = await running(records)
    await records.take_seat(new)
    await records.leave_seat("k/w", old.session)
    clock.advance(2 * GRACE)
    assert await records.overdue() == []
    await records.leave_seat("k/w", new.session)
    clock.advance(GRACE + 1)
    assert [lost.id for lost in await records.overdue()] == [one.id]


async def test_a_task_accepted_while_its_worker_is_away_has_a_grace_too(
    records: TaskRecords, clock: MovedClock
) -> None:
    """Two sockets of one worker: the offer went to the one, the other was its seat and left."""
    old, new = seat(), seat()
    await records.take_seat(old)
    offer = await offered(records)
    await records.take_seat(new)
    await records.leave_seat("k/w", new.session)
    assert await records.accept(offer.task.id, offer.id, "k/w") is not None
    assert await records.leave_seat("k/w", old.session) == []
    clock.advance(GRACE + 1)
    assert [lost.id for lost in await records.overdue()] == [offer.task.id]


async def test_a_worker_that_is_away_still_holds_its_tasks(
    records: TaskRecords, clock: MovedClock
) -> None:
    """An HTTP-slow last breath: what it says within its grace counts."""
    there = seat()
    await records.take_seat(there)
    one = await running(records)
    await records.leave_seat("k/w", there.session)
    assert await records.extend(one.id, "k/w") is not None
    ended = await records.end(one.id, TaskState.DONE, worker="k/w", result=1)
    assert ended is not None and ended.result == 1
    assert await records.take_seat(seat()) == []


async def test_a_sign_of_life_does_not_lengthen_the_grace(
    records: TaskRecords, clock: MovedClock
) -> None:
    there = seat()
    await records.take_seat(there)
    one = await running(records)
    await records.leave_seat("k/w", there.session)
    clock.advance(GRACE - 1)
    await records.extend(one.id, "k/w")
    clock.advance(2)
    assert [lost.id for lost in await records.overdue()] == [one.id]


async def test_a_returning_worker_is_told_of_running_tasks_only(records: TaskRecords) -> None:
    await records.take_seat(seat(capacity=4))
    begun, done = await running(records), await running(records)
    await records.end(done.id, TaskState.DONE, worker="k/w")
    offer = await offered(records)
    assert await records.take_seat(seat(capacity=4)) == [begun]
    assert await records.take_seat(seat("k/other")) == []
    assert await state_of(records, offer.task) is TaskState.OFFERED


# --- silence


async def test_a_silent_task_is_lost(records: TaskRecords, clock: MovedClock) -> None:
    await records.take_seat(seat(capacity=2))
    short, long = await running(records, task(timeout=5.0)), await running(records)
    clock.advance(4)
    assert await records.overdue() == []
    clock.advance(2)
    (lost,) = await records.overdue()
    assert lost == replace(short, state=TaskState.LOST, ended=clock())
    clock.advance(TIMEOUT)
    assert [one.id for one in await records.overdue()] == [long.id]
    assert await records.pools() == [load("p", 1, 2, 0)], "its worker is there, and free"


async def test_a_sign_of_life_extends(records: TaskRecords, clock: MovedClock) -> None:
    await records.take_seat(seat())
    one = await running(records, task(timeout=5.0))
    for _ in range(4):
        clock.advance(4)
        assert await records.extend(one.id, "k/w") == one
        assert await records.overdue() == []
    clock.advance(6)
    assert [lost.id for lost in await records.overdue()] == [one.id]
    assert await records.extend(one.id, "k/w") is None


async def test_the_silence_begins_with_the_accept(records: TaskRecords, clock: MovedClock) -> None:
    await records.take_seat(seat())
    offer = await offered(records, task(timeout=12.0))
    clock.advance(OFFER_TTL - 1)
    await records.accept(offer.task.id, offer.id, "k/w")
    clock.advance(11)
    assert await records.overdue() == []
    clock.advance(2)
    assert len(await records.overdue()) == 1


async def test_a_return_is_no_sign_of_life_of_a_task(
    records: TaskRecords, clock: MovedClock
) -> None:
    there = seat()
    await records.take_seat(there)
    await running(records, task(timeout=5.0))
    await records.leave_seat("k/w", there.session)
    clock.advance(3)
    await records.take_seat(seat())
    clock.advance(3)
    assert len(await records.overdue()) == 1


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_what_its_node_died_over_is_lost(
    records: TaskRecords, clock: MovedClock, withdrawn: bool
) -> None:
    """Nobody withdraws its offer, or nobody offers it to the next one."""
    await records.take_seat(seat())
    offer = await offered(records)
    if withdrawn:
        await records.withdraw(offer.task.id, offer.id)
    clock.advance(OFFER_TTL - 1)
    assert await records.overdue() == []
    clock.advance(2)
    (lost,) = await records.overdue()
    assert (lost.id, lost.state) == (offer.task.id, TaskState.LOST)
    assert await records.overdue() == []
    assert await records.accept(offer.task.id, offer.id, "k/w") is None
    assert await records.pools() == [load("p", 1, 1, 0)]


async def test_each_offer_stands_for_its_own_time(records: TaskRecords, clock: MovedClock) -> None:
    for name in ("k/a", "k/b", "k/c"):
        await records.take_seat(seat(name))
    one, asked = task(), list[str]()
    for _ in range(3):
        offer = await offered(records, one, *asked)
        asked.append(offer.seat.worker)
        clock.advance(OFFER_TTL - 1)
        assert await records.overdue() == []
        await records.withdraw(one.id, offer.id)


async def test_of_two_that_look_for_the_overdue_one_finds_each(
    records: TaskRecords, clock: MovedClock
) -> None:
    await records.take_seat(seat(capacity=9))
    tasks = [await running(records) for _ in range(4)]
    clock.advance(TIMEOUT + 1)
    found = await asyncio.gather(*[records.overdue() for _ in range(3)])
    assert sorted(one.id for many in found for one in many) == sorted(one.id for one in tasks)


# --- what is remembered


async def test_an_ended_task_is_remembered_for_a_while(
    records: TaskRecords, clock: MovedClock
) -> None:
    await records.take_seat(seat())
    one = await running(records)
    await records.end(one.id, TaskState.DONE, worker="k/w", result=1)
    clock.advance(KEEP - 1)
    assert await state_of(records, one) is TaskState.DONE
    clock.advance(2)
    assert await records.get(one.id) is None


async def test_live_tasks_are_not_forgotten(records: TaskRecords, clock: MovedClock) -> None:
    await records.take_seat(seat())
    one = await running(records, task(timeout=1e6))
    clock.advance(100 * KEEP)
    assert await records.overdue() == []
    assert await records.get(one.id) == one


async def test_so_many_ended_tasks_are_remembered_and_no_more(
    records: TaskRecords, clock: MovedClock
) -> None:
    await records.take_seat(seat())
    ended = []
    for _ in range(OPTIONS["history"] + 3):
        one = await running(records)
        await records.end(one.id, TaskState.DONE, worker="k/w")
        await records.announced(one.id)
        ended.append(one)
        clock.advance(0.5)
    known = [one for one in ended if await records.get(one.id)]
    assert known == ended[3:], "the latest"


HISTORY = OPTIONS["history"]


async def end_many(records: TaskRecords, clock: MovedClock, count: int) -> list[Task]:
    """Nobody announces them."""
    await records.take_seat(seat())
    ended = []
    for _ in range(count):
        ended.append(await running(records))
        await records.end(ended[-1].id, TaskState.DONE, worker="k/w")
        clock.advance(0.1)
    return ended


async def test_an_end_is_not_forgotten_before_it_is_announced(
    records: TaskRecords, clock: MovedClock
) -> None:
    ended = await end_many(records, clock, 3 * HISTORY)
    assert [await state_of(records, one) for one in ended] == [TaskState.DONE] * 3 * HISTORY
    for one in ended:
        assert await records.offer(one, ()) is None, "it has ended"
        await records.announced(one.id)
        await records.announced(one.id)
    known = [one for one in ended if await records.get(one.id)]
    assert known == ended[-HISTORY:], "the latest that was announced"


async def test_unannounced_ends_take_no_place_of_those_that_are_remembered(
    records: TaskRecords, clock: MovedClock
) -> None:
    first, *others = await end_many(records, clock, 4 * HISTORY)
    await records.announced(first.id)
    await end_many(records, clock, 4 * HISTORY)
    assert await state_of(records, first) is TaskState.DONE
    assert await records.overdue() == []
    assert await state_of(records, others[0]) is TaskState.DONE


async def test_so_many_ends_wait_to_be_announced_and_no_more(
    records: TaskRecords, clock: MovedClock
) -> None:
    before = metrics.dropped_unannounced._value.get()
    ended = await end_many(records, clock, 10 * HISTORY + 3)
    known = [one for one in ended if await records.get(one.id)]
    assert known == ended[3:], "the oldest went"
    assert metrics.dropped_unannounced._value.get() == before + 3
    for one in ended:
        await records.announced(one.id)
    assert [one for one in ended if await records.get(one.id)] == ended[-HISTORY:]
    assert metrics.dropped_unannounced._value.get() == before + 3


async def test_what_is_lost_many_at_a_time_is_counted_too(make: Make, clock: MovedClock) -> None:
    before = metrics.dropped_unannounced._value.get()
    async with make(clock, history=1) as records:
        for _ in range(13):
            await records.offer(task(), ())
        clock.advance(OFFER_TTL + 1)
        assert len(await records.overdue()) == 13, "all are told, who hears of them now"
    assert metrics.dropped_unannounced._value.get() == before + 3


async def test_many_who_came_and_went_leave_nothing(
    records: TaskRecords, clock: MovedClock
) -> None:
    for n in range(20):
        there = seat(f"k/{n}")
        await records.take_seat(there)
        one = await running(records)
        if n % 2:
            await records.end(one.id, TaskState.DONE, worker=one.worker)
        await records.leave_seat(there.worker, there.session)
    clock.advance(GRACE + 1)
    assert len(await records.overdue()) == 10
    clock.advance(KEEP + 1)
    assert await records.overdue() == []
    if isinstance(records, MemoryTaskRecords):
        assert (records._workers, records._live, records._ended) == ({}, {}, {})


# --- the process ends


async def test_what_cannot_outlive_its_process_is_lost(clock: MovedClock) -> None:
    records = MemoryTaskRecords(**OPTIONS, clock=clock, wall=clock)
    await records.take_seat(seat(capacity=3))
    begun, offer, done = await running(records), await offered(records), await running(records)
    on_no_table = task()
    assert await records.offer(on_no_table, ()) is None
    await records.end(done.id, TaskState.DONE, worker="k/w")
    lost = await records.close()
    assert {one.id for one in lost} == {begun.id, offer.task.id, on_no_table.id}
    assert {one.state for one in lost} == {TaskState.LOST}
    assert await records.close() == []
    for one in lost:
        assert await records.get(one.id) == one
        assert await records.end(one.id, TaskState.DONE, worker="k/w") is None
    assert await state_of(records, done) is TaskState.DONE


async def test_who_is_seated_and_what_they_hold(records: TaskRecords) -> None:
    assert await records.seated(10, 10) == ([], 0)
    one, two = seat("k/a", capacity=5), seat("k/b", pools=("q",))
    await records.take_seat(two)
    await records.take_seat(one)
    held = [await running(records) for _ in range(2)]
    offer = await offered(records)
    found, total = await records.seated(10, 10)
    assert ([seated.seat for seated in found], total) == ([one, two], 2)
    assert [seated.held for seated in found] == [3, 0]
    assert {task.id for task in found[0].tasks} == {offer.task.id, *(task.id for task in held)}
    found, total = await records.seated(1, 2)
    assert (len(found), total, found[0].held, len(found[0].tasks)) == (1, 2, 3, 2)
    await records.leave_seat("k/a", one.session)
    assert [seated.seat for seated in (await records.seated(10, 10))[0]] == [two]


async def test_what_ended_last(records: TaskRecords, clock: MovedClock) -> None:
    assert await records.newest_ends(10) == []
    await records.take_seat(seat(capacity=5))
    ended = []
    for number in range(3):
        task = await running(records)
        clock.advance(1)
        await records.end(task.id, TaskState.DONE, worker=task.worker, result="x" * 1_000)
        ended.append(task.id)
        if number != 1:
            await records.announced(task.id)
    assert [task.id for task in await records.newest_ends(10)] == ended[::-1]
    assert [task.id for task in await records.newest_ends(2)] == ended[:0:-1]
    assert {task.result for task in await records.newest_ends(10)} == {None}, "a page needs none"
    clock.advance(KEEP - 0.5)
    assert ended[0] not in [task.id for task in await records.newest_ends(10)]
