"""How a handler is run: as a coroutine, in a thread or in a process of its own.

`run` ends when the handler has: its place counts as taken until then. A coroutine is cancelled when
its task is over. A thread cannot be interrupted: it sees `task.stopped`, and `task.progress` raises
TaskStopped. A process gets SIGTERM, which raises TaskStopped in it, and is killed if that does not
help.
"""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Literal

import msgspec

from gateway_client.errors import InvalidRequest
from gateway_client.frames import Frame
from gateway_client.wire import to_json

How = Literal["coroutine", "thread", "process"]
Handler = Callable[["Task"], Any]

KILL_AFTER = 5.0
"""Seconds that a process has to end after SIGTERM."""


class TaskFailed(Exception):
    """Raise it in a handler: the task cannot be done; the text is for the user."""


class HandBack(Exception):
    """Raise it in a handler: not here, not now; the task is handed back undone."""


class TaskStopped(Exception):
    """Raised in a handler when its task is over: cancelled, lost, or the worker stops."""


class CodeFailed(Exception):
    """A handler in a process raised what nobody expected; the text is the traceback."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Task:
    """One task, as its handler sees it. `data`: decoded JSON; `user`: whose it is, or None.

    `timeout`: seconds that it may be silent; the worker gives a sign of life in time, by itself.
    """

    def __init__(self, offer: Frame, report: Callable[[bytes], None]) -> None:
        self.id, self.pool, self.event = offer.task, offer.pool, offer.event
        self.user, self.data, self.timeout = offer.user, offer.data, offer.timeout
        self._report = report
        self._stopped = threading.Event()
        self._on_stop: Callable[[], object] = bool

    def __repr__(self) -> str:
        return f"<Task {self.id} of {self.pool}>"

    @property
    def stopped(self) -> bool:
        """Whether the task is over: nobody waits for its result any more."""
        return self._stopped.is_set()

    def progress(self, data: Any = None) -> None:
        """Tell the user how far it is; call it as often as you like, the newest is sent.

        Raises TaskStopped, and InvalidRequest for what has no JSON form.
        """
        if self.stopped:
            raise TaskStopped("the task is over")
        self._report(to_json(data))


def stop(task: Task) -> None:
    """Have the handler of a task end."""
    if not task.stopped:
        task._stopped.set()
        task._on_stop()


async def run(how: How, handler: Handler, task: Task) -> bytes:
    """Run a handler to its end; return its result as JSON. Raises what it raises.

    Await it in an asyncio task of its own, which `stop` cancels where the handler is a coroutine.
    """
    if task.stopped:
        raise TaskStopped("the task is over")
    if how == "coroutine":
        current = asyncio.current_task()
        assert current is not None
        task._on_stop = current.cancel
        return _written(await handler(task))
    work = _result if how == "thread" else _in_process
    return await _in_thread(lambda: work(handler, task))


def _result(handler: Handler, task: Task) -> bytes:
    made = handler(task)
    return _written(asyncio.run(made) if inspect.iscoroutine(made) else made)


def _written(result: Any) -> bytes:
    try:
        return to_json(result)
    except InvalidRequest as error:
        raise TaskFailed(f"the result: {error}") from None


async def _in_thread(work: Callable[[], bytes]) -> bytes:
    """Do it in a thread that nobody waits for when the process ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            set_outcome(outcome)

    def run() -> None:
        given: tuple[Any, Any]
        try:
            given = future.set_result, work()
        except BaseException as error:
            given = future.set_exception, error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *given)

    context = copy_context()
    threading.Thread(target=context.run, args=(run,), name="task", daemon=True).start()
    return await future


# --- processes


_context: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")


class _Told(msgspec.Struct, array_like=True):
    """What a process says: `kind` is "progress", "done", or what was raised."""

    kind: str
    text: bytes


def preload(handlers: Iterable[Handler]) -> None:
    """Have their modules imported once, so that each process starts quickly."""
    if (names := {handler.__module__ for handler in handlers}) and sys.platform != "win32":
        _context.set_forkserver_preload(sorted(names - {"__main__"}))


def _in_process(handler: Handler, task: Task) -> bytes:
    """In a thread of the worker, until the process has ended."""
    ours, theirs = _context.Pipe(duplex=False)
    given = {name: getattr(task, name) for name in ("pool", "event", "user", "data", "timeout")}
    offer = msgspec.json.encode(Frame("task", task=task.id, **given))
    process = _context.Process(target=_child, args=(theirs, handler, offer))
    process.start()
    theirs.close()
    killer = threading.Timer(KILL_AFTER, process.kill)

    def end() -> None:
        process.terminate()
        killer.start()

    task._on_stop = end
    if task.stopped:  # before that
        process.terminate()
    with ours:
        last = _listen(ours, task)
    process.join()
    task._on_stop = bool
    killer.cancel()
    return _told_last(last, process.exitcode)


def _listen(pipe: Any, task: Task) -> _Told:
    """Return the last word of a process."""
    last = _Told("", b"")
    with suppress(EOFError, OSError, ValueError):
        while True:
            told = msgspec.msgpack.decode(pipe.recv_bytes(), type=_Told)
            if told.kind != "progress":
                last = told
            elif not task.stopped:
                task._report(told.text)
    return last


def _told_last(last: _Told, code: int | None) -> bytes:
    """Return the result. Raises what was raised there."""
    if last.kind == "done":
        return last.text
    known = {kind.__name__: kind for kind in (TaskFailed, HandBack, TaskStopped)}
    if last.kind in known:
        raise known[last.kind](last.text.decode())
    raise CodeFailed(last.kind or f"exit code {code}", last.text.decode())


def _child(pipe: Any, handler: Handler, offer: bytes) -> None:
    """In the process."""

    def on_sigterm(*_: object) -> None:
        raise TaskStopped("the task is over")

    def tell(kind: str, text: bytes) -> None:
        pipe.send_bytes(msgspec.msgpack.encode(_Told(kind, text)))

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which stops us
    signal.signal(signal.SIGTERM, on_sigterm)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = Task(msgspec.json.decode(offer, type=Frame), lambda data: tell("progress", data))
    try:
        tell("done", _result(handler, task))
    except (TaskFailed, HandBack, TaskStopped) as error:
        tell(type(error).__name__, str(error).encode())
    except Exception as error:
        tell(type(error).__name__, traceback.format_exc().encode(errors="replace"))


def _end_with_parent() -> None:
    """A worker that was killed leaves nobody at work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
