"""Task records in this process."""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.tasks.base import UNANNOUNCED_FOR_EACH, Offer, Seat, Seated
from sockets.tasks.repetition import is_repetition
from sockets.types import PoolLoad, Task, TaskState


@dataclass(slots=True)
class _Worker:
    """`seat` None: away. `idle_since`: when it last got or ended a task."""

    seat: Seat | None
    idle_since: float
    held: set[str] = field(default_factory=set)

    @property
    def load(self) -> float:
        return len(self.held) / self.seat.capacity if self.seat else 1.0


@dataclass(slots=True)
class _Record:
    """A live task. `offer`: the one that stands. `deadline`: when it is lost without a sign of
    life; `away_until`: when it is lost unless its worker returns."""

    task: Task
    deadline: float
    offer: Offer | None = None
    away_until: float | None = None

    def is_overdue(self, now: float) -> bool:
        return self.deadline <= now or (self.away_until is not None and self.away_until <= now)


class MemoryTaskRecords:
    """The interface on dictionaries. Belongs to one event loop.

    `offer_ttl`, `grace`, `keep`: seconds that an offer stands if nobody withdraws it, that a worker
    may be away, that an ended task is remembered; `history`: how many of those.
    """

    def __init__(
        self,
        *,
        offer_ttl: float,
        grace: float,
        keep: float,
        history: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._offer_ttl = offer_ttl
        self._grace = grace
        self._keep = keep
        self._history = history
        self._clock = clock
        self._wall = wall
        self._workers: dict[str, _Worker] = {}
        self._live: dict[str, _Record] = {}
        # With the end of the time that they are remembered.
        self._unannounced: OrderedDict[str, tuple[Task, float]] = OrderedDict()
        self._ended: OrderedDict[str, tuple[Task, float]] = OrderedDict()

    # --- workers

    async def take_seat(self, seat: Seat) -> list[Task]:
        worker = self._workers.setdefault(seat.worker, _Worker(None, self._clock()))
        worker.seat = seat
        running = [r for r in self._held_by(worker) if r.task.state is TaskState.RUNNING]
        for record in running:
            record.away_until = None
        return [record.task for record in running]

    async def leave_seat(self, worker: str, session: str) -> list[Offer]:
        known = self._workers.get(worker)
        if known is None:
            return []
        withdrawn = []
        for record in self._held_by(known):
            if record.offer is not None and record.offer.seat.session == session:
                withdrawn.append(record.offer)
                self._take_back(record)
        if known.seat is not None and known.seat.session == session:
            known.seat = None
            for record in self._held_by(known):
                if record.task.state is TaskState.RUNNING:
                    record.away_until = self._clock() + self._grace
        self._forget_if_done_with(worker)
        return withdrawn

    async def renew_seats(self, seats: Sequence[Seat]) -> None:
        """They end with this process, or when they are left."""

    async def seat_of(self, worker: str) -> Seat | None:
        known = self._workers.get(worker)
        return known.seat if known else None

    async def pools(self) -> list[PoolLoad]:
        loads: dict[str, PoolLoad] = {}
        for worker in self._workers.values():
            if (seat := worker.seat) is None:
                continue
            for pool in seat.pools:
                load = loads.get(pool, PoolLoad(pool, 0, 0, 0))
                loads[pool] = replace(
                    load,
                    workers=load.workers + 1,
                    capacity=load.capacity + seat.capacity,
                    held=load.held + len(worker.held),
                )
        return [loads[pool] for pool in sorted(loads)]

    async def seated(self, workers: int, tasks: int) -> tuple[list[Seated], int]:
        names = sorted(name for name, worker in self._workers.items() if worker.seat)
        found = []
        for name in names[:workers]:
            worker = self._workers[name]
            assert worker.seat is not None
            held = sorted(worker.held)[:tasks]
            tasks -= len(held)
            some = tuple(self._live[id].task for id in held)
            found.append(Seated(worker.seat, len(worker.held), some))
        return found, len(names)

    # --- tasks

    async def offer(self, task: Task, passed_over: Collection[str]) -> Offer | None:
        if task.id in self._ended or task.id in self._unannounced:
            return None
        record = self._live.setdefault(task.id, _Record(task, self._offer_deadline()))
        if record.offer is not None or record.task.state is not TaskState.OFFERED:
            return None
        if not is_repetition(task, record.task):
            return None
        free = [
            worker
            for name, worker in self._workers.items()
            if worker.seat is not None
            and task.pool in worker.seat.pools
            and len(worker.held) < worker.seat.capacity
            and name not in passed_over
        ]
        if not free:
            return None
        chosen = min(free, key=lambda worker: (worker.load, worker.idle_since))
        assert chosen.seat is not None
        record.task = replace(record.task, worker=chosen.seat.worker)
        record.offer = Offer(new_id(), record.task, chosen.seat)
        record.deadline = self._offer_deadline()
        chosen.held.add(task.id)
        chosen.idle_since = self._clock()
        return record.offer

    async def withdraw(self, task_id: str, offer_id: str) -> Task | None:
        record = self._offered(task_id, offer_id)
        if record is None:
            return None
        self._take_back(record)
        return record.task

    async def drop(self, task: Task) -> bool:
        record = self._live.get(task.id)
        if record is None or record.offer or record.task.state is not TaskState.OFFERED:
            return False
        if not is_repetition(task, record.task):
            return False
        del self._live[task.id]
        return True

    async def accept(self, task_id: str, offer_id: str, worker: str) -> Task | None:
        record = self._offered(task_id, offer_id)
        if record is None or record.task.worker != worker:
            return None
        record.offer = None
        record.task = replace(record.task, state=TaskState.RUNNING, started=self._wall())
        record.deadline = self._clock() + record.task.timeout
        known = self._workers[worker]
        # It may have left its seat while this was on its way.
        record.away_until = None if known.seat else self._clock() + self._grace
        return record.task

    async def extend(self, task_id: str, worker: str) -> Task | None:
        record = self._running(task_id, worker)
        if record is None:
            return None
        record.deadline = self._clock() + record.task.timeout
        return record.task

    async def end(
        self,
        task_id: str,
        state: TaskState,
        *,
        worker: str | None = None,
        result: Any = None,
        error: str = "",
    ) -> Task | None:
        record = self._live.get(task_id) if worker is None else self._running(task_id, worker)
        return self._end(record, state, result, error) if record else None

    async def overdue(self) -> list[Task]:
        self._forget_old()
        now = self._clock()
        late = [record for record in self._live.values() if record.is_overdue(now)]
        return [self._end(record, TaskState.LOST) for record in late]

    async def announced(self, task_id: str) -> None:
        if (ended := self._unannounced.pop(task_id, None)) is not None:
            self._ended[task_id] = ended
            self._forget_old()

    async def get(self, task_id: str) -> Task | None:
        self._forget_old()
        if record := self._live.get(task_id):
            return record.task
        ended = self._ended.get(task_id) or self._unannounced.get(task_id)
        return ended[0] if ended and ended[1] > self._clock() else None

    async def newest_ends(self, count: int) -> list[Task]:
        self._forget_old()
        ends = [task for task, _ in (*self._ended.values(), *self._unannounced.values())]
        newest = heapq.nlargest(count, ends, key=lambda task: task.ended or 0.0)
        return [replace(task, result=None) for task in newest]

    async def close(self) -> list[Task]:
        return [self._end(record, TaskState.LOST) for record in list(self._live.values())]

    # --- inside

    def _offer_deadline(self) -> float:
        return self._clock() + self._offer_ttl

    def _held_by(self, worker: _Worker) -> Iterator[_Record]:
        return iter([self._live[task_id] for task_id in worker.held])

    def _offered(self, task_id: str, offer_id: str) -> _Record | None:
        record = self._live.get(task_id)
        standing = record is not None and record.offer is not None and record.offer.id == offer_id
        return record if standing else None

    def _running(self, task_id: str, worker: str) -> _Record | None:
        record = self._live.get(task_id)
        if record is None or record.task.state is not TaskState.RUNNING:
            return None
        return record if record.task.worker == worker else None

    def _take_back(self, record: _Record) -> None:
        """Withdraw the offer of a task."""
        self._let_go(record)
        record.offer = None
        record.task = replace(record.task, worker="")

    def _let_go(self, record: _Record) -> None:
        """Free the place of a task at its worker, if it has one."""
        name = record.task.worker
        if worker := self._workers.get(name):
            worker.held.remove(record.task.id)
            worker.idle_since = self._clock()
            self._forget_if_done_with(name)

    def _end(self, record: _Record, state: TaskState, result: Any = None, error: str = "") -> Task:
        self._let_go(record)
        del self._live[record.task.id]
        task = replace(record.task, state=state, ended=self._wall(), result=result, error=error)
        self._unannounced[task.id] = task, self._clock() + self._keep
        self._forget_old()
        return task

    def _forget_if_done_with(self, name: str) -> None:
        worker = self._workers.get(name)
        if worker is not None and worker.seat is None and not worker.held:
            del self._workers[name]

    def _forget_old(self) -> None:
        while len(self._unannounced) > UNANNOUNCED_FOR_EACH * self._history:
            self._unannounced.popitem(last=False)
            metrics.dropped_unannounced.inc()
        now = self._clock()
        while self._ended:
            id, (_, until) = next(iter(self._ended.items()))
            if until > now and len(self._ended) <= self._history:
                return
            del self._ended[id]
