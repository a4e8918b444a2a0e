"""What a notifier appends and publishes, and what it tells its caller: on an event loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from sockets.base import metrics
from sockets.conf import Conf
from sockets.delivery.notifier import Notifier
from sockets.exceptions import GatewayUnavailable, InvalidMessage
from sockets.layers.memory import MemoryChannelLayer
from sockets.presence.memory import MemoryPresence
from sockets.streams.base import Appended, NewEntry
from sockets.streams.memory import MemoryStreams
from sockets.types import Notification, SessionInfo
from tests.support.doubles import (
    FailingLayer,
    info,
    outbox_of,
    still_node,
)


async def test_a_repeated_key_is_told_nobody_twice() -> None:
    house = await still_node()
    one = await house.open()
    before = metrics.notifications[True]._value.get()
    first = await house.notifier.send(Notification("42", "e", 1, idempotency_key="k"))
    again = await house.notifier.send(Notification("42", "e", 2, idempotency_key="k"))
    assert (again.id, again.offset, again.duplicate) == (first.id, 1, True)
    assert len(outbox_of(one).frames) == 1
    assert metrics.notifications[True]._value.get() == before + 1


async def test_one_key_of_a_batch_stands_for_each_of_its_messages() -> None:
    house = await still_node()
    many = [
        Notification("42", "a"),
        Notification("42", "now", durable=False),
        Notification("42", "b", idempotency_key="own"),
        Notification("42", "c"),
    ]
    notifier = house.notifier
    first = await notifier.send_batch(many, "job")
    singles = [
        await notifier.send(Notification("42", "e", 1, idempotency_key=f"job:{n}"))
        for n in range(4)
    ]
    assert [one.duplicate for one in singles] == [False] * 4
    again = await notifier.send_batch(many, "job")
    assert [one.id for one in again if one.duplicate] == [first[n].id for n in (0, 2, 3)]
    assert (await notifier.send(Notification("42", "e", 1, idempotency_key="own"))).id == first[
        2
    ].id
    assert (await house.streams.head("42")).offset == 7


@pytest.mark.parametrize("key", ["", "k" * 256, 5, "\ud800"], ids=ascii)
async def test_a_batch_with_a_key_that_is_none_sends_nothing(key: Any) -> None:
    house = await still_node()
    with pytest.raises(InvalidMessage, match="idempotency_key"):
        await house.notifier.send_batch([Notification("42", "a")], key)
    assert (await house.streams.head("42")).offset == 0


async def test_a_message_that_is_in_the_stream_was_sent_even_if_its_layer_message_fails() -> None:
    """State first, message second: a lost one is repaired by the next renewal.

    With an error, the caller would send it again.
    """
    layer = FailingLayer()
    house = await still_node(layer)
    one = await house.open()
    layer.failing.add("group_send")
    receipt = await house.notifier.send(Notification("42", "e", None))
    assert receipt.offset == 1
    await house.sessions.renew()
    await house.settle()
    assert outbox_of(one).events == ["e"]


async def test_an_ephemeral_message_that_the_layer_refused_is_told() -> None:
    layer = FailingLayer("group_send")
    with pytest.raises(GatewayUnavailable):
        node = await still_node(layer)
        await node.notifier.send(Notification("42", "e", None, durable=False))


async def test_many_users_get_one_append_each_however_often_they_are_named() -> None:
    house = await still_node()
    one, two = await house.open("1"), await house.open("2")
    receipts = await house.notifier.send_many(
        iter(["1", "2", "1"]), Notification(None, "e", None, ttl=5)
    )
    assert [(r.offset, r.duplicate) for r in receipts] == [(1, False), (1, False), (1, False)]
    assert receipts[0] is receipts[2]
    assert outbox_of(one).events == outbox_of(two).events == ["e"]


async def test_many_users_get_nothing_if_one_of_them_is_none() -> None:
    house = await still_node()
    with pytest.raises(InvalidMessage):
        await house.notifier.send_many(["1", ""], Notification(None, "e", None))
    assert (await house.streams.head("1")).offset == 0


class CountingStreams(MemoryStreams):
    """Memory streams as a Redis' scripts are seen: some have published, or counted, already."""

    published = False
    reach: int | None = None

    async def append(self, user: str, entry: NewEntry) -> Appended:
        done = await super().append(user, entry)
        return replace(done, published=self.published, reach=self.reach)


class AwayLayer(FailingLayer):
    """Fails as a bus that is away; `outcome`: what it knows of the message."""

    connected = False
    outcome: Literal["nothing", "unknown"] = "nothing"

    def __init__(self) -> None:
        super().__init__()
        self.locally: list[str] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        raise GatewayUnavailable("the bus is away", outcome=self.outcome)

    def send_local(self, group: str, message: dict[str, Any]) -> None:
        self.locally.append(group)


class NotedPresence(MemoryPresence):
    """Knows of two sessions of each user, unless it is `away`."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[str] = []

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        self.asked.append(user)
        if self.away:
            raise GatewayUnavailable("presence is away")
        return [info(user)] * 2


class Parts:
    """A notifier, and what it works with."""

    def __init__(self, layer: MemoryChannelLayer | None = None) -> None:
        self.streams = CountingStreams(
            size=9, ttl=99, record_ttl=99, idempotency_ttl=99, max_users=99
        )
        self.layer = layer or MemoryChannelLayer()
        self.presence = NotedPresence()
        self.subject = Notifier(
            conf=Conf(), layer=self.layer, streams=self.streams, presence=self.presence
        )


async def test_what_the_store_has_published_and_counted_is_left_to_it() -> None:
    parts, heard = Parts(), list[Any]()
    await parts.layer.group_add_sink("u.42", heard.append)
    parts.streams.published, parts.streams.reach = True, 5
    assert (await parts.subject.send(Notification("42", "e"))).reach == 5
    assert heard == parts.presence.asked == []
    parts.streams.published, parts.streams.reach = False, None
    assert (await parts.subject.send(Notification("42", "e"))).reach == 2
    assert len(heard) == 1 and parts.presence.asked == ["42"]


async def test_presence_that_is_away_is_a_reach_of_nobody() -> None:
    parts = Parts()
    parts.presence.away = True
    for durable in (True, False):
        assert (await parts.subject.send(Notification("42", "e", durable=durable))).reach == 0


async def test_while_the_bus_is_away_only_sessions_here_get_what_is_ephemeral() -> None:
    layer = AwayLayer()
    subject = Parts(layer).subject
    before = metrics.LOCAL_ONLY._value.get()
    receipt = await subject.send(Notification("42", "e", durable=False))
    assert (layer.locally, receipt.reach) == (["u.42"], 0)
    await subject.broadcast(Notification(None, "e", durable=False))
    assert layer.locally == ["u.42", "gateway.clients"]
    assert metrics.LOCAL_ONLY._value.get() == before + 2


async def test_what_may_still_arrive_by_the_bus_is_not_sent_a_second_time() -> None:
    layer = AwayLayer()
    layer.outcome = "unknown"
    with pytest.raises(GatewayUnavailable):
        await Parts(layer).subject.send(Notification("42", "e", durable=False))
    assert layer.locally == []


async def test_receipts_of_a_batch_are_in_its_order() -> None:
    before = [metrics.notifications[durable]._value.get() for durable in (False, True)]
    parts = Parts()
    receipts = await parts.subject.send_batch(
        [
            Notification("1", "e", durable=False),
            Notification("2", "e"),
            Notification("1", "e", durable=False),
            Notification("2", "e"),
        ]
    )
    assert [one.offset for one in receipts] == [None, 1, None, 2]
    after = [metrics.notifications[durable]._value.get() for durable in (False, True)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 2]
