"""The gateway as any other process of the project reaches it: through Redis.

What is asked often (notify, presence) goes straight from the caller's thread. The rest, and the
async faces, run on one event loop in a thread of their own, made when it is first needed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any, TypeVar

from sockets.base.ids import new_id
from sockets.conf import Conf, get_conf
from sockets.exceptions import GatewayUnavailable, GatewayUnreachable
from sockets.node.backends import sync_backends
from sockets.node.core import Addresses, Core
from sockets.node.state import SyncBackends
from sockets.node.threads import run_in_thread

T = TypeVar("T")

START_TIMEOUT = 30.0
"""Seconds that the loop gets to begin; nothing in it waits for anybody."""

HEAR_EVERY = 60.0
"""Seconds after which the store is asked for its time again."""

STOP_TIMEOUT = 2.0
"""Seconds that connections get to close when the process ends."""


class Remote:
    """One a process; a fork makes its own."""

    def __init__(self, conf: Conf) -> None:
        self.conf = conf
        self.pid = os.getpid()
        self.addresses = Addresses.of(conf)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sync: SyncBackends | None = None
        self._core: Core | None = None
        self._stopping: asyncio.Event | None = None
        self._listening: asyncio.Task[None] | None = None
        self._heard_at = -float("inf")

    @property
    def sync(self) -> SyncBackends:
        """For the caller's own thread."""
        if self._sync is None:
            with self._lock:  # not a cached_property: before 3.12 its lock outlives a fork
                if self._sync is None:
                    self._sync = sync_backends(self.conf)
        return self._sync

    @property
    def running(self) -> Core | None:
        """The core, if its loop has been started."""
        return self._core

    def call(self, call: Callable[[Core], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run `call` on the loop of the remote, which is started if need be."""
        core = self._started()
        return asyncio.run_coroutine_threadsafe(self._answerable(core, call), core.loop)

    def close(self) -> None:
        """End the loop, if one was started; for the end of the process, and for tests."""
        with self._lock:
            core, thread = self._core, self._thread
            self._core = self._thread = None
        if core is None or thread is None or self._stopping is None or self.pid != os.getpid():
            return
        core.loop.call_soon_threadsafe(self._stopping.set)
        thread.join(2 * STOP_TIMEOUT)

    def _started(self) -> Core:
        with self._lock:
            if self._core is None:
                started: Future[Core] = Future()
                self._thread = run_in_thread(lambda: self._run(started), "gateway-remote")
                try:
                    self._core = started.result(START_TIMEOUT)
                except FutureTimeoutError:
                    raise GatewayUnavailable("the event loop of the calls did not begin") from None
                atexit.register(self.close)
            return self._core

    async def _run(self, started: Future[Core]) -> None:
        self._stopping = asyncio.Event()
        self._listening = None
        self._heard_at = -float("inf")
        try:
            core = Core(replace(self.conf, node_name=f"api-{new_id()}"))
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(core)
        await self._stopping.wait()
        await core.stop(STOP_TIMEOUT)

    async def _answerable(self, core: Core, call: Callable[[Core], Coroutine[Any, Any, T]]) -> T:
        """Nodes answer to a group of ours: it must be listened to before anything is asked."""
        if self._listening is None:
            self._listening = asyncio.ensure_future(core.bus.listen())
        try:
            await asyncio.shield(self._listening)
        except BaseException:
            if self._listening is not None and self._listening.done():
                self._listening = None  # the next call tries again
            raise
        await self._hear_time(core)
        return await call(core)

    async def _hear_time(self, core: Core) -> None:
        """Moments that nodes are told, and that are shown beside theirs, are by their clock."""
        if core.loop.time() - self._heard_at < HEAR_EVERY:
            return
        asked = time.monotonic()
        core.store_time.heard(await core.presence.now(), asked)
        self._heard_at = core.loop.time()


_remote: Remote | None = None
_of_parents: list[Remote] = []
"""Those of before a fork: kept, because their connections are still the parent's."""


def remote_core() -> Core | None:
    """Return what runs on the loop of this process' remote, if it has been started."""
    return None if _remote is None else _remote.running


def remote() -> Remote:
    """Return the remote of this process. Raises GatewayUnreachable in memory mode."""
    global _remote
    conf = get_conf()
    if not conf.redis_url:
        raise GatewayUnreachable
    found = _remote
    if found is None or found.conf is not conf or found.pid != os.getpid():
        with _making:
            found = _remote
            if found is None or found.conf is not conf or found.pid != os.getpid():
                if found is not None:
                    _put_aside(found)
                found = _remote = Remote(conf)
    return found


_making = threading.Lock()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock; in the child it never lets go."""
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _put_aside(old: Remote) -> None:
    if old.pid == os.getpid():
        old.close()
    else:
        _of_parents.append(old)
