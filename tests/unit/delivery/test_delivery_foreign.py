"""What plain Channels code puts into our groups, good and bad."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockets.base import metrics
from sockets.layers.groups import CLIENTS, user_group
from sockets.types import Notification
from tests.support.doubles import (
    outbox_of,
    still_node,
)

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def message(epoch: str, offset: int, event: str) -> dict[str, Any]:
    body = json.dumps({"id": "i", "event": event, "data": None, "time": 0}).encode()
    return {"type": "user.notify", "event": event, "body": body, "epoch": epoch, "offset": offset}


# --- what plain Channels code sends


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"event": "e", "data": {"x": [1]}}, {"event": "e", "data": {"x": [1]}}),
        ({"event": "e"}, {"event": "e", "data": None}),
        ({"event": "e", "data": "한", "unknown": 1}, {"event": "e", "data": "한"}),
    ],
)
async def test_a_good_message_of_another(message: dict[str, Any], expected: dict[str, Any]) -> None:
    house = await still_node()
    one = await house.open()
    await house.layer.group_send(user_group("42"), {"type": "user.notify", **message})
    (frame,) = outbox_of(one).frames
    assert {name: frame[name] for name in expected} == expected
    assert frame["id"] and "offset" not in frame


async def test_a_message_of_another_may_exclude_a_client() -> None:
    house = await still_node()
    mine, other = await house.open(), await house.open()
    await house.layer.group_send(
        user_group("42"),
        {"type": "user.notify", "event": "e", "exclude_client": mine.info.client_id},
    )
    assert outbox_of(mine).frames == [] and outbox_of(other).events == ["e"]


BAD_MESSAGES: list[dict[str, Any]] = [
    {},
    {"type": "chat.message", "event": "e", "data": 1},
    {"type": "user.notify"},
    {"type": "user.notify", "event": 5},
    {"type": "user.notify", "event": "e", "data": object()},
    {"type": "user.notify", "event": "e", "data": "x" * 100_000},
    {"type": "user.notify", "event": "e", "offset": 5},
    {"type": "user.notify", "event": "e", "offset": "5", "epoch": "EPOCH"},
    {"type": "user.notify", "event": "e", "offset": None, "body": "text, not bytes"},
]


@pytest.mark.parametrize("message", BAD_MESSAGES, ids=lambda m: ascii(m)[:60])
async def test_a_bad_message_of_another_is_counted_and_harms_nobody(
    message: dict[str, Any],
) -> None:
    house = await still_node()
    one = await house.open()
    epoch = (await house.streams.head("42")).epoch
    message = {key: epoch if value == "EPOCH" else value for key, value in message.items()}
    before = metrics.LAYER_ERRORS._value.get()
    house.layer._fanout.to_sinks(user_group("42"), message)
    assert metrics.LAYER_ERRORS._value.get() == before + 1
    assert outbox_of(one).frames == []
    await house.notifier.send(Notification("42", "next", None))
    late = await house.open()
    await house.notifier.send(Notification("42", "last", None))
    await house.settle()
    assert outbox_of(one).events == ["next", "last"] and outbox_of(late).events == ["last"]


async def test_a_session_that_opens_right_after_a_bad_message_is_welcome() -> None:
    """Before the next good one puts the room right."""
    house = await still_node()
    await house.open()
    epoch = (await house.streams.head("42")).epoch
    bad = {"type": "user.notify", "event": "e", "offset": "5", "epoch": epoch}
    house.layer._fanout.to_sinks(user_group("42"), bad)
    late = await house.open()
    await house.notifier.send(Notification("42", "next", None))
    assert outbox_of(late).events == ["next"]


async def test_an_offset_that_the_stream_does_not_have_makes_no_busy_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = await still_node()
    one = await house.open()
    epoch = (await house.streams.head("42")).epoch
    reads = 0
    read = house.streams.follow

    async def counting(*args: Any) -> Any:
        nonlocal reads
        reads += 1
        assert reads < 20, "the reader reads for ever"
        return await read(*args)

    monkeypatch.setattr(house.streams, "follow", counting)
    await house.layer.group_send(user_group("42"), message(epoch, 999, "from nowhere"))
    await house.settle()
    await house.notifier.send(Notification("42", "next", None))
    await house.settle()
    assert outbox_of(one).events == ["next"]


async def test_a_message_of_another_kind_is_not_for_all_clients() -> None:
    house = await still_node()
    one = await house.open()
    before = metrics.LAYER_ERRORS._value.get()
    await house.layer.group_send(CLIENTS, {"type": "chat.message", "event": "e", "data": 1})
    assert outbox_of(one).frames == []
    assert metrics.LAYER_ERRORS._value.get() == before + 1
