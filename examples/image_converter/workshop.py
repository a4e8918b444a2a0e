"""Where a worker's tasks become images: `capacity` conversions at a time, each in its thread."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from examples.image_converter import convert
from examples.image_converter.formats import FORMATS
from examples.image_converter.link import Frame, WorkerLink
from examples.image_converter.records import Made, Order
from examples.image_converter.spoken import language, say

log = logging.getLogger("examples.image_converter.worker")

POOL = "image.convert"
REPORT_EVERY = 0.1
"""Seconds between two reports within one step; a new step is always reported."""
ALIVE_EVERY = 5.0
"""Seconds between two signs of life while a step reports nothing."""
CONFIRM, FLUSH = 1.0, 5.0
"""Seconds that the last replies to `accept`, and to the last words, are waited for."""

T = TypeVar("T")


@dataclass(slots=True)
class _Conversion:
    """A task in work. `stopped`: set when it is to end without a result, and why."""

    offer: Frame
    told: dict[str, Any] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    reason: str = ""

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.stopped.set()


class Workshop:
    """`root`: the folder that the API server keeps its jobs in. The `Hands` of the link."""

    def __init__(
        self, root: Path, link: WorkerLink, *, name: str, capacity: int, grace: float
    ) -> None:
        self._root = root
        self._link = link
        self._name = name
        self._capacity = capacity
        self._grace = grace
        self._accepted = 0
        self._all_confirmed = asyncio.Event()
        self._all_confirmed.set()
        self._working: dict[str, _Conversion] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Take nothing new; called again, hand back what is in work."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`, and until all is finished or handed back. Raises Rejected."""
        link = asyncio.create_task(self._link.run(self))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([link, stopping], return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            if not link.done():
                await self._finish()
                if self._link.online:
                    await self._wait(link, self._link.idle.wait(), FLUSH)
            if link.done():
                await link  # raises what ended it
        finally:
            for conversion in self._working.values():
                conversion.stop("shutdown")
            for task in (link, stopping):
                task.cancel()
            await asyncio.gather(link, stopping, return_exceptions=True)

    async def _finish(self) -> None:
        with suppress(TimeoutError):  # what was accepted just now may still become ours
            async with asyncio.timeout(CONFIRM):
                await self._all_confirmed.wait()
        if self._working:
            log.info("stopping: %d in work get %g s", len(self._working), self._grace)
            hurry = asyncio.create_task(self._hurry.wait())
            await self._wait(hurry, asyncio.wait(tuple(self._tasks)), self._grace)
            hurry.cancel()
        for task in list(self._working):
            log.info("handing back %s", task)
            self._working[task].stop("shutdown")
            # Not after the thread: it may be in the middle of a long step.
            await self._link.ended(task, "release")

    @staticmethod
    async def _wait(
        other: asyncio.Task[Any], work: Coroutine[Any, Any, Any], seconds: float
    ) -> None:
        """Until either is over, at most so long."""
        waiting = asyncio.create_task(work)
        await asyncio.wait({other, waiting}, timeout=seconds, return_when="FIRST_COMPLETED")
        waiting.cancel()

    # --- what the link calls

    def takes(self, offer: Frame) -> bool:
        """While there is a free place, and until the end has begun."""
        if self._stopping.is_set() or self._accepted + len(self._working) >= self._capacity:
            return False
        self._count_accepted(1)
        return True

    def dropped(self, offer: Frame) -> None:
        """It went to another: the place is free again."""
        self._count_accepted(-1)

    def start(self, offer: Frame) -> None:
        """It is ours."""
        self._count_accepted(-1)
        conversion = self._working[offer["task"]] = _Conversion(offer)
        task = asyncio.create_task(self._convert(offer["task"], conversion))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count_accepted(self, change: int) -> None:
        self._accepted += change
        if self._accepted:
            self._all_confirmed.clear()
        else:
            self._all_confirmed.set()

    def stop_task(self, task: str, reason: str) -> None:
        if (conversion := self._working.get(task)) is not None:
            log.info("%s is stopped: %s", task, reason)
            conversion.stop(reason)

    # --- one conversion

    async def _convert(self, task: str, conversion: _Conversion) -> None:
        began = time.monotonic()
        alive = asyncio.create_task(self._keep_alive(task, conversion))
        try:
            outcome, members = await self._outcome(task, conversion)
        finally:
            alive.cancel()
            self._working.pop(task, None)
        if outcome:
            await self._link.ended(task, outcome, **members)
        log.info("%s %s in %.2f s", task, outcome or conversion.reason, time.monotonic() - began)

    async def _outcome(self, task: str, conversion: _Conversion) -> tuple[str, dict[str, Any]]:
        """How it ended, as the gateway is told; "" if nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        try:
            order = msgspec.convert(conversion.offer["data"], Order)
            language.set(order.language)  # this conversion is a task of its own
            if order.format not in FORMATS:
                text = say("This converter can’t save %(format)s images.", format=order.format)
                return "release", {"error": text}
            made = await _in_thread(lambda: self._work(task, conversion, order, loop))
        except convert.Unconvertible as error:
            return "failed", {"error": str(error)}
        except convert.Cancelled:
            return "", {}
        except FileNotFoundError:
            return "failed", {"error": say("This image is no longer available.")}
        except OSError as error:  # the disk is full, most likely: ours to mend, not the visitor's
            log.exception("task %s", task)
            return "release", {
                "error": say("The converter has a problem (%(problem)s).", problem=error.strerror)
            }
        except Exception:
            log.exception("task %s", task)
            return "release", {"error": say("The converter has a problem.")}
        return "done", {"data": msgspec.structs.asdict(made)}

    def _work(
        self,
        task: str,
        conversion: _Conversion,
        order: Order,
        loop: asyncio.AbstractEventLoop,
    ) -> Made:
        """In a thread."""
        folder = self._root / "jobs" / order.job
        result, thumbnail = folder / f"result.{task}", folder / f"thumbnail.{task}"
        wish = convert.Wish(order.format, order.side, order.quality)
        report = self._reporter(task, conversion, order.job, loop)
        try:
            found = convert.convert(folder / "source", result, thumbnail, wish, report)
        except BaseException:
            for path in (result, thumbnail):
                path.unlink(missing_ok=True)
            raise
        return Made(
            source_format=found.source_format,
            source_width=found.source_width,
            source_height=found.source_height,
            width=found.width,
            height=found.height,
            note=found.note,
            worker=self._name,
        )

    def _reporter(
        self, task: str, conversion: _Conversion, job: str, loop: asyncio.AbstractEventLoop
    ) -> convert.Report:
        """Called in the thread, very often; what it passes on is rare enough for a socket."""
        last_time, last_step = 0.0, ""

        def report(progress: convert.Progress) -> None:
            nonlocal last_time, last_step
            if conversion.stopped.is_set():
                raise convert.Cancelled
            now = time.monotonic()
            if progress.step == last_step and now - last_time < REPORT_EVERY:
                return
            last_time, last_step = now, progress.step
            conversion.told = {
                "job": job,
                "step": progress.step,
                "percent": progress.percent,
                "written": progress.written,
                "thumbnail": progress.step != "decode",
                "worker": self._name,
            }
            asyncio.run_coroutine_threadsafe(self._link.progress(task, conversion.told), loop)

        return report

    async def _keep_alive(self, task: str, conversion: _Conversion) -> None:
        """Some steps report nothing for long: the task must not look abandoned meanwhile."""
        while True:
            await asyncio.sleep(ALIVE_EVERY)
            if conversion.told:
                await self._link.progress(task, conversion.told)


async def _in_thread(work: Callable[[], T]) -> T:
    """Run it in a thread of its own, which nobody waits for when the process ends: Pillow cannot
    be interrupted in the middle of a step."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            set_outcome(outcome)

    def run() -> None:
        try:
            args = (future.set_result, work())
        except BaseException as error:
            args = (future.set_exception, error)  # type: ignore[assignment]
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *args)

    context = copy_context()  # its language
    threading.Thread(target=context.run, args=(run,), name="conversion", daemon=True).start()
    return await future
