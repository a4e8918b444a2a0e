"""Who hears of a task: its user on the way, and at its end the worker, Django code and the user."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any, Protocol

from django.db import close_old_connections

from sockets import signals
from sockets.base import metrics
from sockets.delivery import Notifier
from sockets.events.receivers import ReceiverPool
from sockets.exceptions import GatewayUnavailable
from sockets.tasks.base import TaskRecords
from sockets.types import Notification, Task, TaskState

logger = logging.getLogger(__name__)

RECEIVERS_TIMEOUT = 10.0
"""Seconds that Django code gets to hear of a task's end before its user does."""

MAX_ANNOUNCEMENTS = 1_000
"""Ends of tasks being announced; more make the workers wait for their replies."""

_SIGNALS = {
    TaskState.DONE: signals.task_done,
    TaskState.FAILED: signals.task_failed,
    TaskState.RELEASED: signals.task_released,
    TaskState.LOST: signals.task_lost,
    TaskState.CANCELLED: signals.task_cancelled,
}


class SignalNode(Protocol):
    """Sends a message to a node; what is lost is found by a time-out or by the records."""

    async def __call__(self, node: str, /, **message: Any) -> None: ...


class Announcer:
    """Belongs to the node's event loop. `receivers`: where Django's run."""

    def __init__(
        self,
        *,
        records: TaskRecords,
        notifier: Notifier,
        receivers: ReceiverPool,
        signal: SignalNode,
    ) -> None:
        self._records = records
        self._notifier = notifier
        self._receivers = receivers
        self._signal = signal
        self._running: set[asyncio.Task[None]] = set()

    async def tell_user(
        self, task: Task, event: str, *, once: str | None = None, **members: Any
    ) -> None:
        """Durable; each message of a task replaces the one before. `once`: a name that this message
        has, so that it is sent once; no caller's idempotency key can be the same."""
        if task.user is not None:
            notification = Notification(
                task.user,
                event,
                {"task": task.id, **members},
                collapse_key=f"task:{task.id}",
                idempotency_key=once,
            )
            await self._notifier.send(notification, own_key=once)

    def ended(self, task: Task) -> None:
        """A task has just ended, here and only here: who must hear of it is told from now on."""
        metrics.tasks_ended[task.state].inc()
        announcement = asyncio.get_running_loop().create_task(self._announce(task))
        self._running.add(announcement)
        announcement.add_done_callback(self._running.discard)

    async def room(self) -> None:
        """Wait while too much is being said: whoever ends tasks faster is slowed down."""
        while len(self._running) > MAX_ANNOUNCEMENTS:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def finish(self, seconds: float) -> None:
        """Wait until all has been said, at most so long."""
        if not self._running:
            return
        _, late = await asyncio.wait(tuple(self._running), timeout=seconds)
        if late:
            logger.error("the end of %d tasks could not be announced in time", len(late))

    async def tell_end(self, task: Task, *, once: str | None = None) -> None:
        """The user hears how the task ended; always if it was lost."""
        if task.state is not TaskState.LOST and not task.progress_to_user:
            return
        members: dict[str, Any] = {}
        if task.state is TaskState.DONE:
            members["data"] = task.result
        elif task.error:
            members["error"] = task.error
        await self.tell_user(task, f"task.{task.state}", once=once, **members)

    async def _announce(self, task: Task) -> None:
        """The worker first, so that it stops; then Django code, so that its database already has
        what the user is told; then the user. None of them misses it because another cannot hear.

        Where the state store is away, the records have it announced again later: receivers may hear
        of an end twice then, the user does not.
        """
        unsaid = False
        for tell in (self._stop_worker, self._tell_django, self._tell_end_once):
            try:
                await tell(task)
            except GatewayUnavailable as error:
                unsaid = True
                logger.warning("the end of task %s was not told yet: %s", task.id, error)
            except Exception:
                logger.exception("task %s: %s failed", task.id, tell.__name__.strip("_"))
        if not unsaid:
            try:
                await self._records.announced(task.id)
            except GatewayUnavailable as error:
                logger.warning("the end of task %s may be told twice: %s", task.id, error)

    async def _tell_end_once(self, task: Task) -> None:
        await self.tell_end(task, once=f"task:{task.id}:{task.state}")

    async def _stop_worker(self, task: Task) -> None:
        if task.state not in (TaskState.CANCELLED, TaskState.LOST):
            return
        seat = await self._records.seat_of(task.worker)
        if seat is not None:
            await self._signal(
                seat.node,
                type="task.stop",
                session=seat.session,
                task=task.id,
                reason=task.state.value,
            )

    async def _tell_django(self, task: Task) -> None:
        if not _SIGNALS[task.state].has_listeners(Task):
            return
        # A task of nobody is nobody's in the order of turns too: each stands for itself.
        work = self._receivers.submit(task.user or f"task:{task.id}", partial(_run_receivers, task))
        done, _ = await asyncio.wait({work}, timeout=RECEIVERS_TIMEOUT)
        if not done:
            logger.warning(
                "the receivers of task_%s take over %g s; the user is told meanwhile",
                task.state,
                RECEIVERS_TIMEOUT,
            )


def _run_receivers(task: Task) -> None:
    """In a thread; database connections are not kept."""
    close_old_connections()
    try:
        for receiver, outcome in _SIGNALS[task.state].send_robust(Task, task=task):
            if isinstance(outcome, Exception):
                logger.error("task_%s: %r failed", task.state, receiver, exc_info=outcome)
    finally:
        close_old_connections()
