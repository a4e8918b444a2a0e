"""Threads in which Django's receivers run: a pool for each kind of signal, fair to its users.

    submit(user, work) -> the user's queue -> users take turns -> a thread -> the future

What hangs in one pool harms no other. A user with many waiting jobs gets one turn like everybody
else, and never has all threads of a pool; where the order of a user's events counts, one of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field

from sockets.base import metrics
from sockets.conf import Conf

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Jobs that wait in one pool; then the oldest of the user who has most of them is dropped."""

MAX_OF_USER = 1_000
"""Jobs of one user that wait in one pool; then the user's oldest is dropped."""


@dataclass(slots=True)
class _Job:
    work: Callable[[], object]
    done: asyncio.Future[bool]
    on_begin: Callable[[], None] | None
    since: float = field(default_factory=time.monotonic)


class ReceiverPool:
    """Belongs to one event loop. `threads` are started as they are needed, and each may hold a
    database connection. `at_once`: jobs of one user at work together; with 1 they are in order.
    `executor`: for tests, in place of the threads."""

    def __init__(
        self, name: str, threads: int, executor: Executor | None = None, *, at_once: int = 1
    ) -> None:
        self._executor = executor or ThreadPoolExecutor(
            threads, thread_name_prefix=f"gateway-signal-{name}"
        )
        self._free = threads
        self._queues: dict[str, deque[_Job]] = {}  # none is empty
        # Who waits, and may have one more job at work.
        self._turns: OrderedDict[str, None] = OrderedDict()
        self._at_once = at_once
        self._at_work: dict[str, int] = {}  # none is 0
        self._waiting = 0
        self._closed = False
        self._wait = metrics.receiver_wait[name]
        self._pending = metrics.receivers_waiting[name]
        self._dropped = metrics.dropped_receivers[name]

    def submit(
        self, user: str, work: Callable[[], object], on_begin: Callable[[], None] | None = None
    ) -> asyncio.Future[bool]:
        """Run `work` in a thread when it is the user's turn; it must not raise.

        `on_begin` is called on the loop when that is. The future is True when the work was done,
        False when it was dropped: there was no space, or the pool is closed. Cancelling it takes
        back work that has not begun.
        """
        job = _Job(work, asyncio.get_running_loop().create_future(), on_begin)
        if self._closed:
            self._resolve(job, done=False)
            return job.done
        self._make_space(user)
        self._queues.setdefault(user, deque()).append(job)
        self._count(1)
        self._give_turn(user)
        self._start()
        return job.done

    def close(self) -> None:
        """Drop what waits, and whatever comes; threads at work are not waited for."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        while self._queues:
            self._resolve(self._take(next(iter(self._queues))), done=False)
        self._turns.clear()

    # --- inside

    def _give_turn(self, user: str) -> None:
        """Put the user after all others, unless it has a turn already or may have none."""
        if user in self._queues and self._at_work.get(user, 0) < self._at_once:
            self._turns.setdefault(user)

    def _make_space(self, user: str) -> None:
        if len(self._queues.get(user, ())) >= MAX_OF_USER:
            self._drop(user)
        elif self._waiting >= MAX_WAITING:
            # Looked for only here: a crowd pays for it, and nobody who has less.
            self._drop(max(self._queues, key=lambda name: len(self._queues[name])))

    def _drop(self, user: str) -> None:
        job = self._take(user)
        if not job.done.done():
            self._dropped.inc()
        self._resolve(job, done=False)

    def _take(self, user: str) -> _Job:
        """Remove and return the user's oldest waiting job."""
        queue = self._queues[user]
        job = queue.popleft()
        self._count(-1)
        if not queue:
            del self._queues[user]
            self._turns.pop(user, None)
        return job

    def _count(self, change: int) -> None:
        self._waiting += change
        self._pending.inc(change)

    def _start(self) -> None:
        while self._free and self._turns:
            user, _ = self._turns.popitem(last=False)
            job = self._take(user)
            if not job.done.done():
                self._begin(user, job)
            self._give_turn(user)

    def _begin(self, user: str, job: _Job) -> None:
        loop = job.done.get_loop()

        def ended(future: Future[object]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._ended, user, job, future)

        try:
            # A loop in a greenlet: the pool may start a thread, which begins its work at once.
            with getattr(loop, "invisible", nullcontext)():
                future = self._executor.submit(job.work)
        except RuntimeError:  # the node ends, and its threads take no more
            self._resolve(job, done=False)
            return
        if job.on_begin is not None:
            job.on_begin()
        self._wait.observe(time.monotonic() - job.since)
        self._free -= 1
        self._at_work[user] = self._at_work.get(user, 0) + 1
        future.add_done_callback(ended)

    def _ended(self, user: str, job: _Job, future: Future[object]) -> None:
        self._free += 1
        self._at_work[user] -= 1
        if not self._at_work[user]:
            del self._at_work[user]
        self._give_turn(user)
        if not future.cancelled() and (error := future.exception()):
            logger.error("work for receivers failed", exc_info=error)
        self._resolve(job, done=not future.cancelled())
        self._start()

    @staticmethod
    def _resolve(job: _Job, *, done: bool) -> None:
        if not job.done.done():
            job.done.set_result(done)


class Receivers:
    """The pools of one process. `executor`: as of ReceiverPool."""

    def __init__(self, conf: Conf, executor: Executor | None = None) -> None:
        self.messages = ReceiverPool("messages", conf.message_threads, executor)
        self.presence = ReceiverPool("presence", conf.presence_threads, executor)
        # The end of one task does not wait for that of another, and never for a single user's.
        at_once = max(1, conf.task_threads - 1)
        self.tasks = ReceiverPool("tasks", conf.task_threads, executor, at_once=at_once)

    def close(self) -> None:
        """Take no more work."""
        for pool in (self.messages, self.presence, self.tasks):
            pool.close()
