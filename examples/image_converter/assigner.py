"""Brings waiting jobs to workers, and what becomes of the tasks back to the jobs.

The gateway is no job queue: `aassign_task` finds a worker now or raises NoWorkerAvailable. What
waits, in which order and how often it is tried is ours to say, here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import msgspec
from django.core.handlers.asgi import ASGIHandler
from django.utils.translation import gettext_noop as _

from examples.image_converter.desk import Desk, desk
from examples.image_converter.records import Job, Made
from sockets.api import aassign_task, abroadcast, acancel_task, atask, aworker_pools
from sockets.exceptions import GatewayError, GatewayUnreachable, NoWorkerAvailable
from sockets.types import Task, TaskState

log = logging.getLogger(__name__)

POOL = "image.convert"
_ODD = _("The converter has a problem.")
ROUND = 1.0
"""Seconds between two looks, if nothing calls for an earlier one."""
TIDY_EVERY = 5.0
TASK_TIMEOUT = 60.0
"""Seconds that a worker may be silent about a task; ours speak every 5 s."""
RECEIVER_PATIENCE = 8.0


async def workers() -> dict[str, int]:
    """How many there are, and how many images they take at a time."""
    loads = [load for load in await aworker_pools() if load.pool == POOL]
    return {
        "workers": sum(load.workers for load in loads),
        "capacity": sum(load.capacity for load in loads),
    }


class Assigner:
    """`run` it in a task. Belongs to the gateway's event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._jobs = desk.jobs
        self._woken = asyncio.Event()
        self._assigning = asyncio.Lock()
        self._told: dict[str, int] = {}
        self._tidy_at = 0.0

    def wake(self) -> None:
        """Something waits, or somebody is free."""
        self._woken.set()

    async def run(self) -> None:
        """Until the gateway of this process has stopped."""
        while True:
            self._woken.clear()
            try:
                await self.round(time.time())
            except GatewayUnreachable:
                return
            except Exception:
                log.exception("a round of the assigner failed; the next one follows")
            try:
                async with asyncio.timeout(ROUND):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def round(self, now: float) -> None:
        """One look at everything. Raises GatewayUnreachable."""
        await self._tell_workers()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY
            await self._catch_up()
            await self._expire(now)
        await self._assign_waiting()

    # --- jobs to workers

    async def _assign_waiting(self) -> None:
        """As many as there are free workers for. Raises GatewayUnreachable."""
        while (job := await asyncio.to_thread(self._jobs.next_waiting)) is not None:
            try:
                await self._assign(job)
            except NoWorkerAvailable:
                return
            except GatewayUnreachable:
                raise
            except GatewayError as error:
                log.warning("job %s could not be assigned, it waits on: %s", job.id, error)
                return

    async def _assign(self, job: Job) -> None:
        async with self._assigning:
            task = await aassign_task(
                POOL, "convert", job.order(), user_id=job.user, timeout=TASK_TIMEOUT
            )
            started = await self._desk.change(self._jobs.started, job.id, task.id)
        if started is None:  # cancelled, or removed, while a worker was found
            await acancel_task(task.id)

    # --- tasks to jobs

    async def ended(self, task: Task) -> None:
        """A task of ours is over."""
        jobs, change = self._jobs, self._desk.change
        if await asyncio.to_thread(jobs.of_task, task.id) is None:
            # It may be quicker than we are: whoever assigns just now notes its task first.
            async with self._assigning:
                pass
        match task.state:
            case TaskState.DONE:
                try:
                    made = msgspec.convert(task.result, Made)
                except msgspec.ValidationError as error:
                    log.error("the result of task %s cannot be read: %s", task.id, error)
                    await change(jobs.set_back, task.id, "released", _ODD)
                else:
                    await change(jobs.done, task.id, made)
            case TaskState.FAILED:
                await change(jobs.failed, task.id, task.error)
            case TaskState.RELEASED:
                await change(jobs.set_back, task.id, "released", task.error)
            case TaskState.LOST:
                log.info("task %s was lost with its worker %s", task.id, task.worker)
                await change(jobs.set_back, task.id, "lost")
            case TaskState.CANCELLED:  # by us, who noted it before, or by an operator
                job = await asyncio.to_thread(jobs.of_task, task.id)
                if job is not None:
                    await change(jobs.cancel, job.id, job.user)
        self.wake()

    async def _catch_up(self) -> None:
        """What the signals did not tell: after a kill -9 the gateway knows no task of before."""
        for job in await asyncio.to_thread(self._jobs.all):
            if job.state != "working":
                continue
            task = await atask(job.task)
            if task is None:
                await self._desk.change(self._jobs.set_back, job.task, "lost")
            elif task.state.final:
                await self.ended(task)

    # --- the rest

    async def _expire(self, now: float) -> None:
        for job in await asyncio.to_thread(self._jobs.expired, now):
            await remove(self._desk, job.id, job.user)
        await asyncio.to_thread(self._jobs.sweep, now)

    async def _tell_workers(self) -> None:
        """Everybody who looks on hears it when workers come or go."""
        found = await workers()
        if found != self._told:
            self._told = found
            await abroadcast("demo.workers", found)


async def remove(desk: Desk, job_id: str, user: str) -> Job | None:
    """Delete a job and stop the work on it; None if there is none."""
    job = await desk.change(desk.jobs.remove, job_id, user)
    if job is not None and job.task:
        with suppress(GatewayError):  # then the worker works in vain: nobody asks for its result
            await acancel_task(job.task)
    return job


# --- in the process: one assigner, from the first HTTP request (a health probe is one) on

_current: Assigner | None = None
_task: asyncio.Task[None] | None = None


async def start(sender: type, **kwargs: Any) -> None:
    """Receiver of `request_started`; the test client's requests start nothing."""
    global _current, _task
    if not issubclass(sender, ASGIHandler) or (_task is not None and not _task.done()):
        return
    _current = Assigner(desk())
    _task = asyncio.create_task(_current.run())


def wake() -> None:
    """Something waits."""
    if _current is not None:
        _current.wake()


def task_ended(sender: object, task: Task, **kwargs: Any) -> None:
    """Receiver of `task_done` and the others, in a thread: returns when the job knows, so that a
    page that hears of the task's end finds it in the list."""
    if task.pool != POOL or _current is None or _task is None:
        return
    _wait_for(_current.ended(task), _task.get_loop())


def _wait_for(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    asyncio.run_coroutine_threadsafe(work, loop).result(RECEIVER_PATIENCE)
