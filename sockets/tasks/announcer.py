"""Announces a task: to its user on the way, at its end to the worker, Django code and the user."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any, Protocol

from sockets import signals
from sockets.base import metrics
from sockets.base.database import tidy_connections
from sockets.delivery import Notifier
from sockets.events.receivers import ReceiverPool
from sockets.exceptions import GatewayUnavailable
from sockets.tasks.base import TaskRecords
from sockets.types import Notification, Task, TaskState

logger = logging.getLogger(__name__)

RECEIVERS_TIMEOUT = 10.0
"""Seconds that receivers get for the end of a task before its user is notified."""

MAX_ANNOUNCEMENTS = 1_000
"""Ends of tasks being announced; more make the workers wait for their replies."""

_SIGNALS = {
    TaskState.DONE: signals.task_done,
    TaskState.FAILED: signals.task_failed,
    TaskState.RELEASED: signals.task_released,
    TaskState.LOST: signals.task_lost,
    TaskState.CANCELLED: signals.task_cancelled,
}


class TellNode(Protocol):
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
        tell_node: TellNode,
    ) -> None:
        self._records = records
        self._notifier = notifier
        self._receivers = receivers
        self._tell_node = tell_node
        self._running: set[asyncio.Task[None]] = set()

    async def notify_user(
        self, task: Task, event: str, *, once: str | None = None, **members: Any
    ) -> None:
        """Notify the user of a task; each message of the task replaces the one before.

        `once`: a name that this message has, so that it is sent once; no caller's idempotency key
        can be the same.
        """
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
        """Begin to announce the end of a task, which has just ended, here and only here."""
        metrics.tasks_ended[task.state].inc()
        announcement = asyncio.get_running_loop().create_task(self._announce(task))
        self._running.add(announcement)
        announcement.add_done_callback(self._running.discard)

    async def space(self) -> None:
        """Wait until there is space in the queue of announcements."""
        while len(self._running) > MAX_ANNOUNCEMENTS:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def finish(self, seconds: float) -> None:
        """Wait until everything is announced, at most so many seconds."""
        if not self._running:
            return
        _, late = await asyncio.wait(tuple(self._running), timeout=seconds)
        if late:
            logger.error("the end of %d tasks could not be announced in time", len(late))

    async def announce_to_user(self, task: Task, *, once: str | None = None) -> None:
        """Notify the user how the task ended; without `progress_to_user` only if it was lost."""
        if task.state is not TaskState.LOST and not task.progress_to_user:
            return
        members: dict[str, Any] = {}
        if task.state is TaskState.DONE:
            members["data"] = task.result
        elif task.error:
            members["error"] = task.error
        await self.notify_user(task, f"task.{task.state}", once=once, **members)

    async def _announce(self, task: Task) -> None:
        """Announce the end of a task to the worker first, so that it stops; then to Django code, so
        that its database already has what the user learns; then to the user. None of them misses it
        because another cannot be reached.

        Where the state store is away, the records have it announced again later: receivers may hear
        of an end twice then, the user does not.
        """
        missed = False
        for announce in (
            self._stop_worker,
            self._announce_to_receivers,
            self._announce_to_user_once,
        ):
            try:
                await announce(task)
            except GatewayUnavailable as error:
                missed = True
                logger.warning("the end of task %s is not announced yet: %s", task.id, error)
            except Exception:
                logger.exception("task %s: %s failed", task.id, announce.__name__.strip("_"))
        if not missed:
            try:
                await self._records.announced(task.id)
            except GatewayUnavailable as error:
                logger.warning("the end of task %s may be announced twice: %s", task.id, error)

    async def _announce_to_user_once(self, task: Task) -> None:
        await self.announce_to_user(task, once=f"task:{task.id}:{task.state}")

    async def _stop_worker(self, task: Task) -> None:
        if task.state in (TaskState.CANCELLED, TaskState.LOST):
            await self.stop_worker(task)

    async def stop_worker(self, task: Task) -> None:
        """Tell the worker of an ended task to stop."""
        seat = await self._records.seat_of(task.worker)
        if seat is not None:
            await self._tell_node(
                seat.node,
                type="task.stop",
                session=seat.session,
                task=task.id,
                reason=task.state.value,
            )

    async def _announce_to_receivers(self, task: Task) -> None:
        if not _SIGNALS[task.state].has_listeners(Task):
            return
        # A task of nobody is nobody's in the order of turns too: each has a turn of its own.
        work = self._receivers.submit(task.user or f"task:{task.id}", partial(_run_receivers, task))
        done, _ = await asyncio.wait({work}, timeout=RECEIVERS_TIMEOUT)
        if not done:
            logger.warning(
                "the receivers of task_%s take over %g s; the user is notified meanwhile",
                task.state,
                RECEIVERS_TIMEOUT,
            )


def _run_receivers(task: Task) -> None:
    """Call the receivers, in a thread; database connections are not kept."""
    tidy_connections()
    try:
        for receiver, outcome in _SIGNALS[task.state].send_robust(Task, task=task):
            if isinstance(outcome, Exception):
                logger.error("task_%s: %r failed", task.state, receiver, exc_info=outcome)
    finally:
        tidy_connections()
