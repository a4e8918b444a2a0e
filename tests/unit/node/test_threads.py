"""An event loop in a thread; with real greenlets: tests/acceptance/test_api_callers.py."""

from __future__ import annotations

import asyncio
import sys
import threading
from types import SimpleNamespace

import pytest
import uvloop

from sockets.node.threads import require_fair_loop, run_in_thread, runs_a_loop


@pytest.fixture(params=["gevent.monkey", "eventlet.patcher"])
def patched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its greenlets stand for threads."""
    name: str = request.param
    fake = SimpleNamespace(
        is_module_patched=lambda module: module == "threading",
        is_monkey_patched=lambda module: module == "thread",
    )
    monkeypatch.setitem(sys.modules, name, fake)
    return name.partition(".")[0]


def test_a_loop_is_seen_where_it_runs_and_nowhere_else() -> None:
    async def on_a_loop() -> tuple[bool, bool]:
        return runs_a_loop(), await asyncio.to_thread(runs_a_loop)

    assert not runs_a_loop()
    assert asyncio.run(on_a_loop()) == (True, False)


def test_main_runs_on_a_loop_in_a_thread_of_that_name() -> None:
    found: list[tuple[str, bool]] = []

    async def main() -> None:
        found.append((threading.current_thread().name, runs_a_loop()))

    thread = run_in_thread(main, "of-a-test")
    thread.join(10)
    assert found == [("of-a-test", True)] and thread.daemon


async def test_any_loop_is_fair_to_threads() -> None:
    require_fair_loop()


def test_a_loop_that_lets_no_greenlet_run_is_refused(patched: str) -> None:
    async def ask() -> None:
        require_fair_loop()

    with asyncio.Runner() as fair:
        fair.run(ask())
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as unfair,
        pytest.raises(RuntimeError, match=f"under {patched} this event loop"),
    ):
        unfair.run(ask())


@pytest.mark.usefixtures("patched")
def test_among_greenlets_a_loop_counts_for_the_one_that_runs_it() -> None:
    async def ask() -> bool:
        return runs_a_loop()

    for factory in (asyncio.SelectorEventLoop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(ask()), "uvloop keeps no note of who runs it"
    with asyncio.Runner() as others:
        loop = others.get_loop()
        asyncio._set_running_loop(loop)  # as another greenlet of this thread leaves it
        loop._thread_id = -1  # type: ignore[attr-defined]
        try:
            assert not runs_a_loop()
        finally:
            loop._thread_id = None  # type: ignore[attr-defined]
            asyncio._set_running_loop(None)
