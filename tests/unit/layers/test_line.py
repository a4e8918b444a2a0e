"""When a connection of the Redis layer is made again, and what the log says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sockets.layers import line as module
from sockets.layers.line import Line
from sockets.redis.links import Links


class Cut:
    """A connection that is made, and cut after so many seconds."""

    def __init__(self, seconds: float, go_on: Callable[[float], None]) -> None:
        self._seconds, self._go_on = seconds, go_on
        self._writer = self.transport = self

    async def connect(self) -> None:
        """It is made at once."""

    async def disconnect(self, nowait: bool = False) -> None:
        """It is gone already."""

    def get_protocol(self) -> Any:
        return SimpleNamespace(connection_lost=lambda error: None)

    def set_protocol(self, tap: Any) -> None:
        self._go_on(self._seconds)
        asyncio.get_running_loop().call_soon(tap.connection_lost, None)


async def delays(
    monkeypatch: pytest.MonkeyPatch,
    *attempts: Callable[[], Any],
    heard: list[float] | None = None,
) -> list[float]:
    """Let a line make these attempts to connect; returns what it waited after each.

    `heard`: gets `heard_at` of each that was made.
    """
    at_up = [] if heard is None else heard
    found, made = list[float](), iter(attempts)

    async def sleep(seconds: float) -> None:
        found.append(seconds)
        if len(found) == len(attempts):
            raise asyncio.CancelledError

    monkeypatch.setattr(module, "random", SimpleNamespace(uniform=lambda _, most: most))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    pool = SimpleNamespace(make_connection=lambda: next(made)())
    line = Line(
        pool,
        Links(),
        "listening",
        on_up=lambda: at_up.append(line.heard_at),
        on_reply=lambda _: None,
        on_down=lambda _: None,
    )
    await asyncio.wait({line._task})
    return found


async def test_a_connection_that_is_cut_at_once_is_made_again_later_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, ahead = asyncio.get_running_loop(), 0.0
    time, begun = loop.time, loop.time()

    def go_on(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: time() + ahead)
    monkeypatch.setattr(module, "BACKOFF", (1.0, 64.0))  # however slow the machine is
    lasts, heard = (0, 0, 0, 65, 0), list[float]()
    made = [lambda seconds=seconds: Cut(seconds, go_on) for seconds in lasts]
    assert await delays(monkeypatch, *made, heard=heard) == [1, 2, 4, 1, 2]
    # Else the ping that the one before did not answer would be held against it.
    assert all(at >= begun for at in heard[:3]) and heard[-1] >= begun + 65


async def test_an_error_of_ours_is_in_the_log_once_while_it_lasts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Any:
        raise ValueError("an option that is wrong")

    assert await delays(monkeypatch, fail, fail, fail) == [0.05, 0.1, 0.2]
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    assert "ValueError: an option that is wrong; trying on" in caplog.text
