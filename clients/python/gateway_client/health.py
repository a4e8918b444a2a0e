"""A worker's health file: written while its loop turns, so that a probe sees one that hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from pathlib import Path

from gateway_client.worker import Worker

log = logging.getLogger("gateway_client.worker")

EVERY, OLD = 2.0, 15.0
"""Seconds between two writes, and from when on a file is that of a worker that hangs or is gone."""


async def keep(file: Path, worker: Worker) -> None:
    """Write the file until cancelled; then it is removed.

    Where it cannot be written, that is logged and tried again: a full disk ends no task, and a
    probe finds the file old.
    """
    failing = False
    try:
        while True:
            try:
                _write(file, worker)
            except OSError as error:
                if not failing:
                    log.error("the health file cannot be written, probes will fail: %s", error)
                failing = True
            else:
                if failing:
                    log.info("the health file is written again")
                failing = False
            await asyncio.sleep(EVERY)
    finally:
        _remove(file)


def _write(file: Path, worker: Worker) -> None:
    told = {"state": worker.state, "held": worker.held, "pid": os.getpid(), "at": time.time()}
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.write_text(json.dumps(told))
    new.replace(file)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def problem(file: Path, *, away: bool = False, now: float | None = None) -> str:
    """Return what is wrong with the worker of a file; "" if it is well.

    `away`: whether one that waits for the gateway is well, too.
    """
    try:
        told = json.loads(file.read_text())
        state, age = str(told["state"]), (time.time() if now is None else now) - float(told["at"])
    except FileNotFoundError:
        return f"there is no {file}: the worker does not run"
    except (ValueError, TypeError, KeyError, OSError) as error:
        return f"{file} cannot be read: {error}"
    if age > OLD:
        return f"{file} is {age:.0f} s old: the worker hangs, or is gone"
    return "the gateway is away" if state == "away" and not away else ""
