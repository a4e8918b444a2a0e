"""When a node is ready: one failed try turns nothing, two do, one that succeeds turns it back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from sockets.exceptions import GatewayUnavailable
from sockets.node import readiness
from sockets.node.readiness import NO_FILES, NO_LAYER, RETURNING, SILENT, PromiseWatch, Readiness
from sockets.types import Promises, Shards
from tests.support.doubles import MovedClock


class Store:
    """Fails with `error` while it is set."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.answer = Shards()
        self.tries = 0
        self.connected = True

    async def shards(self) -> Shards:
        self.tries += 1
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def node(store: Store, clock: MovedClock) -> Readiness:
    made = Readiness(
        try_store=store.shards, connected=lambda: store.connected, interval=10, clock=clock
    )
    made.registered()
    return made


FULL = GatewayUnavailable("Redis is out of memory", detail="OOM command not allowed")


async def test_before_it_has_succeeded_once_it_is_not_ready(node: Readiness, store: Store) -> None:
    assert node.because == readiness.UNTRIED
    store.error = FULL
    await node.try_once()
    assert node.because == "Redis is out of memory"
    store.error = None
    await node.try_once()
    assert node.because is None


async def test_one_failure_turns_nothing_and_two_do(
    node: Readiness, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sockets.node.readiness")
    await node.try_once()
    store.error = FULL
    await node.try_once()
    assert node.because is None
    store.error = None
    await node.try_once()
    store.error = FULL
    await node.try_once()
    assert node.because is None, "one after a success is the first one again"
    await node.try_once()
    reasons: list[str | None] = []
    for store.error in (FULL, None):
        await node.try_once()
        reasons.append(node.because)
    node.registered()
    assert [*reasons, node.because] == ["Redis is out of memory", RETURNING, None]
    assert [record.getMessage() for record in caplog.records] == [
        "not ready: Redis is out of memory (OOM command not allowed)",
        "ready again",
    ]


async def test_how_long_it_has_failed_is_since_the_first_of_a_row(
    node: Readiness, store: Store, clock: MovedClock
) -> None:
    await node.try_once()
    assert node.failing_for == 0.0
    store.error = FULL
    for _ in range(2):
        await node.try_once()
        clock.advance(4)
    assert node.failing_for == 8.0
    store.error = None
    await node.try_once()
    assert node.failing_for == 0.0


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (TimeoutError(), SILENT),
        (RuntimeError("a bug"), SILENT),
        (GatewayUnavailable("Redis cannot be reached"), "Redis cannot be reached"),
        (None, NO_LAYER),
    ],
)
async def test_whatever_fails_is_told_in_our_words(
    node: Readiness, store: Store, trouble: BaseException | None, reason: str
) -> None:
    await node.try_once()
    store.error, store.connected = trouble, trouble is not None
    for _ in range(2):
        await node.try_once()
    assert node.because == reason


async def test_it_is_tried_at_each_renewal_and_at_once_after_a_failure(
    node: Readiness, store: Store, clock: MovedClock
) -> None:
    await node.try_once()
    assert not node._is_due()
    clock.advance(9.9)
    assert not node._is_due()
    clock.advance(0.2)
    assert node._is_due()
    await node.try_once()
    clock.advance(readiness.AGAIN)
    assert not node._is_due()
    node.suspect()
    assert node._is_due(), "something has failed"
    store.error = FULL
    await node.try_once()
    assert not node._is_due()
    clock.advance(readiness.AGAIN)
    assert node._is_due()
    store.error = None
    await node.try_once()
    clock.advance(readiness.AGAIN)
    store.connected = False
    assert node._is_due()


async def test_at_the_limit_of_open_files_it_takes_nobody(store: Store) -> None:
    room = False
    node = Readiness(
        try_store=store.shards, connected=lambda: True, interval=10, files_left=lambda: room
    )
    await node.try_once()
    assert node.because == RETURNING, "it is not registered yet"
    node.registered()
    assert node.because == NO_FILES
    room = True
    assert node.because is None


async def test_asking_tries_nothing(node: Readiness, store: Store) -> None:
    await node.try_once()
    for _ in range(5):
        assert node.because is None
    assert store.tries == 1


async def test_a_store_that_hangs_is_given_up(
    node: Readiness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT", 0.01)

    async def hang() -> Shards:
        await asyncio.Event().wait()
        raise AssertionError

    node._try_store = hang
    await node.try_once()
    assert node.because == SILENT


async def test_shards_that_refuse_are_told_once(
    node: Readiness, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.answer = Shards(3, 1)
    await node.try_once()
    await node.try_once()
    assert (node.because, node.shards) == (None, Shards(3, 1))
    assert len([r for r in caplog.records if "1 of 3 shards" in r.getMessage()]) == 1


async def test_a_promise_that_breaks_is_an_error_once_and_a_gauge(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shown: dict[str, bool] = {}

    async def never() -> Any: ...

    watch = PromiseWatch(never, shown.__setitem__)
    caplog.set_level(logging.INFO, "sockets.node.readiness")
    broken = Promises({"append_only": "it is off"}, ("INFO",))
    for found in (Promises(), broken, broken, Promises()):
        watch.note(found)
        assert shown.get("append_only", False) is bool(found.broken)
    levels = [(r.levelno, r.getMessage()) for r in caplog.records]
    assert (logging.ERROR, "a promise is broken: it is off") in levels
    assert sum("no right to INFO" in text for _, text in levels) == 1
    assert len(levels) == 3


async def test_what_is_wrong_with_the_store_is_told_also_where_the_node_is_ready(
    node: Readiness, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node.store_trouble == readiness.UNTRIED
    await node.try_once()
    assert node.store_trouble == ""
    monkeypatch.setattr(node, "shards", Shards(3, 1))
    assert node.store_trouble == "1 of 3 shards take no writes" and node.because is None
    store.error = FULL
    await node.try_once()
    await node.try_once()
    assert node.store_trouble == "Redis is out of memory"
