"""A process of the project that is no node, and calls the whole Python API in one of many ways:
`python -m tests.acceptance.api_caller WAY`. Prints what failed, a line each.
"""

from __future__ import annotations

import os
import sys

WAY = sys.argv[1] if __name__ == "__main__" else ""

if WAY.startswith("gevent"):
    from gevent import monkey

    monkey.patch_all()
elif WAY.startswith("eventlet"):
    import eventlet

    eventlet.monkey_patch()

import asyncio  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import AsyncIterator, Callable, Iterator  # noqa: E402
from contextlib import contextmanager, nullcontext  # noqa: E402
from typing import Any  # noqa: E402

import django  # noqa: E402

if WAY:
    django.setup()

from django.core.exceptions import SynchronousOnlyOperation  # noqa: E402

from sockets import api  # noqa: E402
from sockets.api.remote import remote  # noqa: E402
from sockets.exceptions import GatewayUnavailable, NoWorkerAvailable  # noqa: E402
from sockets.node.core import Core  # noqa: E402
from sockets.types import Notification  # noqa: E402

PATIENCE = 60.0
SOAK = bool(os.environ.get("SOAK"))
"""Whether it does all of it, as in scripts/soak. tests/support is not there in every place."""

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
    "explain_delivery": ("1", 1),
    "ledger_of": ("1",),
    "forget_user": ("9",),
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

GREEN = WAY.startswith(("gevent", "eventlet"))
one_loop: Any = threading.Lock() if GREEN else nullcontext()
"""asyncio runs one loop a thread at a time, and all greenlets are one thread."""

failures: list[str] = []


@contextmanager
def as_expected(name: str) -> Iterator[None]:
    """There is no worker here, and no node."""
    try:
        yield
    except NoWorkerAvailable:
        pass
    except GatewayUnavailable as error:
        if name != "forget_user" or "no node has removed the rows" not in str(error):
            raise


def call(name: str) -> None:
    try:
        with as_expected(name):
            getattr(api, name)(*CALLS[name])
    except BaseException as error:
        failures.append(f"{name}: {error!r}")


def all_sync() -> None:
    for name in CALLS:
        call(name)


def all_async() -> None:
    async def each() -> None:
        for name in CALLS:
            with as_expected(name):
                await getattr(api, f"a{name}")(*CALLS[name])

    try:
        with one_loop:
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
            if not GREEN:  # a greenlet goes on in the child, with the socket that it has
                call("notify_user")
            call("nodes")

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20 if SOAK else 3):
        in_child(lambda: in_threads(2, all_sync))
    ended.set()
    for thread in threads:
        thread.join(PATIENCE)


def patched_after_a_fork() -> None:
    """As by a worker of a server that has loaded the project before it forked, and called."""
    from gevent import monkey

    def child() -> None:
        monkey.patch_all()
        in_turn(all_sync, eight_threads_sync, all_async)()

    all_sync()
    all_async()
    in_child(child)
    all_sync()


def in_turn(*works: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for work in works:
            work()

    return run


def a_crowd_of_threads() -> None:
    in_threads(100 if SOAK else 40, all_sync)


def work_that_sees_no_loop() -> None:
    """What a pool of the loop's starts: Django's ORM, say, must not think that it is on one."""

    async def look(core: Core) -> list[Any]:
        seen: list[Any] = []
        submit = core.receivers.tasks.submit
        await asyncio.gather(
            *[submit(str(n), lambda: seen.append(asyncio._get_running_loop())) for n in range(4)]
        )
        loop = asyncio.get_running_loop()
        seen.append(await loop.run_in_executor(None, asyncio._get_running_loop))
        return seen

    seen = remote().call(look).result(PATIENCE)
    if seen != [None] * 5:
        failures.append(f"work on a loop: {seen}")


def a_loop_that_is_not_fair() -> None:
    import uvloop

    async def asks() -> None:
        try:
            await api.anodes()
        except RuntimeError as error:
            if "run asyncio's own" in str(error):
                return
        failures.append("uvloop waits for a greenlet")

    uvloop.run(asks())


def with_a_loop_among_them() -> None:
    """Greenlets call while one of them runs an event loop of the project's, again and again:
    asyncio allows one at a time. Each knows whether it is on it."""
    ended = threading.Event()

    def loops() -> None:
        while not ended.is_set():
            all_async()

    async def blocks() -> None:
        try:
            api.is_online("1")
        except SynchronousOnlyOperation:
            return
        failures.append("a sync function blocked a loop")

    asyncio.run(blocks())
    looping = threading.Thread(target=loops)
    looping.start()
    in_threads(8, in_turn(all_sync, all_sync))
    ended.set()
    looping.join(PATIENCE)
    if looping.is_alive():
        failures.append("the loop hangs")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    failures.append("a loop is left behind")


def loops_come_first() -> None:
    """The loop that the calls share is begun while a loop of the project's runs."""

    async def many() -> None:
        mine = asyncio.get_running_loop()
        await asyncio.gather(*[api.anodes() for _ in range(20)])
        async for _ in ticks():
            if asyncio.get_running_loop() is not mine:
                failures.append("another loop runs here")

    async def ticks() -> AsyncIterator[int]:
        for n in range(5):
            await api.atask(NOBODY)
            yield n

    asyncio.run(many())


def sixteen_threads() -> None:
    in_threads(16, all_sync)


def eight_threads_sync() -> None:
    in_threads(8, all_sync)


def eight_threads() -> None:
    in_threads(8, all_async)


WAYS: dict[str, Callable[[], None]] = {
    "shell": in_turn(all_sync, all_async, all_async, all_sync),
    "reversed": in_turn(reversed_order, all_async),
    "async-first": in_turn(all_async, all_sync),
    "threads": in_turn(sixteen_threads, eight_threads),
    "forks": around_forks,
    "forks-in-mid-call": forks_in_mid_call,
    "late-gevent": patched_after_a_fork,
    # Threads are greenlets in these.
    "gevent": in_turn(
        a_loop_that_is_not_fair,
        work_that_sees_no_loop,
        all_sync,
        reversed_order,
        eight_threads_sync,
    ),
    "gevent-crowd": a_crowd_of_threads,
    "gevent-async-first": in_turn(loops_come_first, all_async, all_sync, all_async),
    "gevent-with-a-loop": with_a_loop_among_them,
    "gevent-forks": around_forks,
    "gevent-forks-in-mid-call": forks_in_mid_call,
    "eventlet": in_turn(
        a_loop_that_is_not_fair,
        work_that_sees_no_loop,
        all_sync,
        reversed_order,
        eight_threads_sync,
    ),
    "eventlet-crowd": a_crowd_of_threads,
    "eventlet-async-first": in_turn(loops_come_first, all_async, all_sync, all_async),
    "eventlet-with-a-loop": with_a_loop_among_them,
    "eventlet-forks": around_forks,
    "eventlet-forks-in-mid-call": forks_in_mid_call,
}

if __name__ == "__main__":
    WAYS[WAY]()
    sys.stdout.write("\n".join(failures))
    sys.exit(len(failures) > 0)
