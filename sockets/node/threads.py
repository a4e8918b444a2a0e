"""An event loop in a thread of its own, also where gevent or eventlet make a greenlet of it.

Under their patch all greenlets live in one thread of the system, and asyncio knows one running loop
a thread: while one greenlet runs a loop, all others look as if they did. So a loop of ours is
invisible whenever it lets others run: while it waits for events, and while it starts a thread.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")
_Selected = list[tuple[selectors.SelectorKey, int]]


def run_in_thread(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> threading.Thread:
    """Run `main` on an event loop in a new daemon thread, or greenlet where those are patched."""
    run = _run if _patched_by() is None else _run_in_greenlet
    thread = threading.Thread(target=run, args=[main], name=name, daemon=True)
    thread.start()
    return thread


def runs_a_loop() -> bool:
    """Whether the caller is on an event loop, which it must not block. What another greenlet of
    the same thread runs does not count."""
    loop = asyncio._get_running_loop()
    if loop is None or _patched_by() is None:
        return loop is not None
    # Its own note of who runs it. A loop without one, such as uvloop's, lets no greenlet run.
    runner = getattr(loop, "_thread_id", None)
    return runner is None or runner == threading.get_ident()


def require_fair_loop() -> None:
    """Raise RuntimeError on an event loop that lets no other greenlet run while it waits: what it
    is to wait for would never be done."""
    loop = asyncio.get_running_loop()
    if _patched_by() is not None and not hasattr(loop, "_thread_id"):
        raise RuntimeError(
            f"under {_patched_by()} this event loop ({type(loop).__module__}) lets no greenlet run "
            "while it waits: run asyncio's own, or call the sync function in a greenlet"
        )


def _patched_by() -> str | None:
    """Whose greenlets the threads of this process are; None: they are threads. It may be patched
    after this module was imported: by a worker, say, whose parent has loaded the project."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def _run_in_greenlet(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    guise = _Guise()
    asyncio._set_running_loop(None)  # somebody else's
    try:
        with asyncio.Runner(loop_factory=lambda: _GreenLoop(guise)) as runner:
            runner.run(main())
    finally:
        guise.end()


class _Guise:
    """What of a thread an event loop changes, kept apart for one greenlet and the others.

    That is the running loop, and who is told of asynchronous generators.
    """

    def __init__(self) -> None:
        self._of_others = _seen()

    @contextmanager
    def invisible(self) -> Iterator[None]:
        """Let other greenlets run, which see what they have left."""
        own = _seen()
        _show(self._of_others)
        try:
            yield
        finally:
            self._of_others = _seen()
            _show(own)

    def end(self) -> None:
        """There is no loop of this greenlet any more."""
        _show(self._of_others)


def _seen() -> tuple[Any, Any]:
    return asyncio._get_running_loop(), sys.get_asyncgen_hooks()


def _show(seen: tuple[Any, Any]) -> None:
    loop, hooks = seen
    asyncio._set_running_loop(loop)
    sys.set_asyncgen_hooks(*hooks)


class _GreenLoop(asyncio.SelectorEventLoop):
    """Not uvloop: it waits in C, where no other greenlet can run."""

    def __init__(self, guise: _Guise) -> None:
        self.invisible = guise.invisible  # for what starts threads
        super().__init__(_GreenSelector(guise))

    def run_in_executor(  # type: ignore[override]  # typeshed's has a type of many variables
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """As asyncio's: a pool may start a thread, and waits until it has begun."""
        with self.invisible():
            return super().run_in_executor(executor, func, *args)


class _GreenSelector(selectors.BaseSelector):
    """The selector of gevent or eventlet, which lets other greenlets run while it waits."""

    def __init__(self, guise: _Guise) -> None:
        self._guise = guise
        self._pid = os.getpid()
        name = "gevent.selectors" if _patched_by() == "gevent" else "eventlet.green.selectors"
        # Whether `selectors` is patched too or not: one of the system's would let nobody run.
        self._selector: selectors.BaseSelector = import_module(name).DefaultSelector()

    def select(self, timeout: float | None = None) -> _Selected:
        with self._guise.invisible():
            ready = self._selector.select(timeout)
            while os.getpid() != self._pid:
                # Greenlets survive a fork; but this one's connections are the parent's.
                threading.Event().wait()
            return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()

    def close(self) -> None:
        self._selector.close()
