"""Who comes and goes, told to Django's receivers and handed to the webhooks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.dispatch import Signal

from sockets import signals
from sockets.base import metrics
from sockets.codes import LOST, CloseCode
from sockets.events import feed as events_module
from sockets.events import receivers as receivers_module
from sockets.events.feed import Events, cause_of
from sockets.events.receivers import ReceiverPool
from sockets.types import Kind, PresenceChange, SessionInfo
from tests.support.doubles import NOON, info, until
from tests.support.patience import PATIENCE

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
def pool() -> Iterator[ReceiverPool]:
    made = ReceiverPool("presence", 4)
    yield made
    made.close()


def change(user: str = "42", online: bool = True, generation: int = 7) -> PresenceChange:
    return PresenceChange(user, online, generation, NOON)


async def run(events: Events) -> None:
    """Until nothing waits."""
    await events.finish(5)


async def test_receivers_hear_everything_in_order(pool: ReceiverPool) -> None:
    events = Events(receivers=pool)
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


async def test_one_users_events_stay_in_order(pool: ReceiverPool) -> None:
    events = Events(receivers=pool)
    with heard(signals.user_online) as told:
        for generation in range(50):
            events.changed(change(f"u{generation % 5}", True, generation), lambda ok: None)
        await run(events)
    for user in range(5):
        mine = [t["change"].generation for t in told if t["change"].user == f"u{user}"]
        assert mine == list(range(user, 50, 5))


async def test_what_comes_again_for_the_api_server_is_not_told_receivers_again(
    pool: ReceiverPool, sender: NotingSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "MAX_HEARD", 3)
    events = Events(receivers=pool, webhooks=sender, hooked=["user_online"])
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


async def test_where_nobody_listens_it_is_done_at_once(pool: ReceiverPool) -> None:
    events = Events(receivers=pool)
    done: list[bool] = []
    assert not events.changes_wanted
    events.changed(change(), done.append)
    assert done == [True]
    with heard(signals.user_offline):
        assert events.changes_wanted, "asked each time: receivers come and go"


async def test_webhooks_get_what_was_chosen_and_say_when_it_is_done(
    pool: ReceiverPool, sender: NotingSender
) -> None:
    events = Events(
        receivers=pool,
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
    pool: ReceiverPool, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: object, **_: Any) -> None:
        raise RuntimeError("a bug in a receiver")

    events = Events(receivers=pool)
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


@contextmanager
def hanging(*names: str) -> Iterator[tuple[list[tuple[str, int]], threading.Event]]:
    """A receiver that hangs for these users until it is released; what it has told."""
    release, told = threading.Event(), list[tuple[str, int]]()

    def hang(sender: object, change: PresenceChange, **_: Any) -> None:
        if change.user in names:
            release.wait(2 * PATIENCE)
        told.append((change.user, change.generation))

    signals.user_online.connect(hang)
    try:
        yield told, release
    finally:
        release.set()
        signals.user_online.disconnect(hang)


async def test_a_receiver_that_hangs_delays_nobody_else(
    pool: ReceiverPool, sender: NotingSender, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events(receivers=pool, webhooks=sender, hooked=["user_online", "user_offline"])
    done: list[tuple[str, bool]] = []

    def changed(user: str, **given: Any) -> None:
        events.changed(change(user, **given), lambda ok: done.append((user, ok)))

    with hanging("hangs") as (told, release):
        for generation in range(20):
            changed("hangs", generation=generation)
        changed("hangs", online=False, generation=20)
        for user in "abcdef":
            changed(user)
        await until(lambda: len(told) == 6)
        assert {user for user, _ in told} == set("abcdef")
        await until(lambda: len(sender.events) == 6)
        assert {event["user"] for event in sender.events} == set("abcdef"), "receivers hear first"
        release.set()
        await run(events)
    assert [event["generation"] for event in sender.events[6:]] == list(range(21)), "in order"
    assert [generation for _, generation in told[6:]] == list(range(20))


async def test_after_some_time_the_api_server_is_told_beside_a_receiver(
    pool: ReceiverPool,
    sender: NotingSender,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(events_module, "RECEIVERS_TIMEOUT", 0.05)
    # All are late at the same moment, however slow the machine is.
    monkeypatch.setattr(events_module, "time", SimpleNamespace(monotonic=lambda: 1_000.0))
    events = Events(receivers=pool, webhooks=sender, hooked=["user_online", "user_offline"])
    with hanging("hangs") as (told, release):
        for generation in range(3):
            events.changed(change("hangs", generation=generation), lambda ok: None)
        events.changed(change("hangs", online=False, generation=3), lambda ok: None)
        await run(events)
        assert [event["generation"] for event in sender.events] == [0, 1, 2, 3]
        assert told == [] and "take over 0.05 s" in caplog.text
        assert caplog.text.count("take over") == 1, "once for all that are late"
        release.set()
        await until(lambda: len(told) == 3)
    assert len(sender.events) == 4, "once"


async def test_receivers_that_hang_have_a_bounded_queue(
    pool: ReceiverPool, sender: NotingSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that found no space is said to be unannounced, and told when it comes again."""
    monkeypatch.setattr(receivers_module, "MAX_OF_USER", 5)
    events = Events(receivers=pool, webhooks=sender, hooked=["user_online"])
    before = metrics.dropped_events._value.get()
    done: dict[int, bool] = {}

    def changed(generation: int) -> None:
        events.changed(
            change("hangs", generation=generation),
            lambda ok: done.__setitem__(generation, ok),
        )

    with hanging("hangs") as (told, release):
        for generation in range(10):
            changed(generation)
        await until(lambda: len(done) == 4)
        assert done == dict.fromkeys(range(1, 5), False), "the first is at work"
        assert metrics.dropped_events._value.get() == before + 4
        changed(1)
        await until(lambda: 5 in done)
        release.set()
        await run(events)
    assert [generation for _, generation in told] == [0, 6, 7, 8, 9, 1]
    assert [event["generation"] for event in sender.events] == [0, 6, 7, 8, 9, 1]


async def test_a_line_of_one_user_has_an_end(
    pool: ReceiverPool, sender: NotingSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of events that no receiver wants, behind one that hangs."""
    monkeypatch.setattr(events_module, "MAX_OF_USER", 3)
    events = Events(receivers=pool, webhooks=sender, hooked=["user_offline", "session_opened"])
    before = metrics.dropped_events._value.get()
    done: list[bool] = []
    with hanging("hangs") as (_, release):
        events.changed(change("hangs"), done.append)
        for generation in range(5):
            events.changed(change("hangs", online=False, generation=generation), done.append)
        events.opened(info("hangs"))
        events.changed(change("other", online=False), done.append)
        assert done == [False] * 3
        assert metrics.dropped_events._value.get() == before + 4
        assert [event["user"] for event in sender.events] == ["other"]
        release.set()
        await run(events)
    assert [event["user"] for event in sender.events] == ["other", "hangs", "hangs"]


async def test_workers_of_one_key_do_not_wait_for_each_other(pool: ReceiverPool) -> None:
    release, told = threading.Event(), list[str]()
    first, second = info("key", kind=Kind.WORKER), info("key", kind=Kind.WORKER)

    def hang(sender: object, session: SessionInfo, **_: Any) -> None:
        if session is first:
            release.wait(2 * PATIENCE)
        told.append(session.id)

    events = Events(receivers=pool)
    signals.session_opened.connect(hang)
    try:
        for one in (first, second):
            events.opened(one)
        await until(lambda: told == [second.id])
        release.set()
        await run(events)
    finally:
        release.set()
        signals.session_opened.disconnect(hang)
    assert told == [second.id, first.id]


async def test_the_end_waits_no_longer_than_it_may(
    pool: ReceiverPool, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events(receivers=pool)
    with hanging("42"):
        events.changed(change(), lambda ok: None)
        await events.finish(0.02)
    assert "1 events were not announced" in caplog.text


async def test_a_pool_that_is_closed_leaves_changes_untold(pool: ReceiverPool) -> None:
    events = Events(receivers=pool)
    done: list[bool] = []
    pool.close()
    with heard(signals.user_online):
        events.changed(change(), done.append)
        await run(events)
    assert done == [False]


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
