"""How messages look on the layer, and in Redis: as the stock pub/sub layer writes and reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from channels_redis.utils import _consistent_hash
from msgpack import packb, unpackb  # type: ignore[attr-defined]  # an alias in its module

from sockets.exceptions import InvalidMessage
from sockets.protocol.values import write
from sockets.types import Position

NOTIFY = "user.notify"
"""Also the type that plain Channels code sends, with `event` and `data` in the place of `body`."""

_FLAT = frozenset({str, bytes, int, float, bool, type(None)})
_BODY = b'{"id":'  # how the JSON of a notification begins
_FIXMAP, _MAP16 = 0x80, 0xDE


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
    message: dict[str, Any] = {"type": NOTIFY, "event": event, "body": body}
    if exclude_client is not None:
        message["exclude_client"] = exclude_client
    if position is not None:
        message.update(epoch=position.epoch, offset=position.offset)
    return message


def copy_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a receiver in another process gets of a message: one in this process gets that
    too. Raises TypeError, ValueError or OverflowError for what MessagePack has no form for."""
    copy: dict[str, Any] = unpackb(packb(message))
    return copy


def require_deliverable(message: Mapping[str, Any]) -> None:
    """Raise to the sender what would otherwise only be a line in the receivers' logs.

    Raises as `copy_of`, and InvalidMessage for a notification whose data has no JSON form.
    """
    _require_form(message)
    if not all(_is_flat(key, value) for key, value in message.items()):
        copy_of(message)


def _require_form(message: Mapping[str, Any]) -> None:
    """Raise InvalidMessage for a notification of plain Channels code that no client could get."""
    if message.get("type") != NOTIFY:
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


def _is_flat(key: object, value: object) -> bool:
    """Return whether a member surely comes out as it went in, as all of our own messages do."""
    return type(key) is str and type(value) in _FLAT


class Serializer(Protocol):
    """One of channels-redis'."""

    crypter: Any

    def serialize(self, message: Any) -> bytes: ...

    def deserialize(self, message: bytes) -> Any: ...


class Wire:
    """Names and encodings; no connection. The same for every process with the same settings."""

    def __init__(self, prefix: str, shards: int, serializer: Serializer) -> None:
        self.prefix = prefix
        self._shards = shards
        self._serializer = serializer

    def group_channel(self, group: str) -> str:
        """Return the Redis channel of a group."""
        return f"{self.prefix}__group__{group}"

    def shard(self, channel: str) -> int:
        """Return which of the hosts a Redis channel lives on."""
        return int(_consistent_hash(channel, self._shards))

    def encode(self, message: Mapping[str, Any]) -> bytes:
        """Return a message as it is published."""
        return self._serializer.serialize(message)

    def encode_checked(self, message: Mapping[str, Any]) -> bytes:
        """Return anybody's message as it is published. Raises what `require_deliverable` does."""
        require_deliverable(message)
        return self.encode(message)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return a published message. Raises what the serializer does, and ValueError."""
        message = self._serializer.deserialize(data)
        if not isinstance(message, dict):
            raise ValueError(f"a channel layer message is a dict, not {type(message).__name__}")
        return message

    @property
    def scriptable(self) -> bool:
        """Whether a Lua script may write the end of a message: MessagePack, not encrypted."""
        s = self._serializer
        return s.crypter is None and type(s).__name__ == "MsgPackSerializer"

    def encode_head(self, message: Mapping[str, Any], extra: int = 2) -> bytes:
        """Return the start of a MessagePack map that announces `extra` members more than it has."""
        packed: bytes = packb(message)
        count = len(message)
        rest = packed[1 if count < 16 else 3 :]
        total = count + extra
        if total < 16:
            return bytes((_FIXMAP | total,)) + rest
        return bytes((_MAP16,)) + total.to_bytes(2, "big") + rest
