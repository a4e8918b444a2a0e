"""From a notification to frames: who gets what, what is refused, what a broadcast is."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils.safestring import mark_safe

from sockets.base import metrics
from sockets.delivery import delivery as delivery_module
from sockets.delivery.compose import compose
from sockets.exceptions import InvalidMessage, MessageTooLarge
from sockets.tasks.arguments import require_pool
from sockets.types import Notification
from tests.support.doubles import (
    NOON,
    outbox_of,
    still_node,
)

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


# --- what a notification is


async def test_a_durable_message_reaches_every_session_with_its_offset() -> None:
    house = await still_node()
    one, two, stranger = await house.open(), await house.open(), await house.open("43")
    receipt = await house.notifier.send(Notification("42", "e", {"한": [1.5, None]}))
    frame = {
        "type": "message",
        "offset": 1,
        "id": receipt.id,
        "event": "e",
        "data": {"한": [1.5, None]},
        "time": NOON,
    }
    assert outbox_of(one).frames == outbox_of(two).frames == [frame]
    assert outbox_of(stranger).frames == []
    assert (receipt.offset, receipt.duplicate, receipt.reach) == (1, False, 2)
    assert receipt.epoch == (await house.streams.head("42")).epoch


async def test_an_ephemeral_message_has_no_offset_and_is_not_kept() -> None:
    house = await still_node()
    one = await house.open()
    receipt = await house.notifier.send(Notification("42", "e", None, durable=False))
    assert (receipt.epoch, receipt.offset, receipt.reach) == (None, None, 1)
    (frame,) = outbox_of(one).frames
    assert "offset" not in frame and frame["id"] == receipt.id
    assert (await house.streams.head("42")).offset == 0


async def test_all_sessions_of_a_node_share_one_frame() -> None:
    house = await still_node()
    one, two = await house.open(), await house.open()
    await house.notifier.send(Notification("42", "e", None))
    await house.notifier.send(Notification("42", "e", None, durable=False))
    await house.notifier.broadcast(Notification(None, "e", None))
    for mine, yours in zip(outbox_of(one).raw, outbox_of(two).raw, strict=True):
        assert mine is yours


async def test_messages_come_in_the_order_in_which_they_were_sent() -> None:
    house = await still_node()
    one = await house.open()
    for n in range(30):
        await house.notifier.send(Notification("42", f"e{n}", None))
    assert [frame["offset"] for frame in outbox_of(one).frames] == list(range(1, 31))


async def test_the_client_that_caused_it_is_told_the_position_only() -> None:
    house = await still_node()
    mine, other = await house.open(), await house.open()
    id = mine.info.client_id
    for n in range(2):
        await house.notifier.send(Notification("42", f"e{n}", None, exclude_client=id))
    await house.notifier.send(Notification("42", "now", None, exclude_client=id, durable=False))
    await house.notifier.send(Notification("42", "e3", None))
    assert outbox_of(other).events == ["e0", "e1", "now", "e3"]
    assert [frame["type"] for frame in outbox_of(mine).frames] == ["position"] * 2 + ["message"]
    assert [frame["offset"] for frame in outbox_of(mine).frames] == [1, 2, 3]


async def test_a_client_is_excluded_however_its_ulid_is_written() -> None:
    """A page may have chosen its id in lower case, and its backend passes on what it got."""
    house = await still_node()
    mine = await house.open(client_id=ULID)
    await house.notifier.send(Notification("42", "echo", None, exclude_client=ULID.lower()))
    assert outbox_of(mine).events == []


# --- what is refused


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"user_id": ""}, "user id"),
        ({"user_id": "x" * 1_025}, "user id"),
        ({"user_id": "한" * 342}, "user id"),
        ({"user_id": 4.2}, "user id"),
        ({"user_id": "\ud800"}, "user id"),
        ({"event": ""}, "event must be"),
        ({"event": "e" * 256}, "event must be"),
        ({"event": None}, "event must be"),
        ({"data": object()}, "JSON"),
        ({"data": "\ud800"}, "JSON"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": -1.0}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": "5"}, "ttl"),
        ({"ttl": True}, "ttl"),
        ({"ttl": float("inf")}, "ttl"),
        ({"ttl": 10**400}, "ttl"),
        ({"collapse_key": ""}, "collapse_key"),
        ({"collapse_key": "k" * 256}, "collapse_key"),
        ({"collapse_key": 5}, "collapse_key"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "\ud800"}, "idempotency_key has a character"),
        ({"collapse_key": "k\udfff"}, "collapse_key has a character"),
        ({"exclude_client": 5}, "exclude_client"),
        ({"exclude_client": ""}, "exclude_client is a client id, a ULID"),
        ({"exclude_client": "x" * 26}, "exclude_client"),
        ({"exclude_client": "8" + "0" * 25}, "exclude_client"),
        ({"exclude_client": ULID + "0"}, "exclude_client"),
        ({"exclude_client": ULID + "\n"}, "exclude_client"),
        ({"exclude_client": "0" * 7_000_000}, "exclude_client"),
        ({"exclude_client": "\ud800" * 26, "durable": False}, "exclude_client"),
        ({"durable": False, "ttl": 5}, "ttl needs durable=True"),
        ({"durable": False, "collapse_key": "k"}, "collapse_key needs durable=True"),
        ({"durable": False, "idempotency_key": "k"}, "idempotency_key needs durable=True"),
    ],
    ids=ascii,
)
async def test_what_cannot_be_sent_is_told_and_not_sent(given: dict[str, Any], says: str) -> None:
    house = await still_node()
    one = await house.open()
    with pytest.raises(InvalidMessage, match=says) as caught:
        await house.notifier.send(
            Notification(**{"user_id": "42", "event": "e", "data": None} | given)
        )
    assert isinstance(caught.value, ValueError)
    assert (await house.streams.head("42")).offset == 0
    assert outbox_of(one).frames == []


@pytest.mark.parametrize("options", [{"ttl": 0.001}, {"ttl": 5}, {"collapse_key": "k" * 255}])
async def test_options_at_their_edges(options: dict[str, Any]) -> None:
    assert (
        await (await still_node()).notifier.send(
            Notification("x" * 1_024, "e" * 255, None, **options)
        )
    ).offset == 1


async def test_the_size_of_a_message_is_that_of_its_json() -> None:
    house = await still_node(max_message_size=200)
    frame = len('{"id":"","event":"e","data":"","time":1800000000.0}') + 26
    await house.notifier.send(Notification("42", "e", "x" * (200 - frame)))
    for data in ("x" * (201 - frame), "한" * 60):
        with pytest.raises(MessageTooLarge, match=r"MAX_MESSAGE_SIZE is 200: send a link"):
            await house.notifier.send(Notification("42", "e", data))
        with pytest.raises(MessageTooLarge):
            await house.notifier.broadcast(Notification(None, "e", data))
    assert (await house.streams.head("42")).offset == 1


# --- broadcast


async def test_a_broadcast_reaches_every_client_in_slices_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery_module, "SLICE", 3)
    house = await still_node()
    sessions = [await house.open(f"u{n}") for n in range(10)]
    for event in ("one", "two"):
        receipt = await house.notifier.broadcast(Notification(None, event, {"n": 1}))
        assert (receipt.epoch, receipt.offset) == (None, None)
    assert outbox_of(sessions[0]).events == ["one", "two"]
    assert outbox_of(sessions[9]).events == [], "the loop is not held for everybody"
    await house.settle()
    assert all(outbox_of(session).events == ["one", "two"] for session in sessions)


async def test_a_closed_socket_counts_as_no_delivery() -> None:
    house = await still_node()
    one = await house.open()
    outbox_of(one).close(1006, "gone")
    before = metrics.delivered_live._value.get()
    await house.notifier.send(Notification("42", "e", None, durable=False))
    await house.notifier.send(Notification("42", "d", None))
    assert metrics.delivered_live._value.get() == before


def test_keys_of_django_are_plain_strings() -> None:
    """MessagePack, which Redis mode writes, knows no subclasses of str."""
    safe = mark_safe("key")
    entry = compose(
        Notification("42", "e", 1, collapse_key=safe, idempotency_key=safe), limit=1_000, now=0
    )
    assert type(entry.collapse_key) is type(entry.idempotency_key) is str
    assert type(require_pool(mark_safe("p"))) is str
