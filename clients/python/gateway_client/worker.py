"""The worker: its handlers, its places, and its end in good order.

    worker = Worker("ws://gateway:4001", key, pools={"image.convert": 4})

    @worker.task("image.convert")
    def convert(task):
        task.progress({"percent": 50})
        return {"url": "/1.webp"}

    worker.run()

What a handler returns is the task's result. What it raises ends the task as failed: TaskFailed with
its text, anything else with the name of the exception alone, for its text may hold secrets.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
import signal
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Raw

from gateway_client import running
from gateway_client.frames import Frame
from gateway_client.link import Link
from gateway_client.models import Receipt, UserId
from gateway_client.running import Handler, How, Task
from gateway_client.wire import new_ulid

log = logging.getLogger("gateway_client.worker")

H = TypeVar("H", bound=Callable[..., Any])

CONFIRM, FLUSH, CLEAN_UP = 1.0, 5.0, 1.0
"""Seconds that the end waits for replies to `accept`, for the last replies, and for what a handler
does when it is stopped."""
_POOL = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


@dataclass(frozen=True)
class _Way:
    """A handler, and how it is run. `limit`: seconds that it may take."""

    handler: Handler
    how: How
    limit: float | None


@dataclass
class _Job:
    """A task in work. `over`: why nobody waits for its result any more."""

    task: Task
    way: _Way
    over: str = ""
    latest: bytes = b""
    reporting: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Worker:
    """Takes tasks of its pools and runs their handlers. Belongs to one event loop.

    `url`: of the private port, `ws://127.0.0.1:4001` if neither this nor WORKER_SOCKET_URL says so.
    `key`: a worker's key, or WORKER_KEY. `pools`: how many tasks of each it takes at a time.
    `name`: shown in the admin. `worker_id`: a ULID; with the one it had before, a worker that was
    killed hands back at once what it had. `buffer`: notifications that may wait.
    """

    def __init__(
        self,
        url: str = "",
        key: str = "",
        *,
        pools: Mapping[str, int],
        name: str = "",
        worker_id: str = "",
        buffer: int = 1_000,
    ) -> None:
        _require_pools(pools)
        self.pools = dict(pools)
        self.name = (name or f"{socket.gethostname()}-{os.getpid()}")[:128]
        self.worker_id = worker_id or new_ulid()
        self._url, self._key, self._buffer = url, key, buffer
        self._ways: dict[tuple[str, str | None], _Way] = {}
        self._accepted = Counter[str]()  # by pool: places of offers that are not confirmed
        self._jobs: dict[str, _Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._made: Link | None = None

    def __repr__(self) -> str:
        return f"<Worker {self.name} of {', '.join(self.pools)}>"

    # --- what it does

    def task(
        self,
        pool: str,
        *,
        event: str | None = None,
        run: How | None = None,
        time_limit: float | None = None,
    ) -> Callable[[H], H]:
        """Say which function does the tasks of a pool; with `event`, those of that event alone.

        `run`: "coroutine", "thread" or "process"; by default what the function is: a coroutine
        function runs on the loop, any other in a thread. `time_limit`: seconds after which a task
        is stopped and failed.
        """
        if pool not in self.pools:
            raise ValueError(f"pool {pool!r} is none of this worker's: {', '.join(self.pools)}")
        if (pool, event) in self._ways:
            raise ValueError(f"pool {pool!r} has a function for event {event!r} already")

        def register(handler: H) -> H:
            how = run or ("coroutine" if inspect.iscoroutinefunction(handler) else "thread")
            _require_runnable(handler, how)
            self._ways[pool, event] = _Way(handler, how, time_limit)
            return handler

        return register

    async def notify(self, user: UserId, event: str, data: Any = None, **options: Any) -> Receipt:
        """Notify a user over this worker's socket; options are those of `Client.notify_user`.

        While the gateway is away a durable one waits, for 290 s at most; then Unavailable says with
        `outcome` whether it may have come. Raises BufferFull where too many wait.
        """
        return await self._link().notes.add(user, event, data, **options)

    def notify_from_thread(
        self, user: UserId, event: str, data: Any = None, **options: Any
    ) -> Receipt:
        """Do as `notify`, for handlers in threads; it blocks until the receipt is there."""
        if self._loop is None:
            raise RuntimeError("the worker does not run")
        call = self.notify(user, event, data, **options)
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    # --- its life

    def run(self, *, grace: float = 10.0) -> None:
        """Work until SIGTERM or Ctrl-C. Raises Rejected."""
        asyncio.run(self.serve(grace=grace, signals=True))

    async def serve(self, *, grace: float = 10.0, signals: bool = False) -> None:
        """Work until `stop`, and until all is finished or handed back. Raises Rejected.

        `grace`: seconds that running tasks get at the end. `signals`: SIGTERM and SIGINT stop it.
        """
        self._require_handlers()
        running.preload(way.handler for way in self._ways.values() if way.how == "process")
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM) if signals else ():
            self._loop.add_signal_handler(number, self.stop)
        link = self._link()
        line = asyncio.create_task(link.run())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({line, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            if not line.done():
                await self._finish(line, grace)
            if line.done():
                await line  # raises what ended it
        finally:
            for job in self._jobs.values():
                _stop(job, "shutdown")
            for task in (line, stopping):
                task.cancel()
            await asyncio.gather(line, stopping, return_exceptions=True)
            link.notes.close()

    def stop(self) -> None:
        """Take nothing new, and finish; called again, hand back at once what is in work."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def adjust(self, name: str, pools: Mapping[str, int]) -> None:
        """Before it runs, give it another name, and pools that it has other places. Raises
        ValueError."""
        if foreign := sorted(pools.keys() - self.pools.keys()):
            raise ValueError(
                f"pool {foreign[0]!r} is none of this worker's: {', '.join(self.pools)}"
            )
        _require_pools(self.pools | dict(pools))
        self.name = name[:128]
        self.pools |= pools

    @property
    def state(self) -> str:
        """Return "connected", "away" or "stopping"."""
        if self._stopping.is_set():
            return "stopping"
        return "connected" if self._made is not None and self._made.node else "away"

    @property
    def held(self) -> int:
        """Return how many tasks are in work."""
        return len(self._jobs)

    @property
    def answers_dropped(self) -> int:
        """Return how many answers (pong, accept, reject) the gateway did not get, because it read
        too slowly."""
        return 0 if self._made is None else self._made.answers_dropped

    def _link(self) -> Link:
        if self._made is None:
            asked = {
                "worker_id": self.worker_id,
                "name": self.name,
                "pools": ",".join(self.pools),
                "capacity": sum(self.pools.values()),
            }
            url = self._url or os.environ.get("WORKER_SOCKET_URL") or "ws://127.0.0.1:4001"
            key = (self._key or os.environ.get("WORKER_KEY", "")).strip()
            if urlsplit(url).scheme not in ("ws", "wss"):
                raise ValueError(f"url is as ws://127.0.0.1:4001, and not {url!r}")
            if not key:
                raise ValueError("no key: set WORKER_KEY, or make one with manage.py create_key")
            self._made = Link(url, key, asked, hands=self, buffer=self._buffer)
        return self._made

    def _require_handlers(self) -> None:
        without = set(self.pools) - {pool for pool, _ in self._ways}
        if without:
            raise ValueError(f"no function for pool {', '.join(sorted(without))}: @worker.task(…)")

    async def _finish(self, line: asyncio.Task[None], grace: float) -> None:
        """Let what runs end; hand back what does not."""
        link = self._link()
        await _until(lambda: not self._accepted.total(), CONFIRM)
        if self._jobs:
            log.info("stopping: %d in work get %g s", len(self._jobs), grace)
            done = lambda: not self._jobs or self._hurry.is_set() or line.done()  # noqa: E731
            await _until(done, grace)
        left = list(self._jobs.values())
        for job in left:
            log.info("handing back %s", job.task.id)
            _stop(job, "shutdown")
        await _until(lambda: all(job.ended.is_set() for job in left), CLEAN_UP)
        for job in left:  # not after the threads: they may be in the middle of a long step
            link.ended(job.task.id, "release")
        if link.node:
            await _until(lambda: link.idle or line.done(), FLUSH)

    # --- what the link calls

    def takes(self, offer: Frame) -> bool:
        """Whether there is a free place for it, and a function; nothing once the end has begun."""
        pool = offer.pool
        taken = self._accepted[pool] + sum(job.task.pool == pool for job in self._jobs.values())
        if self._stopping.is_set() or not self._way(offer) or taken >= self.pools.get(pool, 0):
            return False
        self._accepted[pool] += 1
        return True

    def _way(self, offer: Frame) -> _Way | None:
        return self._ways.get((offer.pool, offer.event)) or self._ways.get((offer.pool, None))

    def dropped(self, offer: Frame) -> None:
        """It went to another: the place is free again."""
        self._accepted[offer.pool] -= 1

    def start(self, offer: Frame) -> None:
        """It is ours."""
        self._accepted[offer.pool] -= 1
        way = self._way(offer)
        assert way is not None
        job = _Job(Task(offer, lambda data: self._report(job, data)), way)
        self._jobs[offer.task] = job
        doing = asyncio.create_task(self._do(job))
        self._tasks.add(doing)
        doing.add_done_callback(self._tasks.discard)

    def lost(self, task: str, reason: str) -> None:
        """Stop it."""
        if (job := self._jobs.get(task)) is not None:
            log.info("%s is stopped: %s", task, reason)
            _stop(job, reason)

    # --- one task

    async def _do(self, job: _Job) -> None:
        task, began = job.task, time.monotonic()
        log.info("%s begins (%s %s)", task.id, task.pool, task.event)
        minder = asyncio.create_task(self._mind(job))
        try:
            end, members = await self._outcome(job)
        finally:
            minder.cancel()
            self._jobs.pop(task.id, None)
            job.ended.set()
        if not job.over:
            self._link().ended(task.id, end, **members)
        log.info("%s %s in %.2f s", task.id, job.over or end, time.monotonic() - began)

    async def _outcome(self, job: _Job) -> tuple[str, dict[str, Any]]:
        """Return how it ended, as the gateway is told."""
        try:
            result = await running.run(job.way.how, job.way.handler, job.task)
            return "done", {"data": Raw(result)}
        except running.TaskFailed as error:
            return "failed", {"error": str(error)}
        except running.HandBack as error:
            return "release", {"error": str(error)}
        except (running.TaskStopped, asyncio.CancelledError):
            return "release", {"error": "the worker stopped it"}
        except running.CodeFailed as error:  # in a process, with a traceback of its own
            return self._broken(job, error.kind, str(error))
        except Exception as error:
            return self._broken(job, type(error).__name__, traceback.format_exc())

    def _broken(self, job: _Job, kind: str, text: str) -> tuple[str, dict[str, Any]]:
        if not job.over:
            log.error("%s: its function failed: %s\n%s", job.task.id, kind, text)
        return "failed", {"error": f"the worker's code failed ({kind})"}

    async def _mind(self, job: _Job) -> None:
        """Give signs of life, and keep the time limit, while the handler runs."""
        link, task = self._link(), job.task
        pause = max(0.05, task.timeout / 3) if task.timeout else 60.0
        end = time.monotonic() + (job.way.limit or float("inf"))
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(pause, left))
            link.progress(task.id, known=job.latest)
        log.warning("%s took longer than %g s", task.id, job.way.limit)
        link.ended(task.id, "failed", error=f"it took longer than {job.way.limit:g} s")
        _stop(job, "over its time limit")

    def _report(self, job: _Job, data: bytes) -> None:
        """Called in any thread, very often; one call at a time is on its way to the loop."""
        job.latest = data
        if not job.reporting and self._loop is not None:
            job.reporting = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._pass_on, job)

    def _pass_on(self, job: _Job) -> None:
        job.reporting = False
        self._link().progress(job.task.id, Raw(job.latest))


def _stop(job: _Job, reason: str) -> None:
    job.over = job.over or reason
    running.stop(job.task)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until it is so, at most so long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition() and loop.time() < end:  # noqa: ASYNC110 - of threads and a line, once
        await asyncio.sleep(0.02)


def _require_pools(pools: Mapping[str, int]) -> None:
    """Raises ValueError."""
    if not 1 <= len(pools) <= 16:
        raise ValueError("pools: 1 to 16 of them, as {'image.convert': 4}")
    for pool, places in pools.items():
        if _POOL.match(pool) is None:
            raise ValueError(f"pool {pool!r}: 1 to 64 of A-Z a-z 0-9 . _ -")
        if isinstance(places, bool) or not isinstance(places, int) or places < 1:
            raise ValueError(f"pool {pool!r}: how many tasks at a time, 1 or more")
    if sum(pools.values()) > 1_000:
        raise ValueError("a worker takes at most 1,000 tasks at a time")


def _require_runnable(handler: Callable[..., Any], how: How) -> None:
    """Raises TypeError."""
    if how not in ("coroutine", "thread", "process"):
        raise TypeError(f"run is coroutine, thread or process, and not {how!r}")
    if how == "coroutine" and not inspect.iscoroutinefunction(handler):
        raise TypeError(f"{handler.__qualname__} is no coroutine function: async def, or a thread")
    if how == "process" and "<locals>" in handler.__qualname__:
        raise TypeError(f"{handler.__qualname__} must stand in a module, for a process imports it")
