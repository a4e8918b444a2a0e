"""A thread of the operating system, and waiting for it, also where gevent or eventlet rule.

These replace Python's threads by greenlets of one thread, and an event loop in one of them makes
all others look as if they ran it. So the thread is begun with what they have replaced, its loop is
uvloop, which uses nothing of theirs, and whoever waits lets other greenlets run meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import uvloop

T = TypeVar("T")

PAUSES: Final = (0.0005, 0.02)
"""Seconds between two looks of a greenlet that waits, the first and at most."""


def run_in_thread(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> Future[None]:
    """Run `main` on an event loop in a new daemon thread; returns what is done when that ends."""
    ended: Future[None] = Future()
    start = _unpatched_start()
    green = start is not None

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop if green else None) as runner:
                runner.run(main())
        finally:
            ended.set_result(None)

    if start is not None:
        start(run, ())
    else:
        threading.Thread(target=run, name=name, daemon=True).start()
    return ended


def result_of(future: Future[T], seconds: float) -> T:
    """`future.result(seconds)`, and other greenlets of this thread run meanwhile."""
    if _unpatched_start() is None:
        return future.result(seconds)
    # The locks of a future are greenlets' locks too, and not made for another thread's wake-up.
    done: list[object] = []
    future.add_done_callback(done.append)
    until = time.monotonic() + seconds
    pause, longest = PAUSES
    while not done and time.monotonic() < until:
        time.sleep(pause)  # theirs: it lets others run
        pause = min(2 * pause, longest)
    return future.result(0)


def would_block_a_loop() -> bool:
    """Whether the caller runs on an event loop; another greenlet's does not count."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return _unpatched_start() is None or asyncio.current_task() is not None


def _unpatched_start() -> Callable[..., Any] | None:
    """`_thread.start_new_thread` as it was before it was replaced; None: it was not."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        found: Callable[..., Any] = monkey.get_original("_thread", "start_new_thread")
        return found
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        found = patcher.original("_thread").start_new_thread
        return found
    return None
