"""How long a message was on its way: once for a room, from the time that it says itself."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.base import metrics
from sockets.delivery import delivery as delivery_module
from sockets.layers.groups import CLIENTS, user_group
from sockets.layers.wire import layer_message
from sockets.types import Notification, Position
from tests.support.doubles import NOON, StillNode, outbox_of, still_node
from tests.support.observed import Observed


class Times:
    """What both histograms gain."""

    def __init__(self) -> None:
        self.durable = Observed(metrics.delivery[True])
        self.ephemeral = Observed(metrics.delivery[False])

    @property
    def counts(self) -> tuple[int, int]:
        return self.durable.count, self.ephemeral.count


def body(time: str, data: str = "null") -> bytes:
    return b'{"id":"A","event":"e","data":%s,"time":%s}' % (data.encode(), time.encode())


async def bring(house: StillNode, body: bytes, group: str = "", **given: Any) -> None:
    """Let the layer bring a message, as another node has published it."""
    message = layer_message("e", body, **given)
    await house.layer.group_send(group or user_group("42"), message)


async def test_a_message_counts_once_for_a_room_whatever_its_sessions() -> None:
    house = await still_node()
    times = Times()
    for _ in range(3):
        await house.open()
    await house.open("43")
    await house.notifier.send(Notification("42", "e", None))
    assert times.counts == (1, 0)
    await house.notifier.send(Notification("42", "e", None, durable=False))
    await house.notifier.send(Notification("nobody here", "e", None, durable=False))
    assert times.counts == (1, 1)
    await house.notifier.send_many(["42", "43"], Notification(None, "e", None))
    assert times.counts == (3, 1)


async def test_it_is_counted_from_its_own_time_by_the_clock_of_this_host() -> None:
    house = await still_node()
    await house.open()
    head, times = await house.streams.head("42"), Times()
    # What data looks like does not count, nor a number's own form.
    await bring(house, body(str(NOON - 0.25), data='"\\",\\"time\\":1}"'))
    assert times.ephemeral.sum == pytest.approx(0.25)
    await bring(house, body("1.7999999985e9"), position=Position(head.epoch, 1))
    assert times.durable.sum == pytest.approx(1.5) and times.counts == (1, 1)


async def test_another_host_may_be_ahead_but_nothing_arrives_before_it_was_sent() -> None:
    house = await still_node()
    await house.open()
    times = Times()
    await bring(house, body(str(NOON + 5)))
    assert (times.ephemeral.count, times.ephemeral.sum) == (1, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        body("nan"),
        body("-1e999"),
        body("0"),
        body("null"),
        b'{"id":"A","event":"e","data":null,"time":5, "more": 6}',
        b'{"id":"A"}',
        b'{"id":',
        b'{"id":"A","time":1,"data":"%s"}' % (b"x" * 100),
    ],
)
async def test_what_no_gateway_would_say_counts_nothing_and_arrives(wrong: bytes) -> None:
    house = await still_node()
    one = await house.open()
    times, errors = Times(), metrics.LAYER_ERRORS._value.get()
    await bring(house, wrong)
    assert times.counts == (0, 0) and times.ephemeral.sum == 0
    assert metrics.LAYER_ERRORS._value.get() == errors
    assert len(outbox_of(one).raw) == 1


async def test_what_plain_channels_code_sent_does_not_say_when() -> None:
    house = await still_node()
    one = await house.open()
    times = Times()
    message = {"type": "user.notify", "event": "e", "data": 1}
    await house.layer.group_send(user_group("42"), message)
    assert outbox_of(one).events == ["e"] and times.counts == (0, 0)


async def test_what_nobody_got_is_no_delivery() -> None:
    house = await still_node()
    one = await house.open()
    head, times = await house.streams.head("42"), Times()
    await bring(house, body(str(NOON)), position=head)  # a late copy: everybody has it
    assert times.counts == (0, 0)
    outbox_of(one).close(1006, "gone")
    await bring(house, body(str(NOON)))
    await bring(house, body(str(NOON)), CLIENTS)
    assert times.counts == (0, 0)


async def test_a_broadcast_counts_once_when_the_last_one_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery_module, "SLICE", 3)
    house = await still_node()
    for number in range(10):
        await house.open(f"u{number}")
    times = Times()
    await bring(house, body(str(NOON - 1)), CLIENTS)
    assert times.counts == (0, 0)
    house.clock.advance(2)
    await house.settle()
    assert times.counts == (0, 1) and times.ephemeral.sum == pytest.approx(3)
    for session in list(house.hub)[3:]:
        await house.sessions.close(session, 1000, "")
    await bring(house, body(str(NOON + 2)), CLIENTS)
    assert times.counts == (0, 2) and times.ephemeral.sum == pytest.approx(3)


# --- what a session that comes back had missed


@pytest.mark.parametrize(
    ("offset", "missed"), [(0, [3]), (2, [1]), (3, [0]), (None, []), (99, [])], ids=str
)
async def test_who_comes_back_counts_with_what_it_missed(
    offset: int | None, missed: list[int]
) -> None:
    house = await still_node()
    for number in range(3):
        await house.notifier.send(Notification("42", f"e{number}", None))
    epoch = (await house.streams.head("42")).epoch
    sizes, reloads = Observed(metrics.recovered), metrics.UNRECOVERED._value.get()
    await house.open(position=None if offset is None else Position(epoch, offset))
    assert (sizes.count, sizes.sum) == (len(missed), sum(missed))
    assert metrics.UNRECOVERED._value.get() - reloads == (offset == 99)
