"""`SyncNotifier`: what it appends, publishes and asks, in threads and without an event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sockets.base import metrics
from sockets.conf import Conf
from sockets.delivery.notifier_sync import SyncNotifier
from sockets.exceptions import GatewayUnavailable, InvalidMessage
from sockets.streams.base import Appended, NewEntry
from sockets.types import Notification, Position

Message = tuple[str, Mapping[str, Any]]


class Store:
    """Streams, layer and presence of a process without a gateway; each may be away."""

    def __init__(self, *, published: bool = False) -> None:
        self.published = published
        self.away: set[str] = set()
        self.entries: list[tuple[str, NewEntry]] = []
        self.messages: list[Message] = []
        self.asked: list[Sequence[str]] = []

    def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        start = len(self.entries) + 1
        self.entries += entries
        return [
            Appended(entry.id, Position("e", start + n), published=self.published, reach=2)
            for n, (_, entry) in enumerate(entries)
        ]

    def publish(self, messages: Sequence[Message]) -> None:
        if "layer" in self.away:
            raise GatewayUnavailable("the layer is away")
        self.messages += messages

    def counts(self, users: Sequence[str]) -> list[int]:
        self.asked.append(users)
        if "presence" in self.away:
            raise GatewayUnavailable("presence is away")
        return [3] * len(users)


def notifier(store: Any) -> SyncNotifier:
    return SyncNotifier(conf=Conf(), streams=store, publisher=store, presence=store)


def test_a_durable_message_is_appended_then_published() -> None:
    store = Store()
    receipt = notifier(store).send(Notification("42", "e", {"n": 1}))
    ((user, entry),) = store.entries
    ((group, message),) = store.messages
    assert (user, group, message["event"]) == ("42", "u.42", "e")
    assert (message["epoch"], message["offset"], message["body"]) == ("e", 1, entry.body)
    assert (receipt.id, receipt.offset, receipt.reach) == (entry.id, 1, 2)
    assert store.asked == [], "the script has counted them"


def test_what_the_store_has_published_is_not_published_again() -> None:
    store = Store(published=True)
    assert notifier(store).send(Notification("42", "e")).offset == 1
    assert store.messages == []


def test_a_lost_layer_message_is_counted_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.away.add("layer")
    before = metrics.LAYER_UNSENT._value.get()
    receipts = notifier(store).send_many(["1", "2"], Notification(None, "e"))
    assert [one.offset for one in receipts] == [1, 2]
    assert metrics.LAYER_UNSENT._value.get() == before + 2
    assert "the next renewal finds them" in caplog.text


def test_an_ephemeral_message_is_published_only() -> None:
    store = Store()
    receipts = notifier(store).send_many(["1", "2", "1"], Notification(None, "e", durable=False))
    assert store.entries == [] and [group for group, _ in store.messages] == ["u.1", "u.2"]
    assert [(one.offset, one.reach) for one in receipts] == [(None, 3)] * 3
    store.away.add("presence")
    assert notifier(store).send(Notification("1", "e", durable=False)).reach == 0
    store.away.add("layer")
    with pytest.raises(GatewayUnavailable):
        notifier(store).send(Notification("1", "e", durable=False))


def test_a_broadcast() -> None:
    store = Store()
    receipt = notifier(store).broadcast(Notification(None, "e", durable=False))
    ((group, message),) = store.messages
    assert group == "gateway.clients" and receipt.id.encode() in message["body"]


def test_nothing_is_sent_if_one_of_many_is_wrong() -> None:
    store = Store()
    with pytest.raises(InvalidMessage):
        notifier(store).send_many(["1", ""], Notification(None, "e"))
    assert store.entries == [] and store.messages == []
