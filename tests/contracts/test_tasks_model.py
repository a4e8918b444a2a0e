"""Any history of tasks and workers: the records against a model, and the dispatcher against what a
task is: never two holders, one end, one announcement of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw
from msgspec.json import decode

from sockets.delivery.hub import LocalSession
from sockets.exceptions import NoWorkerAvailable
from sockets.sessions.lifecycle import worker_name
from sockets.tasks.base import Offer, TaskRecords
from sockets.tasks.memory import MemoryTaskRecords
from sockets.types import Position, Task, TaskState
from tests.contracts.test_tasks import GRACE, KEEP, OFFER_TTL, RECORDS
from tests.support.doubles import (
    ImmediateExecutor,
    MovedClock,
    StillNode,
    outbox_of,
    seat,
    still_node,
    task,
    task_signals,
)
from tests.support.scale import scaled

RUNNING, OFFERED = TaskState.RUNNING, TaskState.OFFERED
FINAL = [state for state in TaskState if state.final]

CAPACITY = {"k/a": 1, "k/b": 2, "j/a": 4}
"""Three workers, for good."""

workers = st.sampled_from(sorted(CAPACITY))
moments = st.sampled_from([0.5, 4.0, OFFER_TTL + 0.5, GRACE + 0.5, 70.0])
nth = st.integers(0, 40)


# --- the records, against a model


@dataclass
class Live:
    """A live task. `holder`: on whose table it lies, offered or running."""

    task: Task
    deadline: float
    holder: str | None = None
    state: TaskState = OFFERED
    offer: str | None = None
    offered_to: str | None = None  # the session
    away_until: float | None = None


@dataclass
class Model:
    """Works out from the definitions alone what every call must answer."""

    seats: dict[str, str] = field(default_factory=dict)  # worker -> session
    idle: dict[str, float] = field(default_factory=dict)
    live: dict[str, Live] = field(default_factory=dict)
    ended: dict[str, tuple[TaskState, float]] = field(default_factory=dict)

    def held(self, worker: str) -> list[Live]:
        return [one for one in self.live.values() if one.holder == worker]

    def running(self, worker: str) -> set[str]:
        return {one.task.id for one in self.held(worker) if one.state is RUNNING}

    def free(self, worker: str, now: float) -> None:
        """It ended a task, or gave an offer back."""
        self.idle[worker] = now
        self.forget_if_gone(worker)

    def forget_if_gone(self, worker: str) -> None:
        if worker not in self.seats and not self.held(worker):
            self.idle.pop(worker, None)

    def let_go(self, one: Live, now: float) -> None:
        worker, one.holder = one.holder, None
        one.offer = one.offered_to = one.away_until = None
        if worker is not None:
            self.free(worker, now)

    def chosen(self, passed_over: set[str]) -> set[str]:
        """Who may be asked: the least loaded, of those the longest idle."""
        free = {
            worker: (len(self.held(worker)) / CAPACITY[worker], self.idle[worker])
            for worker in self.seats
            if worker not in passed_over and len(self.held(worker)) < CAPACITY[worker]
        }
        return {worker for worker, rank in free.items() if rank == min(free.values())}

    def end(self, one: Live, state: TaskState, now: float) -> None:
        self.let_go(one, now)
        del self.live[one.task.id]
        self.ended[one.task.id] = state, now + KEEP

    def overdue(self, now: float) -> list[Live]:
        return [
            one
            for one in self.live.values()
            if one.deadline <= now or (one.away_until is not None and one.away_until <= now)
        ]


class Histories(RuleBasedStateMachine):
    """What one backend answers, call by call."""

    make: Any

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovedClock()
        self.loop = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.records: TaskRecords
        self.model = Model()
        self.tasks: list[Task] = []
        self.offers: list[Offer] = []
        self.sessions: dict[str, list[str]] = {worker: [] for worker in CAPACITY}
        self.accepted: Counter[str] = Counter()

    @initialize()
    def begin(self) -> None:
        made = self.make(self.clock, history=10_000)
        self.records = self.run(self.stack.enter_async_context(made))

    def run(self, call: Any) -> Any:
        return self.loop.run(call)

    @rule(worker=workers)
    def sit(self, worker: str) -> None:
        one = seat(worker, capacity=CAPACITY[worker])
        kept = self.run(self.records.take_seat(one))
        assert {task.id for task in kept} == self.model.running(worker)
        assert all(task.state is RUNNING and task.worker == worker for task in kept)
        self.sessions[worker].append(one.session)
        self.model.seats[worker] = one.session
        self.model.idle.setdefault(worker, self.clock())
        for live in self.model.held(worker):
            live.away_until = None

    @rule(worker=workers, back=st.sampled_from([1, 1, 1, 2, 3]))
    def leave(self, worker: str, back: int) -> None:
        """The socket that it has, or one that it had."""
        if len(self.sessions[worker]) < back:
            return
        session = self.sessions[worker][-back]
        model, now = self.model, self.clock()
        gone = [one for one in model.held(worker) if one.offered_to == session]
        expected = {one.offer for one in gone}
        if model.seats.get(worker) == session:
            del model.seats[worker]
            for one in model.held(worker):
                if one.state is RUNNING:
                    one.away_until = now + GRACE
        for one in gone:
            model.let_go(one, now)
        model.forget_if_gone(worker)
        left = self.run(self.records.leave_seat(worker, session))
        assert {offer.id for offer in left} == expected

    @rule(passed_over=st.sets(workers, max_size=2), timeout=st.sampled_from([6.0, 60.0, 600.0]))
    def offer_a_new_task(self, passed_over: set[str], timeout: float) -> None:
        self.tasks.append(task(timeout=timeout))
        self.offer(self.tasks[-1], passed_over)

    @precondition(lambda self: self.tasks)
    @rule(n=nth, passed_over=st.sets(workers, max_size=2))
    def offer_again(self, n: int, passed_over: set[str]) -> None:
        one = self.tasks[n % len(self.tasks)]
        _, forgotten = self.model.ended.get(one.id, (None, 0.0))
        if one.id in self.model.live or forgotten > self.clock():
            self.offer(one, passed_over)

    def offer(self, one: Task, passed_over: set[str]) -> None:
        model, now = self.model, self.clock()
        offer = self.run(self.records.offer(one, passed_over))
        if one.id in model.ended:
            assert offer is None
            return
        live = model.live.setdefault(one.id, Live(one, now + OFFER_TTL))
        expected = model.chosen(passed_over) if live.holder is None else set()
        assert (offer is None) is (not expected)
        if offer is None:
            return
        assert offer.seat.worker in expected
        assert offer.task.worker == offer.seat.worker
        assert offer.seat.session == model.seats[offer.seat.worker]
        assert offer.id not in {before.id for before in self.offers}
        live.holder, live.offer = offer.seat.worker, offer.id
        live.offered_to = offer.seat.session
        live.deadline = now + OFFER_TTL
        model.idle[offer.seat.worker] = now
        self.offers.append(offer)
        assert len(model.held(offer.seat.worker)) <= CAPACITY[offer.seat.worker]

    def stands(self, offer: Offer) -> Live | None:
        live = self.model.live.get(offer.task.id)
        return live if live is not None and live.offer == offer.id else None

    @precondition(lambda self: self.offers)
    @rule(back=nth, by=st.none() | workers)
    def accept(self, back: int, by: str | None) -> None:
        """By whom it was offered to, or by another; the latest offer, or a stale one."""
        offer = self.offers[-1 - back % min(len(self.offers), 6)]
        worker = by or offer.seat.worker
        live = self.stands(offer)
        begun = self.run(self.records.accept(offer.task.id, offer.id, worker))
        assert (begun is not None) is (live is not None and live.holder == worker)
        if begun is None or live is None:
            return
        self.accepted[offer.task.id] += 1
        assert (begun.state, begun.worker, begun.started) == (RUNNING, worker, self.clock())
        live.state, live.offer, live.offered_to = RUNNING, None, None
        live.deadline = self.clock() + live.task.timeout
        live.away_until = None if worker in self.model.seats else self.clock() + GRACE

    @precondition(lambda self: self.offers)
    @rule(back=nth)
    def withdraw(self, back: int) -> None:
        offer = self.offers[-1 - back % min(len(self.offers), 6)]
        live = self.stands(offer)
        withdrawn = self.run(self.records.withdraw(offer.task.id, offer.id))
        assert (withdrawn is not None) is (live is not None)
        if live is not None:
            self.model.let_go(live, self.clock())

    @precondition(lambda self: self.tasks)
    @rule(n=nth)
    def drop(self, n: int) -> None:
        one = self.tasks[n % len(self.tasks)]
        live = self.model.live.get(one.id)
        expected = live is not None and live.holder is None
        assert self.run(self.records.drop(one)) is expected
        if expected:
            del self.model.live[one.id]
            self.tasks.remove(one)

    @precondition(lambda self: self.tasks)
    @rule(n=nth, worker=workers)
    def extend(self, n: int, worker: str) -> None:
        one = self.tasks[n % len(self.tasks)]
        holds = one.id in self.model.running(worker)
        extended = self.run(self.records.extend(one.id, worker))
        assert (extended is not None) is holds
        if holds:
            self.model.live[one.id].deadline = self.clock() + one.timeout

    @precondition(lambda self: self.tasks)
    @rule(n=nth, worker=st.none() | workers, state=st.sampled_from(FINAL))
    def end(self, n: int, worker: str | None, state: TaskState) -> None:
        one = self.tasks[n % len(self.tasks)]
        live = self.model.live.get(one.id)
        expected = live is not None
        if worker is not None:
            expected = one.id in self.model.running(worker)
        ended = self.run(self.records.end(one.id, state, worker=worker))
        assert (ended is not None) is expected
        if ended is not None and live is not None:
            assert (ended.state, ended.ended) == (state, self.clock())
            self.model.end(live, state, self.clock())

    @rule(seconds=moments)
    def wait(self, seconds: float) -> None:
        """Deadlines act when somebody looks, and the watch looks all the time."""
        self.clock.advance(seconds)
        late = self.model.overdue(self.clock())
        lost = self.run(self.records.overdue())
        assert sorted(task.id for task in lost) == sorted(one.task.id for one in late)
        assert all(task.state is TaskState.LOST for task in lost)
        for one in late:
            self.model.end(one, TaskState.LOST, self.clock())

    @invariant()
    def nobody_has_two_holders(self) -> None:
        assert all(count == 1 for count in self.accepted.values())

    @invariant()
    def every_task_is_where_the_model_has_it(self) -> None:
        for one in self.tasks:
            found = self.run(self.records.get(one.id))
            if live := self.model.live.get(one.id):
                assert found is not None and found.state is live.state
                assert live.holder in (None, found.worker)
            elif one.id in self.model.ended:
                state, until = self.model.ended[one.id]
                expected = state if until > self.clock() else None
                assert (found.state if found else None) is expected

    @invariant()
    def the_pool_is_as_full_as_the_model(self) -> None:
        if not hasattr(self, "records"):
            return
        pools = self.run(self.records.pools())
        seated = list(self.model.seats)
        told = [(pool.workers, pool.capacity, pool.held) for pool in pools]
        assert told == (
            [
                (
                    len(seated),
                    sum(CAPACITY[worker] for worker in seated),
                    sum(len(self.model.held(worker)) for worker in seated),
                )
            ]
            if seated
            else []
        )

    def teardown(self) -> None:
        if hasattr(self, "records"):
            for worker, sessions in self.sessions.items():
                for session in sessions:
                    self.run(self.records.leave_seat(worker, session))
            self.clock.advance(10_000)
            self.run(self.records.overdue())
            self.clock.advance(10_000)
            assert self.run(self.records.overdue()) == []
            assert all(self.run(self.records.get(one.id)) is None for one in self.tasks)
            if isinstance(self.records, MemoryTaskRecords):
                assert not self.records._workers, "a worker that is gone is kept"
                assert not self.records._live and not self.records._ended
            self.run(self.stack.aclose())
        self.loop.close()


# --- the dispatcher, with workers of any conduct


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is a test's clock: time-outs pass when the test says so, and at once."""

    def __init__(self, clock: MovedClock) -> None:
        super().__init__()
        self.moved = clock

    def time(self) -> float:
        return self.moved()

    def is_busy(self) -> bool:
        """Whether something else than the caller is to be run now."""
        return bool(self._ready)  # type: ignore[attr-defined]


class Days(RuleBasedStateMachine):
    """A node's day: backends assign and cancel, workers come, answer anything at any time, go.

    What the node says is held against what the records say at that moment, and at the end of the
    day against what was announced.
    """

    def __init__(self) -> None:
        super().__init__()
        start = MovedClock()
        self.loop = VirtualLoop(start)
        self.house: StillNode = self.run(
            still_node(
                executor=ImmediateExecutor(),
                task_accept_timeout=5.0,
                task_assign_timeout=15.0,
                task_grace=GRACE,
                task_timeout=60.0,
                task_keep=1e6,
                task_history=10_000,
            )
        )
        self.clock = self.loop.moved = self.house.clock  # one time for the loop and for the records
        self.sockets: list[LocalSession] = []
        self.calls: dict[str, asyncio.Task[Task]] = {}
        self.accepted: Counter[str] = Counter()
        self.announced: Counter[tuple[str, TaskState]] = Counter()
        self.told_done: Counter[str] = Counter()
        self.signals = ExitStack()
        self.signals.enter_context(task_signals(self.hear))
        self.watch = self.loop.create_task(self.house.dispatcher.watch())
        self.run(self.settle())

    def hear(self, task: Task, **_: Any) -> None:
        self.announced[task.id, task.state] += 1

    def run(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    async def settle(self) -> None:
        """Turns of the loop until all that can happen now has happened; it is never idle, so it
        never waits."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0)
            quiet = 0 if self.loop.is_busy() else quiet + 1

    def do(self, call: Any) -> Any:
        async def then_settle() -> Any:
            result = await call
            await self.settle()
            return result

        return self.run(then_settle())

    # --- backends

    @rule(
        user=st.sampled_from([None, "42"]),
        pool=st.sampled_from(["p", "p", "p", "k/a"]),
        progress_to_user=st.booleans(),
        timeout=st.sampled_from([None, 7.0]),
    )
    def assign(
        self, user: str | None, pool: str, progress_to_user: bool, timeout: float | None
    ) -> None:
        id = f"T{len(self.calls)}"
        self.calls[id] = self.loop.create_task(
            self.house.dispatcher.assign(
                pool.replace("/", "."),
                "e",
                None,
                user_id=user,
                progress_to_user=progress_to_user,
                timeout=timeout,
                id=id,
            )
        )
        self.run(self.settle())

    @precondition(lambda self: self.calls)
    @rule(n=nth)
    def the_caller_goes(self, n: int) -> None:
        """Of a call that still waits for somebody to accept."""
        waiting = [call for call in self.calls.values() if not call.done()]
        if waiting:
            waiting[n % len(waiting)].cancel()
            self.run(self.settle())

    @precondition(lambda self: self.calls)
    @rule(n=nth)
    def cancel(self, n: int) -> None:
        id = f"T{n % len(self.calls)}"
        before = self.run(self.house.dispatcher.get(id))
        done = self.do(self.house.dispatcher.cancel(id))
        assert done is (before is not None and not before.state.final)

    # --- workers

    @rule(worker=workers)
    def comes(self, worker: str) -> None:
        """Also while an earlier socket of it has not gone."""
        key, id = worker.split("/")
        held = self.held(worker)
        session = self.do(
            self.house.open_worker(
                "p",
                worker.replace("/", "."),
                capacity=CAPACITY[worker],
                key=key,
                client_id=id,
            )
        )
        assert {one.id for one in held if one.state is RUNNING} <= self.all_held(worker)
        self.sockets.append(session)

    @precondition(lambda self: self.sockets)
    @rule(n=nth)
    def goes(self, n: int) -> None:
        session = self.sockets.pop(n % len(self.sockets))
        self.do(self.house.sessions.close(session, 1006, ""))

    def offers(self) -> list[tuple[str, str, str]]:
        """(worker, task, offer) of all that was ever laid before a socket that is still open."""
        return [
            (worker_name(socket.info), frame["task"], frame["offer"])
            for socket in self.sockets
            for frame in outbox_of(socket).frames
            if frame["type"] == "task"
        ]

    def pick(self, back: int) -> tuple[str, str, str] | None:
        offers = self.offers()
        return offers[-1 - back % min(len(offers), 5)] if offers else None

    @rule(back=nth, by=st.sampled_from([None, None, None, *sorted(CAPACITY)]))
    def accepts(self, back: int, by: str | None) -> None:
        """What was offered to it now or long ago; or what was offered to another."""
        if (picked := self.pick(back)) is None:
            return
        offered_to, id, offer = picked
        worker = by or offered_to

        async def accept() -> tuple[bool, Task | None, Task | None]:
            before = await self.house.dispatcher.get(id)
            ok = await self.house.dispatcher.accept(worker, id, offer)
            return ok, before, await self.house.dispatcher.get(id)

        ok, before, after = self.do(accept())
        if ok:
            assert worker == offered_to
            assert before is not None and before.state is OFFERED
            assert after is not None and (after.state, after.worker) == (RUNNING, worker)
            self.accepted[id] += 1
        else:
            assert after == before, "a refused accept changes nothing"

    @rule(back=nth)
    def rejects(self, back: int) -> None:
        if (picked := self.pick(back)) is not None:
            self.do(self.house.dispatcher.reject(*picked))

    @precondition(lambda self: self.calls)
    @rule(n=nth, worker=workers)
    def tells_progress(self, n: int, worker: str) -> None:
        id = f"T{n % len(self.calls)}"
        holds = id in {one.id for one in self.held(worker) if one.state is RUNNING}
        assert self.do(self.house.dispatcher.progress(worker, id, Raw(b"1"))) is holds

    @precondition(lambda self: self.calls)
    @rule(
        n=nth,
        worker=workers,
        state=st.sampled_from([TaskState.DONE, TaskState.FAILED, TaskState.RELEASED]),
    )
    def ends(self, n: int, worker: str, state: TaskState) -> None:
        """Its own task; or another's; or once more."""
        id = f"T{n % len(self.calls)}"
        before = self.run(self.house.dispatcher.get(id))
        ok = self.do(self.house.dispatcher.end(worker, id, state))
        mine = before is not None and before.worker == worker
        assert ok is (mine and before.state in (RUNNING, state))
        if ok and before.state is RUNNING:
            self.told_done[id] += 1

    @rule(worker=workers)
    def tells_progress_of_all_it_runs(self, worker: str) -> None:
        for one in self.held(worker):
            running = one.state is RUNNING
            assert self.do(self.house.dispatcher.progress(worker, one.id, Raw(b"2"))) is running

    @rule(worker=workers, state=st.sampled_from([TaskState.DONE, TaskState.RELEASED]))
    def ends_all_it_runs(self, worker: str, state: TaskState) -> None:
        for one in self.held(worker):
            if one.state is RUNNING:
                assert self.do(self.house.dispatcher.end(worker, one.id, state))
                self.told_done[one.id] += 1

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.1, GRACE + 2, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.run(self.settle())

    # --- what holds at any time

    def held(self, worker: str) -> list[Task]:
        live = self.house.tasks._live.values()
        return [
            record.task
            for record in live
            if record.task.worker == worker
            and (record.offer is not None or record.task.state is RUNNING)
        ]

    def all_held(self, worker: str) -> set[str]:
        known = self.house.tasks._workers.get(worker)
        return set(known.held) if known else set()

    @invariant()
    def nobody_holds_more_than_its_capacity(self) -> None:
        for worker, capacity in CAPACITY.items():
            held = self.held(worker)
            assert len(held) <= capacity
            assert {one.id for one in held} == self.all_held(worker)

    @invariant()
    def at_most_one_worker_was_ever_told_to_begin(self) -> None:
        assert all(count == 1 for count in self.accepted.values()), self.accepted

    @invariant()
    def what_runs_was_accepted_and_what_ended_was_announced_once(self) -> None:
        for id in self.calls:
            found = self.run(self.house.dispatcher.get(id))
            announced = [(state, n) for (of, state), n in self.announced.items() if of == id]
            if found is not None and found.state is RUNNING:
                assert self.accepted[id] == 1
            if found is not None and found.state.final:
                assert announced == [(found.state, 1)]
                if found.state not in (TaskState.LOST, TaskState.CANCELLED):
                    assert self.accepted[id] == self.told_done[id] == 1
            else:
                assert announced == []

    @invariant()
    def nothing_is_offered_for_a_caller_that_has_its_answer(self) -> None:
        for id, call in self.calls.items():
            found = self.run(self.house.dispatcher.get(id))
            if call.done() and found is not None:
                assert found.state is not OFFERED

    # --- the end of the day

    def teardown(self) -> None:
        house = self.house
        try:
            for socket in self.sockets:
                self.do(house.sessions.close(socket, 1006, ""))
            for _ in range(5):
                self.clock.advance(GRACE + 61)
                self.run(self.settle())
            for id, call in self.calls.items():
                assert call.done()
                found = self.run(house.dispatcher.get(id))
                if call.cancelled():
                    assert found is None or found.state is TaskState.CANCELLED or found.started
                elif error := call.exception():
                    assert isinstance(error, NoWorkerAvailable)
                    assert found is None and not self.accepted[id]
                if found is not None:
                    assert found.state.final
            self.what_runs_was_accepted_and_what_ended_was_announced_once()
            assert not house.tasks._live and not house.tasks._workers
            assert not house.dispatcher._verdicts
            assert not house.at_work and not house.announcer._running
            self.run(self.the_user_was_told())
        finally:
            self.signals.close()
            self.watch.cancel()
            self.run(self.settle())
            self.loop.close()

    async def the_user_was_told(self) -> None:
        """The last that the stream says of each task is its end; there is no more of it."""
        head = await self.house.streams.head("42")
        page = await self.house.streams.read("42", Position(head.epoch, 0), 10_000)
        told = {}
        for entry in page.entries:
            body = decode(entry.body)
            assert body["data"]["task"] not in told, "one message of each task is left"
            told[body["data"]["task"]] = body["event"]
        expected = {}
        for id in self.calls:
            found = await self.house.dispatcher.get(id)
            if found is None or found.user is None:
                continue
            if found.progress_to_user or found.state is TaskState.LOST:
                expected[id] = f"task.{found.state}"
        assert told == expected


HISTORY = settings(max_examples=scaled(1_000, 60), stateful_step_count=40, database=None)
_case: Any
for _name, _make in RECORDS.items():
    _machine: Any = type(f"Histories_{_name}", (Histories,), {"make": staticmethod(_make)})
    _case = _machine.TestCase
    _case.settings = HISTORY
    globals()[f"Test{_name.title()}Histories"] = _case
    del _case

TestDays: Any = Days.TestCase
TestDays.settings = HISTORY
