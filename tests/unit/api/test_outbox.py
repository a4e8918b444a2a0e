"""Rule 23: in a project's tests calls go to an outbox, with the same checks and without anybody."""

from __future__ import annotations

import unittest
from collections.abc import Iterator

import pytest
from django.core import mail
from django.test import SimpleTestCase, TestCase

from sockets import api
from sockets.api import outbox as module
from sockets.base import under_test
from sockets.exceptions import InvalidMessage, MessageTooLarge
from sockets.testing import EmptyOutbox, Sent, outbox
from sockets.types import Notification, PresenceState, TaskState

ULID = "01JZ3N5Y3C8M4Q0T7V9X2B6D1F"


@pytest.fixture(autouse=True)
def in_use() -> Iterator[None]:
    under_test.ignore(False)
    outbox.clear()
    yield
    under_test.ignore()
    outbox.clear()


def test_it_is_in_use_where_django_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.in_use()
    monkeypatch.delattr(mail, "outbox")
    assert not module.in_use()


def test_a_notification() -> None:
    receipt = api.notify_user(42, "order.paid", {"order": 7}, ttl=60)
    assert outbox == [Sent("notify", "42", "order.paid", {"order": 7}, {"ttl": 60})]
    assert (receipt.epoch, receipt.offset, receipt.reach) == ("test", 1, 0)
    assert api.notify_user("42", "e").offset == 2
    assert api.notify_user("7", "e").offset == 1
    assert api.notify_user("42", "e", durable=False).offset is None
    assert api.stream_position("42").offset == 2
    assert outbox[-1].options == {"durable": False}


async def test_the_async_face() -> None:
    await api.anotify_user("42", "e")
    assert not await api.ais_online("42")
    assert [one.event for one in outbox] == ["e"]


def test_many() -> None:
    receipts = api.notify_users(["a", "b", "a"], "e", {"n": 1})
    assert [one.offset for one in receipts] == [1, 1, 1] and receipts[0] == receipts[2]
    api.notify_batch([Notification("a", "f"), Notification("c", "g", 5)])
    api.broadcast("everybody", [1])
    assert [(one.call, one.user, one.event, one.data) for one in outbox] == [
        ("notify", "a", "e", {"n": 1}),
        ("notify", "b", "e", {"n": 1}),
        ("notify", "a", "f", None),
        ("notify", "c", "g", 5),
        ("broadcast", None, "everybody", [1]),
    ]


@pytest.mark.django_db(transaction=True)
def test_on_commit() -> None:
    from django.db import transaction

    with transaction.atomic():
        api.notify_user_on_commit("42", "e")
        assert outbox == []
    assert [one.event for one in outbox] == ["e"]


def test_what_the_gateway_would_refuse_is_refused() -> None:
    for call in (
        lambda: api.notify_user(None, "e"),  # type: ignore[arg-type]
        lambda: api.notify_user("42", ""),
        lambda: api.notify_user("42", "e", object()),
        lambda: api.notify_user("42", "e", durable=False, ttl=5),
        lambda: api.disconnect_user("42", code=99),
        lambda: api.revoke("42", sid=""),
    ):
        with pytest.raises(InvalidMessage):
            call()
    with pytest.raises(MessageTooLarge):
        api.notify_user("42", "e", "x" * 100_000)
    with pytest.raises(TypeError):
        api.notify_user("42", "e", colour="red")  # type: ignore[call-arg]
    assert outbox == []


def test_nobody_is_connected() -> None:
    assert not api.is_online("42")
    assert not api.wait_until_online("42", 60), "and nobody is waited for"
    assert not api.sessions_of("42") and not api.nodes() and not api.live_sessions()
    assert api.presence_of("42").state is PresenceState.OFFLINE
    assert api.presence_of_users(["1", "2"]).users.keys() == {"1", "2"}
    assert api.read_stream("42").entries == ()
    assert api.delivery_of("42", 1) == [] and api.session_page().sessions == []
    assert api.client_socket_url().startswith("ws")
    assert api.overview().nodes == [] and api.find_live_sessions(q="42").sessions == []
    assert api.session_report(ULID) is None and api.read_trace("42") is None
    assert api.refusals().refusals == [] and api.workers().workers == []
    assert api.user_report("42").live == []
    assert outbox == []


def test_what_ends_something_is_there_too() -> None:
    api.disconnect_user("42", client=ULID)
    api.block_user("42", reason="spam")
    api.unblock_user("42")
    api.revoke("42", sid="login")
    api.disconnect_session(ULID)
    api.drain_node("a")
    assert api.release_task(ULID) is None
    assert api.trace_user("42", by="kim").by == "kim" and not api.end_trace("42").ended
    assert [one.call for one in outbox] == [
        *("disconnect_user", "block_user", "unblock_user", "revoke"),
        *("disconnect_sessions", "drain_node", "release_task", "trace_user", "end_trace"),
    ]
    assert outbox[0].options["client"] == ULID


def test_work() -> None:
    task = api.assign_task("convert", "image", {"id": 5}, user_id=42, task_id=ULID)
    assert (task.id, task.user, task.state) == (ULID, "42", TaskState.RUNNING)
    (sent,) = outbox
    assert (sent.call, sent.user, sent.event, sent.data) == (
        "assign_task",
        "42",
        "image",
        {"id": 5},
    )
    assert sent.options["pool"] == "convert"
    assert api.task(ULID) is None and not api.cancel_task(ULID) and api.worker_pools() == []


class TestWithDjango(EmptyOutbox, TestCase):
    """Each test begins with an empty outbox."""

    def test_one(self) -> None:
        self.assertEqual(outbox, [])
        api.notify_user("42", "one")

    def test_two(self) -> None:
        self.assertEqual(outbox, [])
        api.notify_user("42", "two")


def test_a_test_case_with_a_set_up_of_its_own() -> None:
    """Few call that of the class before theirs."""

    class OfAShop(EmptyOutbox, SimpleTestCase):
        def setUp(self) -> None:
            pass

        def test_it(self) -> None:
            self.assertEqual(outbox, [])

    api.notify_user("42", "of the test before")
    result = unittest.TestResult()
    OfAShop("test_it").run(result)
    assert result.testsRun == 1 and result.wasSuccessful()
