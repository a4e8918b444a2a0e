"""The conversion worker: takes jobs from the folder, converts, tells their owners how it goes.

A process of its own that knows two things: the folder with the jobs and the gateway's worker
socket. Run as many as you like, none takes another's job.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from examples.image_converter import convert
from examples.image_converter.jobs import STALE, Claim, Gone, Job, JobFolder
from examples.image_converter.link import Rejected, WorkerLink

log = logging.getLogger("examples.image_converter.worker")

POLL = 0.25
"""Seconds between two looks into an empty queue."""
REPORT_EVERY = 0.1
"""Seconds between two reports within one step; a new step is always reported."""
TOUCH_EVERY = STALE / 5
FLUSH = 5.0
"""Seconds that the last notifications get to be delivered."""

Told = Callable[[str, Job], None]

_HELP = """\
Converts the images of the demo page.

  WORKER_KEY=<secret> python -m examples.image_converter.worker \\
      --url ws://127.0.0.1:4001 --data var

It takes jobs from DATA/demo/incoming (one rename each, so several workers never take the same),
converts them with Pillow, and notifies the owner's browser tabs over its one socket. When the
gateway is away it comes back by itself; what was not confirmed is repeated.

Ctrl-C or SIGTERM: takes no new job, gives the running ones --grace seconds, hands back the rest.
A second one: hands back at once. After kill -9, another worker takes over within 20 seconds.
"""


def convert_job(claim: Claim, tell: Told, cancelled: threading.Event) -> None:
    """Convert one claimed job to its end. Blocks: for a thread.

    `tell(event, job)` is called for every step, then for the end. When `cancelled` is set the job
    goes back into the queue. A job that was taken away meanwhile is dropped in silence.
    """
    last_time, last_step = 0.0, ""

    def report(progress: convert.Progress) -> None:
        nonlocal last_time, last_step
        if cancelled.is_set():
            raise convert.Cancelled
        now = time.monotonic()
        if progress.step == last_step and now - last_time < REPORT_EVERY:
            return
        last_time, last_step = now, progress.step
        try:
            job = claim.update(
                step=progress.step, percent=progress.percent, written=progress.written
            )
        except Gone:
            raise convert.Cancelled from None
        tell("job.progress", job)

    try:
        try:
            format = convert.FORMATS[claim.job.format]
            found = convert.convert(claim.source, claim.result, format, report)
            job = claim.done(
                source_format=found.source_format, width=found.width, height=found.height,
                note=found.note,
            )  # fmt: skip
            tell("job.done", job)
        except convert.Unconvertible as error:
            tell("job.failed", claim.fail(str(error)))
        except convert.Cancelled:
            tell("job.queued", claim.put_back())
        except OSError as error:  # the disk is full, most likely: ours to mend, not the visitor's
            log.exception("job %s", claim.job.id)
            tell("job.failed", claim.fail(f"The converter has a problem ({error.strerror})"))
    except Gone:
        log.warning("job %s was given to another worker", claim.job.id)


class Worker:
    """`capacity` jobs at a time, until `stop`."""

    def __init__(self, jobs: JobFolder, link: WorkerLink, *, capacity: int, grace: float) -> None:
        self._jobs = jobs
        self._link = link
        self._capacity = capacity
        self._grace = grace
        self._stopping = asyncio.Event()
        self._cancelled = threading.Event()

    def stop(self) -> None:
        """Take no new job; called again, hand back the running ones too."""
        if self._stopping.is_set():
            self._cancelled.set()
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop` and until the last job is finished or handed back. Raises Rejected."""
        link = asyncio.create_task(self._link.run())
        slots = [asyncio.create_task(self._slot()) for _ in range(self._capacity)]
        tidier = asyncio.create_task(self._tidy())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([link, tidier, stopping, *slots], return_when="FIRST_COMPLETED")
            self._stopping.set()
            _, late = await asyncio.wait(slots, timeout=self._grace)
            self._cancelled.set()
            if late:
                log.info("handing %d job(s) back", len(late))
            await asyncio.gather(*slots)
            if not link.done():
                await asyncio.wait({link, asyncio.create_task(self._link.idle.wait())},
                                   timeout=FLUSH, return_when="FIRST_COMPLETED")  # fmt: skip
            if link.done() or tidier.done():
                await (link if link.done() else tidier)  # raises what ended it
        finally:
            self._cancelled.set()
            for task in (link, tidier, stopping):
                task.cancel()
            await asyncio.gather(link, tidier, stopping, return_exceptions=True)

    async def _slot(self) -> None:
        """One job after the other."""
        loop = asyncio.get_running_loop()

        def tell(event: str, job: Job) -> None:
            loop.call_soon_threadsafe(self._tell, event, job)

        while not self._stopping.is_set():
            claim = None
            if self._link.online.is_set():  # nobody would see the progress otherwise
                claim = await asyncio.to_thread(self._jobs.claim, time.time())
            if claim is None:
                await self._pause(POLL)
                continue
            started = time.monotonic()
            alive = asyncio.create_task(self._keep_alive(claim))
            try:
                await asyncio.to_thread(convert_job, claim, tell, self._cancelled)
            finally:
                alive.cancel()
            took = time.monotonic() - started
            log.info("%s %s in %.2f s", claim.job.id, claim.job.state, took)

    async def _keep_alive(self, claim: Claim) -> None:
        """Some steps report nothing for long: the job must not look abandoned meanwhile."""
        while True:
            await asyncio.sleep(TOUCH_EVERY)
            try:
                claim.touch(time.time())
            except Gone:
                return

    async def _tidy(self) -> None:
        """Put the jobs of dead workers back, and delete what is over."""
        while True:
            now = time.time()
            for job in await asyncio.to_thread(self._jobs.revive, now):
                self._tell(f"job.{job.state}", job)
            await asyncio.to_thread(self._jobs.expire, now)
            await asyncio.sleep(TOUCH_EVERY)

    def _tell(self, event: str, job: Job) -> None:
        self._link.post(job.user, event, job.view(), collapse_key=f"job:{job.id}")

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


async def _main(args: argparse.Namespace, key: str) -> None:
    link = WorkerLink(args.url, key, name=args.name)
    worker = Worker(JobFolder(args.data / "demo"), link, capacity=args.capacity, grace=args.grace)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, worker.stop)
    log.info("worker %s: %d at a time, jobs in %s", args.name, args.capacity, args.data / "demo")
    await worker.run()


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.image_converter.worker",
        description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The key comes from the variable WORKER_KEY only, so that no process list shows it.",
    )  # fmt: skip
    env = os.environ.get
    parser.add_argument(
        "--url",
        default=env("WORKER_SOCKET_URL") or "ws://127.0.0.1:4001",
        help="the gateway's worker socket (default: WORKER_SOCKET_URL, or %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(env("DATA_DIR") or "var"),
        metavar="DIR",
        help="the gateway's DATA_DIR (default: DATA_DIR, or var)",
    )
    parser.add_argument(
        "--capacity", type=int, default=2, help="jobs at the same time (default: %(default)s)"
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=8.0,
        metavar="SECONDS",
        help="time for running jobs after SIGTERM (default: %(default)g)",
    )
    parser.add_argument(
        "--name",
        default=f"{socket.gethostname()}-{os.getpid()}",
        help="shown in the admin (default: host and process id)",
    )
    args = parser.parse_args(argv)
    key = env("WORKER_KEY", "").strip()
    if not key:
        parser.error("WORKER_KEY is not set: give it a secret out of the gateway's WORKER_KEYS")
    if args.capacity < 1:
        parser.error("--capacity must be at least 1")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        asyncio.run(_main(args, key))
    except Rejected as error:
        print(f"error: {error}; check WORKER_KEY and --url", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
