"""A worker of the Python package for tests: it does what the data of its tasks says, in each way.

`python -m gateway_client worker tests.acceptance.client_worker:worker`. What it begins and ends is
a line of JOURNAL each.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

from gateway_client import HandBack, Task, TaskFailed, TaskStopped, Worker
from gateway_client.running import How

POOLS: dict[str, int] = json.loads(os.environ.get("POOLS", '{"thread": 1}'))

worker = Worker(pools=POOLS, worker_id=os.environ.get("WORKER_ID", ""))


def note(what: str, task: Task) -> None:
    line = json.dumps({"what": what, "task": task.id, "pid": os.getpid(), "n": task.data.get("n")})
    file = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode() + b"\n")
    os.close(file)


def outcome(task: Task) -> Any:
    match task.data["do"]:
        case "fail":
            raise TaskFailed("no image")
        case "hand back":
            raise HandBack("the disk is full")
        case "raise":
            raise KeyError("a secret")
        case "nonsense":
            return object()
        case "exit":
            os._exit(3)
    return {"pid": os.getpid()}


def blocking(task: Task) -> Any:
    note("begin", task)
    try:
        for part in range(task.data.get("parts", 1)):
            task.progress({"part": part})
            time.sleep(task.data.get("seconds", 0))
        return outcome(task)
    except TaskStopped:
        note("stopped", task)
        raise
    finally:
        note("end", task)


async def waiting(task: Task) -> Any:
    note("begin", task)
    try:
        for part in range(task.data.get("parts", 1)):
            task.progress({"part": part})
            await asyncio.sleep(task.data.get("seconds", 0))
        return outcome(task)
    except asyncio.CancelledError:
        note("stopped", task)
        raise
    finally:
        note("end", task)


HANDLERS: dict[How, Callable[[Task], Any]] = {
    "coroutine": waiting,
    "thread": blocking,
    "process": blocking,
}
for way, handler in HANDLERS.items():
    if way in POOLS:
        worker.task(way, run=way)(handler)
        worker.task(way, event="short", run=way, time_limit=0.3)(handler)
