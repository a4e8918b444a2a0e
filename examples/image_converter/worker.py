"""The conversion worker: makes the images that the demo page shows, each in its thread.

    WORKER_KEY=<secret> DATA_DIR=var python -m gateway_client worker \\
        examples.image_converter.worker:worker --pool image.convert=4

It knows two things: the gateway's worker socket, which brings its tasks, and the folder with the
images. Run as many as you like.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from examples.image_converter import convert
from examples.image_converter.formats import FORMATS
from examples.image_converter.records import Made, Order
from examples.image_converter.spoken import language, say
from gateway_client import HandBack, Task, TaskFailed, TaskStopped, Worker

log = logging.getLogger("examples.image_converter.worker")

POOL = "image.convert"
REPORT_EVERY = 0.1
"""Seconds between two reports within one step; a new step is always reported."""
ALIVE_EVERY = 5.0
"""Seconds after which a page hears of a step again that reports nothing."""

worker = Worker(pools={POOL: 2})


@worker.task(POOL)
def make(task: Task) -> dict[str, Any]:
    """Convert the image of a task; what is said of it is in its owner's language."""
    try:
        order = msgspec.convert(task.data, Order)
        language.set(order.language)  # each task has a thread, and a context, of its own
        if order.format not in FORMATS:
            raise HandBack(say("This converter can’t save %(format)s images.", format=order.format))
        with _Reports(task, order.job) as report:
            return msgspec.structs.asdict(_converted(task, order, report))
    except convert.Unconvertible as error:
        raise TaskFailed(str(error)) from None
    except convert.Cancelled:
        raise TaskStopped from None
    except FileNotFoundError:
        raise TaskFailed(say("This image is no longer available.")) from None
    except (HandBack, TaskStopped):
        raise
    except OSError as error:  # the disk is full, most likely: ours to mend, not the visitor's
        log.exception("task %s", task.id)
        text = say("The converter has a problem (%(problem)s).", problem=error.strerror)
        raise HandBack(text) from None
    except Exception:
        log.exception("task %s", task.id)
        raise HandBack(say("The converter has a problem.")) from None


def _converted(task: Task, order: Order, report: convert.Report) -> Made:
    """Write the files, under the task's own name: whoever lost it harms nobody."""
    folder = Path(os.environ.get("DATA_DIR") or "var") / "demo" / "jobs" / order.job
    result, thumbnail = folder / f"result.{task.id}", folder / f"thumbnail.{task.id}"
    wish = convert.Wish(order.format, order.side, order.quality)
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
        worker=worker.name,
    )


class _Reports:
    """What the page hears of one conversion: called very often, in its thread."""

    def __init__(self, task: Task, job: str) -> None:
        self._task, self._job = task, job
        self._told: dict[str, Any] = {}
        self._last = 0.0
        self._ended = threading.Event()

    def __enter__(self) -> _Reports:
        threading.Thread(target=self._repeat, name="alive", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def __call__(self, progress: convert.Progress) -> None:
        if self._task.stopped:
            raise convert.Cancelled
        now = time.monotonic()
        if progress.step == self._told.get("step") and now - self._last < REPORT_EVERY:
            return
        self._last = now
        self._told = {
            "job": self._job,
            "step": progress.step,
            "percent": progress.percent,
            "written": progress.written,
            "thumbnail": progress.step != "decode",
            "worker": worker.name,
        }
        try:
            self._task.progress(self._told)
        except TaskStopped:
            raise convert.Cancelled from None

    def _repeat(self) -> None:
        """Some steps report nothing for long: the page must not think that nobody is there."""
        while not self._ended.wait(ALIVE_EVERY):
            if self._told:
                with suppress(TaskStopped):
                    self._task.progress(self._told)
