"""A call is waited for for a moment, and never a reason for its caller to fail."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from sockets.api import briefly as module
from sockets.api.briefly import briefly
from sockets.base.rate import Seldom
from sockets.exceptions import GatewayUnavailable, GatewayUnreachable
from tests.support.patience import PATIENCE


class Elsewhere:
    """A loop in another thread, where the calls run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def begin(self, call: Callable[[Any], Coroutine[Any, Any, None]]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(call(None), self.loop)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    made = Elsewhere()
    monkeypatch.setattr(module, "begin", made.begin)
    monkeypatch.setattr(module, "_complaints", Seldom(60))
    monkeypatch.setattr(module, "_left", set())
    monkeypatch.setattr(module, "_overdue", set())
    yield made
    made.close()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "sockets.api.briefly"]


def ended() -> None:
    """Wait until what came of every call has been noted."""
    deadline = time.monotonic() + 10
    while module._left:
        assert time.monotonic() < deadline
        time.sleep(0.001)


async def failing() -> None:
    raise GatewayUnavailable("Redis does not answer")


def test_what_is_done_in_time_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PATIENCE", PATIENCE)
    done = threading.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    briefly(work, "user 42")
    assert done.is_set()
    ended()
    assert told(caplog) == []


def test_what_takes_longer_goes_on_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 8: a receiver waits 1 s at most."""
    assert module.PATIENCE == 1.0
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    gate: Future[None] = Future()
    done = threading.Event()

    async def work() -> None:
        await asyncio.wrap_future(gate)
        done.set()

    before = time.monotonic()
    briefly(work, "user 42")
    assert time.monotonic() - before < 10 and not done.is_set() and len(module._left) == 1
    (line,) = told(caplog)
    assert line.startswith("user 42 may be connected still") and "within 0.05 s" in line
    gate.set_result(None)
    assert done.wait(10), "it was not cancelled"


def test_while_one_is_overdue_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 8: an admin deletes a thousand users, and Redis says nothing."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    gate: Future[None] = Future()
    done: list[int] = []

    async def work() -> None:
        await asyncio.wrap_future(gate)
        done.append(1)

    before = time.monotonic()
    for _ in range(100):
        briefly(work, "user 42")
    assert time.monotonic() - before < 5
    gate.set_result(None)
    ended()
    assert len(done) == 100 and not module._overdue, "all were asked"
    gate = Future()
    before = time.monotonic()
    briefly(work, "user 42")
    assert time.monotonic() - before >= 0.2, "and from then on each waits again"
    gate.set_result(None)
    ended()


def test_a_forked_process_waits_for_none_of_its_parents_calls() -> None:
    module._left.add(Future())
    module._overdue.add(Future())
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"%d" % (len(module._left) + len(module._overdue)))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 9) == b"0"
    os.close(read)
    os.close(write)
    module._left.clear()


@pytest.mark.parametrize("unreachable", [False, True])
def test_one_warning_a_minute_when_nothing_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unreachable: bool
) -> None:
    """Rule 8."""

    def nobody(call: Any) -> Any:
        raise GatewayUnreachable

    monkeypatch.setattr(module, "PATIENCE", PATIENCE)
    if unreachable:
        monkeypatch.setattr(module, "begin", nobody)
    for _ in range(5):
        briefly(failing, "user 42")
    ended()
    monkeypatch.setattr(module._complaints, "_next", 0.0)
    briefly(failing, "user 7")
    ended()
    first, second = told(caplog)
    assert first.startswith("user 42 may be connected still, revoke again: ")
    assert second.startswith("user 7 may be connected still, revoke again (and 4 more of such")
    assert {one.levelname for one in caplog.records} == {"WARNING"}


def test_only_so_many_go_on_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    monkeypatch.setattr(module, "MAX_LEFT", 2)
    gate: Future[None] = Future()
    begun = []

    async def work() -> None:
        begun.append(1)
        await asyncio.wrap_future(gate)

    for _ in range(4):
        briefly(work, "user 42")
    left = list(module._left)
    assert len(left) == 2
    gate.set_result(None)
    for one in left:
        one.result(10)
    assert len(begun) == 2


def test_a_bug_of_ours_stops_no_logout_either(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PATIENCE", PATIENCE)

    async def wrong() -> None:
        raise KeyError("x")

    briefly(wrong, "user 42")
    ended()
    assert told(caplog) == ["the gateway was not told of user 42"]
    assert caplog.records[-1].levelname == "ERROR" and caplog.records[-1].exc_info is not None


async def test_a_thread_that_runs_a_loop_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 20.0)
    gate: Future[None] = Future()
    done = threading.Event()

    async def work() -> None:
        await asyncio.wrap_future(gate)
        done.set()

    before = time.monotonic()
    briefly(work, "user 42")
    assert time.monotonic() - before < module.PATIENCE
    gate.set_result(None)
    assert await asyncio.to_thread(done.wait, 10)
