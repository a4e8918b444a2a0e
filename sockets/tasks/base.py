"""What a backend of task records promises; `tests/contracts/test_tasks.py` holds each one to it.

    offer ──► offered ──accept──► running ──end──► done, failed, released, cancelled
                │ ▲                  │
       withdraw ▼ │ offer            └─overdue──► lost
             (laid before nobody) ──drop──► no record

Every step is a compare-and-set: of two that race, one happens. Hence a task has one holder at most
and ends once. A worker is named "<key name>/<worker id>"; what it holds, offered or running, counts
against its capacity. Time is the backend's own. A record is small: the task's data is not in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sockets.types import PoolLoad, Task, TaskState


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's live socket: which pools it works for, and how many tasks it holds at most."""

    worker: str
    session: str
    node: str
    pools: tuple[str, ...]
    capacity: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A task laid before one worker. `id`: what an `accept` must name."""

    id: str
    task: Task
    seat: Seat


@dataclass(frozen=True, slots=True)
class Seated:
    """A worker that is seated. `held`: how many tasks it holds; `tasks`: some of them."""

    seat: Seat
    held: int
    tasks: tuple[Task, ...]


UNANNOUNCED_FOR_EACH = 10
"""Ends that wait to be announced, for each of `history`; then the oldest is forgotten, counted."""


class TaskRecords(Protocol):
    """All tasks and all seats. Any method may raise GatewayUnavailable."""

    # --- workers

    async def take_seat(self, seat: Seat) -> list[Task]:
        """Seat a worker, which may be offered tasks from now on; its earlier seat is given up.

        Returns the running tasks that it still holds: their grace has ended well.
        """

    async def leave_seat(self, worker: str, session: str) -> list[Offer]:
        """Give up the seat of a socket that is gone; idempotent. Returns its offers, withdrawn.

        If it was the worker's seat, no offers follow, and the grace of its running tasks begins.
        """

    async def renew_seats(self, seats: Sequence[Seat]) -> None:
        """Renew seats: their node does so every LEASE_RENEW seconds.

        A seat that is not renewed for LEASE_TTL counts as left.
        """

    async def seat_of(self, worker: str) -> Seat | None:
        """Return the seat of a worker now, if it has one."""

    async def pools(self) -> list[PoolLoad]:
        """Return every pool with a live worker, by name."""

    async def seated(self, workers: int, tasks: int) -> tuple[list[Seated], int]:
        """Return the first seated workers by name, with so many tasks together at most; and how
        many workers are seated."""

    # --- tasks

    async def offer(self, task: Task, passed_over: Collection[str]) -> Offer | None:
        """Lay a task before a live worker of its pool that has a free place.

        The least loaded, of those the longest idle, none of `passed_over`. Makes the record the
        first time. None: nobody is free, or the task is not to be offered any more, or there is
        another task with this id (`get` returns it).
        """

    async def withdraw(self, task_id: str, offer_id: str) -> Task | None:
        """Take an offer back; None if it does not stand any more (accepted, cancelled, …)."""

    async def drop(self, task: Task) -> bool:
        """Forget a task that nobody took; False if that is not so, or it is another task."""

    async def accept(self, task_id: str, offer_id: str, worker: str) -> Task | None:
        """Give the task to the worker; None if this offer does not stand with this worker."""

    async def extend(self, task_id: str, worker: str) -> Task | None:
        """Note a sign of life of the running task; None if the worker does not hold it."""

    async def end(
        self,
        task_id: str,
        state: TaskState,
        *,
        worker: str | None = None,
        result: Any = None,
        error: str = "",
    ) -> Task | None:
        """End a task in this final state, and return it so; None if it was not to be ended.

        `worker`: who must hold it running; None: in whatever state, for a cancel.
        """

    async def overdue(self) -> list[Task]:
        """End, as lost, every task that was silent or whose worker was away for too long, or that
        was offered by a node that died over it. Each is returned once; and again, with those that
        ended otherwise, if it is not announced in time.
        """

    async def announced(self, task_id: str) -> None:
        """Note that the end of a task is announced.

        Until then the task is kept beside those that are remembered, however long ago it ended.
        """

    async def get(self, task_id: str) -> Task | None:
        """Return a task, live or ended a while ago."""

    async def newest_ends(self, count: int) -> list[Task]:
        """Return the tasks that ended last, the last one first, without their results."""

    async def close(self) -> list[Task]:
        """End, as lost, the tasks that cannot outlive this process, and return them."""
