"""Task records in Redis: every node sees all workers; a task outlives the node that assigned it.

Choosing a worker and marking its task is one step, so the whole table has one hash slot: on a
Cluster one node carries it. Each script is safe when it is run again because its answer was lost.

    gw:{tasks}:workers    HASH   worker -> its seat: session, node, pools, capacity
    gw:{tasks}:seats      ZSET   worker -> end of its lease
    gw:{tasks}:task:<id>  HASH   spec (JSON), state, worker, started, ended, result (JSON), error, …
    gw:{tasks}:held:<w>   SET    the tasks of a worker
    gw:{tasks}:pool:<p>   SET    the seated workers of a pool
    gw:{tasks}:idle, :deadlines, :ended, :unsaid, :unannounced    ZSET
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Self

import msgspec
from redis.asyncio import Redis

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.redis import Keys, Script, batches, translated
from sockets.tasks.base import UNANNOUNCED_FOR_EACH, Offer, Seat, Seated
from sockets.types import PoolLoad, Task, TaskState

ANNOUNCE_WITHIN = 30.0
"""Seconds after which another node announces the end of a task, if that has not been done."""

_PARTS = (
    *("workers", "seats", "idle", "deadlines", "ended", "unsaid", "task:", "held:", "pool:"),
    "unannounced",
)
_NAMES = (
    *("take_seat", "leave_seat", "renew_seats", "seats", "seat_of", "offer", "withdraw", "drop"),
    *("accept", "extend", "finish", "overdue", "get", "announced", "seated"),
    "newest_ends",
)
_SCRIPTS = {name: Script(__package__, "table", name) for name in _NAMES}


class _Spec(msgspec.Struct, omit_defaults=True):
    """What never changes of a task."""

    pool: str
    event: str
    node: str
    timeout: float
    created: float
    user: str | None = None
    progress_to_user: bool = True
    request: str = ""

    @classmethod
    def of(cls, task: Task) -> Self:
        return cls(
            task.pool,
            task.event,
            task.node,
            task.timeout,
            task.created,
            task.user,
            task.progress_to_user,
            task.request,
        )

    def written(self) -> bytes:
        return msgspec.json.encode(self)


class RedisTaskRecords:
    """The interface on Redis. Belongs to one event loop.

    `offer_ttl`, `grace`, `keep`, `history`: as of MemoryTaskRecords. `seat_ttl`: seconds that a
    seat lasts if its node does not renew it. `announce_within`: seconds after which `overdue`
    returns an ended task that nobody has announced. `clock`: for tests; None: Redis' own.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        offer_ttl: float,
        grace: float,
        keep: float,
        history: int,
        seat_ttl: float,
        announce_within: float = ANNOUNCE_WITHIN,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._keys = [keys.tasks(part) for part in _PARTS]
        self._settings = (
            *(offer_ttl, grace, keep, history, seat_ttl, announce_within),
            UNANNOUNCED_FOR_EACH,
        )
        self._clock = clock

    # --- workers

    async def take_seat(self, seat: Seat) -> list[Task]:
        return _tasks(await self._run("take_seat", seat.worker, _json(seat)))

    async def leave_seat(self, worker: str, session: str) -> list[Offer]:
        return [_offer(row) for row in await self._run("leave_seat", worker, session)]

    async def renew_seats(self, seats: Sequence[Seat]) -> None:
        for some in batches(seats):
            args = [arg for seat in some for arg in (seat.worker, _json(seat))]
            await self._run("renew_seats", *args)

    async def seat_of(self, worker: str) -> Seat | None:
        found = await self._run("seat_of", worker)
        return _seat(found) if found else None

    async def pools(self) -> list[PoolLoad]:
        answer = await self._run("seats")
        loads: dict[str, PoolLoad] = {}
        for seat, held in zip(map(_seat, answer[::2]), answer[1::2], strict=True):
            for pool in seat.pools:
                load = loads.get(pool, PoolLoad(pool, 0, 0, 0))
                loads[pool] = replace(
                    load,
                    workers=load.workers + 1,
                    capacity=load.capacity + seat.capacity,
                    held=load.held + held,
                )
        return [loads[pool] for pool in sorted(loads)]

    async def seated(self, workers: int, tasks: int) -> tuple[list[Seated], int]:
        total, *rows = await self._run("seated", workers, tasks)
        found = [
            Seated(_seat(seat), held, tuple(_tasks(some)))
            for seat, held, some in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
        ]
        return found, total

    # --- tasks

    async def offer(self, task: Task, passed_over: Collection[str]) -> Offer | None:
        written = _Spec.of(task).written()
        found = await self._run("offer", task.id, task.pool, written, new_id(), *passed_over)
        return _offer(found) if found else None

    async def withdraw(self, task_id: str, offer_id: str) -> Task | None:
        return _task(await self._run("withdraw", task_id, offer_id))

    async def drop(self, task: Task) -> bool:
        return bool(await self._run("drop", task.id, _Spec.of(task).written()))

    async def accept(self, task_id: str, offer_id: str, worker: str) -> Task | None:
        return _task(await self._run("accept", task_id, offer_id, worker, new_id()))

    async def extend(self, task_id: str, worker: str) -> Task | None:
        return _task(await self._run("extend", task_id, worker))

    async def end(
        self,
        task_id: str,
        state: TaskState,
        *,
        worker: str | None = None,
        result: Any = None,
        error: str = "",
    ) -> Task | None:
        written = b"" if result is None else msgspec.json.encode(result)
        holder = "" if worker is None else f"={worker}"
        args = (task_id, state.value, holder, written, error, new_id())
        dropped, ended = await self._run("finish", *args) or (0, None)
        metrics.dropped_unannounced.inc(dropped)
        return _task(ended)

    async def overdue(self) -> list[Task]:
        dropped, found = await self._run("overdue")
        metrics.dropped_unannounced.inc(dropped)
        return _tasks(found)

    async def announced(self, task_id: str) -> None:
        await self._run("announced", task_id)

    async def get(self, task_id: str) -> Task | None:
        return _task(await self._run("get", task_id))

    async def newest_ends(self, count: int) -> list[Task]:
        ends = _tasks(await self._run("newest_ends", count))
        return sorted(ends, key=lambda task: task.ended or 0.0, reverse=True)[:count]

    async def close(self) -> list[Task]:
        return []  # they outlive this process

    async def _run(self, name: str, *args: Any) -> Any:
        now = "" if self._clock is None else repr(self._clock())
        call = (self._keys, [now, *self._settings, *args])
        with translated(writes=True):
            return await _SCRIPTS[name].run(self._client, call)


def _json(seat: Seat) -> bytes:
    return msgspec.json.encode(seat)


def _seat(found: bytes) -> Seat:
    return msgspec.json.decode(found, type=Seat)


def _offer(row: list[Any]) -> Offer:
    id, seat, row_of_task = row
    task = _task(row_of_task)
    assert task is not None
    return Offer(id.decode(), task, _seat(seat))


def _tasks(rows: list[Any]) -> list[Task]:
    return [task for row in rows if (task := _task(row)) is not None]


def _task(row: list[bytes] | None) -> Task | None:
    """Return a task from what table.lua makes of it."""
    if not row:
        return None
    id, written, state, worker, started, ended, result, error = row
    spec = msgspec.json.decode(written, type=_Spec)
    return Task(
        id=id.decode(),
        pool=spec.pool,
        event=spec.event,
        node=spec.node,
        timeout=spec.timeout,
        created=spec.created,
        user=spec.user,
        progress_to_user=spec.progress_to_user,
        state=TaskState(state.decode()),
        worker=worker.decode(),
        started=float(started) if started else None,
        ended=float(ended) if ended else None,
        result=msgspec.json.decode(result) if result else None,
        error=error.decode(),
        request=spec.request,
    )
