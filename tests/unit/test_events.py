"""Who comes and goes, told to Django's receivers and handed to the webhooks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.dispatch import Signal

from sockets import events as events_module
from sockets import metrics, signals
from sockets.codes import LOST, CloseCode
from sockets.events import Events, cause_of
from sockets.types import PresenceChange
from tests.unit.doubles import NOON, info, until

ALL = (
    signals.user_online,
    signals.user_offline,
    signals.session_opened,
    signals.session_closed,
)


class NotingSender:
    """Takes events as `Webhooks` does; says what became of them when it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.done: list[Any] = []

    def put(self, event: dict[str, Any], done: Any = None) -> None:
        self.events.append(event)
        self.done.append(done)


@contextmanager
def heard(*chosen: Signal) -> Iterator[list[dict[str, Any]]]:
    """What receivers of these signals get."""
    told: list[dict[str, Any]] = []

    def receiver(signal: Signal, sender: object, **members: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        told.append(members)

    for signal in chosen:
        signal.connect(receiver)
    try:
        yield told
    finally:
        for signal in chosen:
            signal.disconnect(receiver)


@pytest.fixture
def sender() -> NotingSender:
    return NotingSender()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def change(user: str = "42", online: bool = True, generation: int = 7) -> PresenceChange:
    return PresenceChange(user, online, generation, NOON)


async def run(events: Events) -> None:
    """Until nothing waits."""
    task = asyncio.ensure_future(events.run())
    await events.finish(5)
    task.cancel()


async def test_receivers_hear_everything_in_order(executor: ThreadPoolExecutor) -> None:
    events = Events(executor=executor)
    done: list[bool] = []
    one = info("42")
    with heard(*ALL) as told:
        events.changed(change(), done.append)
        events.opened(one)
        events.closed(one, 4503, "replaced")
        events.changed(change(online=False, generation=8), done.append)
        await run(events)
    assert told == [
        {"change": change()},
        {"session": one},
        {"session": one, "code": 4503, "reason": "replaced", "cause": "replaced"},
        {"change": change(online=False, generation=8)},
    ]
    assert done == [True, True]


async def test_one_users_events_stay_in_order_over_many_batches(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "BATCH", 3)
    events = Events(executor=executor)
    with heard(signals.user_online) as told:
        for generation in range(50):
            events.changed(change(f"u{generation % 5}", True, generation), lambda ok: None)
        await run(events)
    for user in range(5):
        mine = [t["change"].generation for t in told if t["change"].user == f"u{user}"]
        assert mine == list(range(user, 50, 5))


async def test_what_comes_again_for_the_api_server_is_not_told_receivers_again(
    executor: ThreadPoolExecutor, sender: NotingSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "MAX_HEARD", 3)
    events = Events(executor=executor, webhooks=sender, hooked=["user_online"])
    with heard(signals.user_online, signals.user_offline) as told:
        for online in (True, True, True, False):
            events.changed(change(online=online, generation=8 - online), lambda ok: None)
            await run(events)
        assert [one["change"].generation for one in told] == [7, 8]
        assert len(sender.events) == 3
        for generation in range(20, 25):
            events.changed(change(generation=generation), lambda ok: None)
        await run(events)
        events.changed(change(generation=24), lambda ok: None)
        events.changed(change(generation=20), lambda ok: None)
        await run(events)
    heard_then = [one["change"].generation for one in told][2:]
    assert heard_then == [20, 21, 22, 23, 24, 20], "a bounded memory"


async def test_where_nobody_listens_it_is_done_at_once(executor: ThreadPoolExecutor) -> None:
    events = Events(executor=executor)
    done: list[bool] = []
    assert not events.changes_wanted
    events.changed(change(), done.append)
    assert done == [True]
    with heard(signals.user_offline):
        assert events.changes_wanted, "asked each time: receivers come and go"


async def test_webhooks_get_what_was_chosen_and_say_when_it_is_done(
    executor: ThreadPoolExecutor, sender: NotingSender
) -> None:
    events = Events(
        executor=executor,
        webhooks=sender,
        hooked=("user_online", "session_closed"),
        clock=lambda: 5.0,
    )
    done: list[bool] = []
    one = info("42", address="1.2.3.4:5", agent="Firefox")
    events.changed(change(), done.append)
    events.changed(change(online=False), done.append)
    events.opened(one)
    events.closed(one, 1001, "bye")
    await run(events)
    assert done == [True], "the one that nobody wants to hear"
    assert sender.events == [
        {"id": "42:7", "type": "user_online", "user": "42", "at": NOON, "generation": 7},
        {
            "id": f"{one.id}:closed",
            "type": "session_closed",
            "user": "42",
            "at": 5.0,
            "session": {
                "id": one.id,
                "kind": "client",
                "client_id": one.client_id,
                "node": one.node,
                "connected_at": one.connected_at,
                "address": "1.2.3.4:5",
                "agent": "Firefox",
            },
            "code": 1001,
            "reason": "bye",
            "cause": "client",
        },
    ]
    sender.done[0](True)
    assert done == [True, True]


async def test_a_receiver_that_fails_stops_nobody(
    executor: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: object, **_: Any) -> None:
        raise RuntimeError("a bug in a receiver")

    events = Events(executor=executor)
    done: list[bool] = []
    signals.user_online.connect(fail)
    try:
        with heard(signals.user_online) as told, caplog.at_level(logging.ERROR):
            events.changed(change(), done.append)
            events.changed(change("43"), done.append)
            await run(events)
    finally:
        signals.user_online.disconnect(fail)
    assert len(told) == 2 and done == [True, True]
    assert caplog.text.count("RuntimeError: a bug in a receiver") == 2


async def test_a_receiver_that_hangs_does_not_stop_the_others_for_ever(
    executor: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(events_module, "RECEIVERS_TIMEOUT", 0.05)
    release, told = threading.Event(), []

    def hang(sender: object, change: PresenceChange, **_: Any) -> None:
        if change.user == "hangs":
            release.wait(10)
        told.append(change.user)

    events = Events(executor=executor)
    signals.user_online.connect(hang)
    running = asyncio.ensure_future(events.run())
    try:
        events.changed(change("hangs"), lambda ok: None)
        others = [f"u{n}" for n in range(8) if hash(f"u{n}") % 4 != hash("hangs") % 4]
        for user in others:
            events.changed(change(user), lambda ok: None)
        await until(lambda: set(told) == set(others))
        await events.finish(5)
        assert "take over 0.05 s" in caplog.text
    finally:
        release.set()
        signals.user_online.disconnect(hang)
        running.cancel()


async def test_receivers_that_hang_keep_one_thread_and_a_bounded_queue(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "RECEIVERS_TIMEOUT", 0.01)
    monkeypatch.setattr(events_module, "MAX_EVENTS", 5)
    release, told = threading.Event(), []

    def hang(sender: object, change: PresenceChange, **_: Any) -> None:
        if change.user == "hangs":
            release.wait(10)
        told.append((change.user, change.generation))

    events = Events(executor=executor)
    signals.user_online.connect(hang)
    before = metrics.dropped_events._value.get()
    running = asyncio.ensure_future(events.run())
    other = next(f"u{n}" for n in range(99) if hash(f"u{n}") % 4 != hash("hangs") % 4)
    try:
        for generation in range(10):
            events.changed(change("hangs", generation=generation), lambda ok: None)
            await events.finish(5)
        events.changed(change(other), lambda ok: None)
        await until(lambda: told == [(other, 7)])
        assert metrics.dropped_events._value.get() == before + 4
        release.set()
        await until(lambda: len(told) == 7)
        assert [generation for _, generation in told[1:]] == [0, 5, 6, 7, 8, 9], "in order"
    finally:
        release.set()
        signals.user_online.disconnect(hang)
        running.cancel()


async def test_what_has_no_room_is_dropped_counted_and_told(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "MAX_EVENTS", 2)
    events = Events(executor=executor)
    before = metrics.dropped_events._value.get()
    done: list[tuple[str, bool]] = []
    with heard(signals.user_online):
        for user in "abc":
            events.changed(change(user), lambda ok, user=user: done.append((user, ok)))
        await run(events)
    assert done == [("a", False), ("b", True), ("c", True)], "the oldest goes"
    assert metrics.dropped_events._value.get() == before + 1


async def test_the_end_waits_no_longer_than_it_may(
    executor: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events(executor=executor)
    with heard(signals.user_online):
        events.changed(change(), lambda ok: None)
        await events.finish(0.02)  # nobody runs it
    assert "1 events were not told" in caplog.text


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (1000, "client"),
        (1001, "client"),
        (1006, "client"),
        (3001, "client"),
        (4321, "client"),
        (1012, "shutting_down"),
        (CloseCode.DRAINING, "draining"),
        (CloseCode.NO_PONG, "no_pong"),
        (CloseCode.SESSION_LIMIT, "session_limit"),
        (LOST, "lost"),
    ],
)
def test_causes(code: int, cause: str) -> None:
    assert cause_of(code) == cause
