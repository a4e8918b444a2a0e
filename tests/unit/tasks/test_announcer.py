"""Who hears of a task's end, in which order, and what one deaf listener costs the others."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from sockets import signals
from sockets.base import metrics
from sockets.exceptions import GatewayUnavailable
from sockets.tasks import announcer as announcer_module
from sockets.types import Notification, Task, TaskState
from tests.support.doubles import (
    TASK_SIGNALS,
    ImmediateExecutor,
    outbox_of,
    task,
    task_signals,
    until,
)
from tests.support.patience import PATIENCE
from tests.unit.tasks.conftest import Crew, house

FINAL = [state for state in TaskState if state.final]
WITH_DATA: dict[TaskState, dict[str, Any]] = {
    TaskState.DONE: {"result": {"n": 1}},
    TaskState.FAILED: {"error": "no such file"},
    TaskState.RELEASED: {"error": "going"},
}


def ended(state: TaskState, **given: Any) -> Task:
    values = {"user": "42", "worker": "w/a", **WITH_DATA.get(state, {})}
    return task(state=state, **values | given)


@contextmanager
def receiver(state: TaskState, call: Callable[..., None]) -> Iterator[None]:
    TASK_SIGNALS[state].connect(call)
    try:
        yield
    finally:
        TASK_SIGNALS[state].disconnect(call)


class Gate:
    """A receiver that holds its thread until the test lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.heard: list[str] = []

    def __call__(self, task: Task, **_: Any) -> None:
        self.entered.release()
        assert self.open.wait(2 * PATIENCE)
        self.heard.append(task.id)


# --- what is said to whom


@pytest.mark.parametrize("state", FINAL)
async def test_the_worker_hears_first_then_django_then_the_user(state: TaskState) -> None:
    one = await house()
    crew, order = Crew(one), list[str]()
    tab = await one.open("42")
    worker = await crew.hire("a")

    def note() -> None:
        order.append("django")
        order.extend(["worker before"] * len(outbox_of(worker).frames))
        order.extend(["user before"] * len(outbox_of(tab).frames))

    with receiver(state, lambda **_: note()):
        one.announcer.ended(ended(state))
        await one.announcer.finish(5)
    stopped = state in (TaskState.CANCELLED, TaskState.LOST)
    assert order == ["django"] + ["worker before"] * stopped
    assert [frame["type"] for frame in outbox_of(worker).frames] == ["task.cancel"] * stopped
    assert outbox_of(tab).events == [f"task.{state}"]


@pytest.mark.parametrize("state", FINAL)
async def test_what_the_user_is_told(state: TaskState) -> None:
    one = await house()
    tab = await one.open("42")
    end = ended(state)
    one.announcer.ended(end)
    await one.announcer.finish(5)
    (frame,) = outbox_of(tab).frames
    expected: dict[str, Any] = {"task": end.id}
    if state is TaskState.DONE:
        expected["data"] = {"n": 1}
    elif end.error:
        expected["error"] = end.error
    assert (frame["event"], frame["data"]) == (f"task.{state}", expected)
    assert frame["offset"] == 1, "durable"


@pytest.mark.parametrize("state", FINAL)
async def test_without_progress_to_the_user_only_a_loss_is_told(state: TaskState) -> None:
    one = await house()
    tab = await one.open("42")
    one.announcer.ended(ended(state, progress_to_user=False))
    await one.announcer.finish(5)
    assert outbox_of(tab).events == (["task.lost"] if state is TaskState.LOST else [])


async def test_a_task_of_nobody_is_told_to_nobody(heard: list[Task]) -> None:
    one = await house()
    for state in FINAL:
        one.announcer.ended(ended(state, user=None))
    await one.announcer.finish(5)
    assert sorted(task.state for task in heard) == sorted(FINAL)
    assert not (one.streams._here or one.streams._away or one.streams._asked)


async def test_no_key_of_a_caller_keeps_an_end_from_the_user() -> None:
    one = await house()
    tab = await one.open("42")
    end = ended(TaskState.DONE)
    for key in (f"task:{end.id}:done", f"own:task:{end.id}:done"):
        await one.notifier.send(Notification("42", "e", None, idempotency_key=key))
    one.announcer.ended(end)
    one.announcer.ended(end)
    await one.announcer.finish(5)
    assert outbox_of(tab).events == ["e", "e", "task.done"]


async def test_the_end_replaces_the_progress() -> None:
    one = await house()
    end = ended(TaskState.DONE)
    other = ended(TaskState.DONE)
    for some in (end, other, end):
        await one.announcer.notify_user(some, "task.progress", data=1)
    one.announcer.ended(end)
    await one.announcer.finish(5)
    head = await one.streams.head("42")
    page = await one.streams.read("42", replace(head, offset=0), 10)
    assert head.offset == 4 and [entry.offset for entry in page.entries] == [2, 4]


@pytest.mark.parametrize("state", FINAL)
async def test_one_signal_is_sent_once(state: TaskState, heard: list[Task]) -> None:
    one = await house()
    before = metrics.tasks_ended[state]._value.get()
    end = ended(state)
    one.announcer.ended(end)
    await one.announcer.finish(5)
    assert heard == [end]
    assert metrics.tasks_ended[state]._value.get() == before + 1


async def test_receivers_run_in_a_thread_that_is_not_the_loops() -> None:
    one = await house()
    threads: list[threading.Thread] = []
    with receiver(TaskState.DONE, lambda **_: threads.append(threading.current_thread())):
        one.announcer.ended(ended(TaskState.DONE))
        await one.announcer.finish(5)
    assert threads and threads[0] is not threading.current_thread()


async def test_without_receivers_no_thread_is_used() -> None:
    one = await house(executor=NoExecutor())
    tab = await one.open("42")
    with task_signals():
        for state in FINAL:
            one.announcer.ended(ended(state))
        await one.announcer.finish(5)
    assert len(outbox_of(tab).events) == len(FINAL)


class NoExecutor(ImmediateExecutor):
    def submit(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("cannot schedule new futures after shutdown")


# --- one that does not listen


async def test_a_receiver_that_raises_is_logged_and_harms_nobody(
    caplog: pytest.LogCaptureFixture, heard: list[Task]
) -> None:
    one = await house()
    tab = await one.open("42")

    def fail(**_: Any) -> None:
        raise RuntimeError("a bug in a receiver")

    with caplog.at_level(logging.ERROR), receiver(TaskState.DONE, fail):
        one.announcer.ended(ended(TaskState.DONE))
        await one.announcer.finish(5)
    assert len(heard) == 1, "the other receiver"
    assert outbox_of(tab).events == ["task.done"]
    assert "a bug in a receiver" in caplog.text


async def test_a_receiver_that_takes_long_keeps_the_user_waiting_only_so_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcer_module, "RECEIVERS_TIMEOUT", 0.05)
    one, gate = await house(), Gate()
    tab = await one.open("42")
    end = ended(TaskState.DONE)
    with receiver(TaskState.DONE, gate), caplog.at_level(logging.WARNING):
        one.announcer.ended(end)
        await one.announcer.finish(5)
        assert outbox_of(tab).events == ["task.done"]
        assert "the receivers of task_done take over 0.05 s" in caplog.text
        gate.open.set()
        await until(lambda: gate.heard)
    assert gate.heard == [end.id], "it is not interrupted"


async def test_the_user_waits_for_django_code() -> None:
    one, gate = await house(), Gate()
    tab = await one.open("42")
    with receiver(TaskState.DONE, gate):
        one.announcer.ended(ended(TaskState.DONE))
        await until(lambda: gate.entered.acquire(blocking=False))
        assert outbox_of(tab).events == []
        gate.open.set()
        await one.announcer.finish(5)
    assert outbox_of(tab).events == ["task.done"]


async def test_the_end_of_one_task_does_not_wait_for_that_of_another() -> None:
    one, gate = await house(), Gate()
    tab = await one.open("42")
    with receiver(TaskState.FAILED, gate):
        one.announcer.ended(ended(TaskState.FAILED))
        await until(lambda: gate.entered.acquire(blocking=False))
        one.announcer.ended(ended(TaskState.DONE))
        await until(lambda: outbox_of(tab).events)
        assert outbox_of(tab).events == ["task.done"]
        gate.open.set()
        await one.announcer.finish(5)


async def away(*_: Any) -> Any:
    raise GatewayUnavailable("the store is away")


@pytest.mark.parametrize("state", [TaskState.LOST, TaskState.CANCELLED])
async def test_records_that_are_away_silence_nobody_but_the_worker(
    state: TaskState, heard: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await house()
    tab = await one.open("42")
    monkeypatch.setattr(one.tasks, "seat_of", away)
    end = ended(state)
    one.announcer.ended(end)
    await one.announcer.finish(5)
    assert heard == [end]
    assert outbox_of(tab).events == [f"task.{state}"]


async def test_an_executor_that_is_gone_does_not_silence_the_user(heard: list[Task]) -> None:
    one = await house(executor=NoExecutor())
    tab = await one.open("42")
    one.announcer.ended(ended(TaskState.DONE))
    await one.announcer.finish(5)
    assert outbox_of(tab).events == ["task.done"]


async def test_a_user_that_cannot_be_told_is_logged(
    heard: list[Task], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await house()
    monkeypatch.setattr(one.streams, "append", away)
    with caplog.at_level(logging.WARNING):
        one.announcer.ended(ended(TaskState.DONE))
        await one.announcer.finish(5)
        await until(lambda: caplog.records)
    assert len(heard) == 1 and "the store is away" in caplog.text


# --- how many at once, and the end


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcer_module, "MAX_ANNOUNCEMENTS", 2)


@pytest.mark.usefixtures("two_at_once")
async def test_above_the_bound_the_workers_wait() -> None:
    one, gate = await house(), Gate()
    with receiver(TaskState.DONE, gate):
        for expected in (True, True, False):
            one.announcer.ended(ended(TaskState.DONE))
            space = asyncio.create_task(one.announcer.space())
            for _ in range(10):
                await asyncio.sleep(0)
            assert space.done() is expected
        gate.open.set()
        await asyncio.wait_for(space, PATIENCE)
        await one.announcer.finish(5)
    assert len(gate.heard) == 3


@pytest.mark.usefixtures("two_at_once")
@pytest.mark.parametrize("who", ["the worker", "the backend", "the watch"])
async def test_whoever_goes_while_it_waits_does_not_take_the_announcement_with_it(
    who: str,
) -> None:
    """The record says that it ended; nobody else would say so any more."""
    one, gate = await house(task_grace=0.1, task_timeout=300), Gate()
    crew = Crew(one)
    tab = await one.open("42")
    await crew.hire("a", capacity=9)
    tasks = [await one.dispatcher.assign("p", "e", None, user_id="42") for _ in range(6)]
    state = {
        "the worker": TaskState.DONE,
        "the backend": TaskState.CANCELLED,
        "the watch": TaskState.LOST,
    }[who]
    with receiver(state, gate):
        if who == "the watch":
            one.clock.advance(301)
            calls = [asyncio.create_task(one.dispatcher.watch())]
            await until(lambda: not one.tasks._live)
        elif who == "the worker":
            end = one.dispatcher.end
            calls = [asyncio.create_task(_done(end("w/a", task.id, state))) for task in tasks]
        else:
            calls = [asyncio.create_task(_done(one.dispatcher.cancel(task.id))) for task in tasks]
        await until(lambda: gate.entered.acquire(blocking=False))
        assert any(not call.done() for call in calls)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        gate.open.set()
        await one.announcer.finish(5)
    assert sorted(gate.heard) == sorted(task.id for task in tasks)
    assert outbox_of(tab).events == [f"task.{state}"] * 6


async def _done(call: Coroutine[Any, Any, bool]) -> None:
    assert await call


@pytest.mark.usefixtures("two_at_once")
async def test_the_end_of_the_node_waits_so_long_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcer_module, "RECEIVERS_TIMEOUT", 2 * PATIENCE)
    one, gate = await house(task_accept_timeout=5), Gate()
    crew = Crew(one)
    await crew.hire("a", capacity=9)
    for _ in range(6):
        await one.dispatcher.assign("p", "e", None)
    with receiver(TaskState.LOST, gate), caplog.at_level(logging.ERROR):
        closing = asyncio.ensure_future(one.dispatcher.close(0.05))
        await asyncio.wait({closing}, timeout=PATIENCE)
        late = not closing.done()
        gate.open.set()
        await closing
    assert not late, "it waited for receivers that hang"
    assert "could not be announced in time" in caplog.text


async def test_finish_waits_for_what_is_being_said() -> None:
    one, gate = await house(), Gate()
    await one.announcer.finish(5)
    with receiver(TaskState.DONE, gate):
        one.announcer.ended(ended(TaskState.DONE))
        finishing = asyncio.ensure_future(one.announcer.finish(30))
        await until(lambda: gate.entered.acquire(blocking=False))
        assert not finishing.done()
        gate.open.set()
        await finishing
    assert len(gate.heard) == 1


def test_every_final_state_has_a_signal_of_its_own() -> None:
    assert set(TASK_SIGNALS) == {state for state in TaskState if state.final}
    assert len({id(signal) for signal in TASK_SIGNALS.values()}) == len(TASK_SIGNALS)
    for state, signal in TASK_SIGNALS.items():
        assert getattr(signals, f"task_{state}") is signal
