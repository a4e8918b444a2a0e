"""A process of the project that is no node, and calls the whole Python API in one of many ways:
`python -m tests.acceptance.api_caller WAY`. Prints what failed, a line each.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import django

django.setup()

from sockets import api  # noqa: E402
from sockets.exceptions import NoWorkerAvailable  # noqa: E402
from sockets.types import Notification  # noqa: E402

PATIENCE = 60.0
NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

CALLS: dict[str, tuple[Any, ...]] = {
    "notify_user": ("1", "e", {"n": 1}),
    "notify_users": (["1", "2"], "e"),
    "notify_batch": ([Notification("1", "e")],),
    "broadcast": ("e",),
    "is_online": ("1",),
    "sessions_of": ("1",),
    "presence_of": ("1",),
    "presence_of_users": (["1", "2"],),
    "wait_until_online": ("1", 0.05),
    "stream_position": ("1",),
    "read_stream": ("1",),
    "delivery_of": ("1", 1),
    "disconnect_user": ("1",),
    "disconnect_session": (NOBODY,),
    "disconnect_sessions": ([NOBODY],),
    "block_user": ("9",),
    "unblock_user": ("9",),
    "revoke": ("1",),
    "nodes": (),
    "live_sessions": (),
    "session_page": (),
    "drain_node": ("nobody",),
    "task": (NOBODY,),
    "cancel_task": (NOBODY,),
    "worker_pools": (),
    "assign_task": ("pool", "e"),
}
"""Each with its arguments."""

failures: list[str] = []


def call(name: str) -> None:
    try:
        getattr(api, name)(*CALLS[name])
    except NoWorkerAvailable:
        pass
    except BaseException as error:
        failures.append(f"{name}: {error!r}")


def all_sync() -> None:
    for name in CALLS:
        call(name)


def all_async() -> None:
    async def each() -> None:
        for name in CALLS:
            with suppress(NoWorkerAvailable):
                await getattr(api, f"a{name}")(*CALLS[name])

    try:
        asyncio.run(each())
    except BaseException as error:
        failures.append(f"async: {error!r}")


def in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if any(thread.is_alive() for thread in threads):
        failures.append("a thread hangs")


def in_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        failures.clear()
        work()
        os.write(1, "\n".join(failures).encode())
        os._exit(len(failures) > 0)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    failures.append("a child hangs")


def reversed_order() -> None:
    for name in reversed(CALLS):
        call(name)


def around_forks() -> None:
    in_child(all_sync)
    all_async()
    for work in (all_sync, all_async, all_sync):
        in_child(work)
        in_child(lambda work=work: in_threads(3, work))  # type: ignore[misc]
    all_sync()


def forks_in_mid_call() -> None:
    """What another thread holds at the fork stays held in the child. Not the locks of imports,
    which are Python's own: all has been called before."""
    all_sync()
    all_async()
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            call("notify_user")
            call("nodes")

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        in_child(lambda: in_threads(2, all_sync))
    ended.set()
    for thread in threads:
        thread.join(PATIENCE)


def in_turn(*works: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for work in works:
            work()

    return run


def sixteen_threads() -> None:
    in_threads(16, all_sync)


def eight_threads() -> None:
    in_threads(8, all_async)


WAYS: dict[str, Callable[[], None]] = {
    "shell": in_turn(all_sync, all_async, all_async, all_sync),
    "reversed": in_turn(reversed_order, all_async),
    "async-first": in_turn(all_async, all_sync),
    "threads": in_turn(sixteen_threads, eight_threads),
    "forks": around_forks,
    "forks-in-mid-call": forks_in_mid_call,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
    sys.stdout.write("\n".join(failures))
    sys.exit(len(failures) > 0)
