"""How a notification looks on the layer, and what is refused to its sender."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.exceptions import InvalidMessage
from sockets.layers.wire import layer_message, require_deliverable
from sockets.types import Position

BODY = b'{"id":"i","event":"e","data":null,"time":1.0}'


def test_an_ephemeral_one() -> None:
    assert layer_message("e", BODY) == {"type": "user.notify", "event": "e", "body": BODY}


def test_a_durable_one_has_its_position() -> None:
    found = layer_message("e", BODY, exclude_client="c", position=Position("p", 3))
    assert (found["epoch"], found["offset"], found["exclude_client"]) == ("p", 3, "c")


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"event": "e", "data": [float("nan")]}, "cannot be written as JSON"),
        ({"event": "e", "body": b"{}"}, "send `event` and `data`"),
    ],
)
def test_what_no_client_could_get_is_refused(message: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidMessage, match=says):
        require_deliverable({"type": "user.notify"} | message)
    require_deliverable({"type": "another"} | message)


def test_what_clients_can_get() -> None:
    require_deliverable(layer_message("e", BODY))
    require_deliverable({"type": "user.notify", "event": "e", "data": {"n": 1}})
