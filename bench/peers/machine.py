"""Cores, CPU time and memory of processes, as Linux counts them."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


def cpu(pid: int) -> float:
    """Return the seconds of CPU that all threads of a process have used, ended ones too.

    This is the process' own CPU clock: the nanoseconds of `schedstat`, in one system call.
    """
    return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)


def memory(pid: int) -> float:
    """Return the KB that a process holds, of what it shares with others its share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise AssertionError("there is no Pss in smaps_rollup")


@cache
def cores() -> tuple[set[int], set[int]]:
    """Return the core of the measured service, and those of everything else: of those that this
    process had when it was first asked, for it goes to the second ones itself."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@contextmanager
def on(chosen: set[int]) -> Iterator[None]:
    """Let the processes that are started meanwhile run on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def die_with_us() -> None:
    """Called in a child before it runs: it must not outlive us, however we end."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def described() -> str:
    """Return what a reader of figures wants to know of this machine."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}"
