"""How a notification looks on the channel layer: the message that goes to a user's group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sockets.exceptions import InvalidMessage
from sockets.protocol.values import write
from sockets.types import Position

TYPE = "user.notify"
"""Also the type that plain Channels code sends, with `event` and `data` in the place of `body`."""

_BODY = b'{"id":'  # how the JSON of a notification begins


def layer_message(
    event: str,
    body: bytes,
    *,
    exclude_client: str | None = None,
    position: Position | None = None,
) -> dict[str, Any]:
    """Return the layer message of a notification; a durable one has its position in the stream.

    `body`: the JSON object {"id", "event", "data", "time"}.
    """
    message: dict[str, Any] = {"type": TYPE, "event": event, "body": body}
    if exclude_client is not None:
        message["exclude_client"] = exclude_client
    if position is not None:
        message.update(epoch=position.epoch, offset=position.offset)
    return message


def require_form(message: Mapping[str, Any]) -> None:
    """Raise InvalidMessage for a notification of plain Channels code that no client could get."""
    if message.get("type") != TYPE:
        return
    body = message.get("body")
    if body is None:
        try:
            write(message.get("data"))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidMessage(f"data cannot be written as JSON: {error}") from None
    elif isinstance(body, bytes) and not body.startswith(_BODY):
        raise InvalidMessage(
            "`body` of a user.notify is what the gateway itself wrote: send `event` and `data`"
        )
