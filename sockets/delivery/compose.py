"""What somebody wants to send, checked and put into its two forms: an entry and a signal.

Everything here raises InvalidMessage or MessageTooLarge for what cannot be sent.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from msgspec import Raw

from sockets.base.ids import is_user_id, new_id, parse_ulid
from sockets.exceptions import InvalidMessage, MessageTooLarge
from sockets.protocol.codec import to_json
from sockets.protocol.messages import MAX_TTL, Body
from sockets.protocol.values import write
from sockets.streams.base import Appended, NewEntry
from sockets.types import Position

MAX_KEY = 255
"""Characters of an idempotency or collapse key."""


def compose(
    event: str,
    data: object,
    *,
    limit: int,
    now: float,
    id: str | None = None,
    durable: bool = True,
    ttl: float | None = None,
    collapse_key: str | None = None,
    idempotency_key: str | None = None,
    exclude_client: str | None = None,
    own_key: str | None = None,
) -> NewEntry:
    """A notification, ready to be appended (`durable`) or to be published only.

    `limit`: bytes of its JSON. `id`: where the caller has to know it before the outcome. `own_key`:
    as of NewEntry, beside an `idempotency_key`.
    """
    event = require_event(event)
    _check_options(durable, ttl, collapse_key, idempotency_key)
    if collapse_key is not None:
        collapse_key = require_key("collapse_key", collapse_key)
    if idempotency_key is not None:
        idempotency_key = require_key("idempotency_key", idempotency_key)
    if exclude_client is not None:
        exclude_client = _client_id(exclude_client)
    id = id or new_id()
    raw = data if isinstance(data, Raw) else Raw(encode_json(data, limit))
    try:
        body = to_json(Body(id, event, raw, round(now, 3)))
    except ValueError:  # it has no UTF-8
        raise InvalidMessage("event cannot be written as JSON: it is no text") from None
    _require_size(body, limit)
    return NewEntry(id, body, collapse_key, ttl, idempotency_key, exclude_client, event, own_key)


def batch_keys(key: str, place: int) -> tuple[str, str]:
    """Return what a message of a batch is known by: as of the version before, and our own.

    The version before cut long keys, and its names are those of keys that callers may have too.
    """
    whole = sha256(key.encode()).hexdigest()
    return f"{key}:{place}"[-MAX_KEY:], f"batch:{whole}:{place}"


def signal(entry: NewEntry, position: Position | None = None) -> dict[str, Any]:
    """The message of the channel layer; with its position if the entry is in a stream."""
    message: dict[str, Any] = {"type": "user.notify", "event": entry.event, "body": entry.body}
    if entry.exclude_client is not None:
        message["exclude_client"] = entry.exclude_client
    if position is not None:
        message.update(epoch=position.epoch, offset=position.offset)
    return message


def is_repeated(entry: NewEntry, done: Appended) -> bool:
    """Whether an earlier call had sent it; with the same id, only our own answer was lost."""
    return done.duplicate and done.id != entry.id


def require_event(event: str) -> str:
    """Return it as a plain string. Raises InvalidMessage."""
    if not isinstance(event, str) or not 1 <= len(event) <= 255:
        raise InvalidMessage("event must be a string of 1 to 255 characters")
    return str.__str__(event)


def _client_id(value: object) -> str:
    """In its canonical form. Raises InvalidMessage: it is kept beside the message, so it has a
    size, and what is no client id spares nobody."""
    found = parse_ulid(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidMessage("exclude_client is a client id, a ULID of 26 characters")
    return found


def encode_json(value: object, limit: int) -> bytes:
    """What somebody wants to send, as JSON. Raises InvalidMessage, MessageTooLarge."""
    try:
        encoded = bytes(value) if isinstance(value, Raw) else write(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessage(f"data cannot be written as JSON: {error}") from None
    _require_size(encoded, limit)
    return encoded


def _require_size(encoded: bytes, limit: int) -> None:
    """Raises MessageTooLarge."""
    if len(encoded) > limit:
        raise MessageTooLarge(
            f"the message has {len(encoded)} bytes of JSON and MAX_MESSAGE_SIZE is {limit}: "
            "send a link to the data instead"
        )


def _check_options(
    durable: bool, ttl: float | None, collapse_key: str | None, idempotency_key: str | None
) -> None:
    """Options that mean nothing for an ephemeral message are a mistake of the caller's."""
    given = {"ttl": ttl, "collapse_key": collapse_key, "idempotency_key": idempotency_key}
    for name, value in given.items():
        if value is None:
            continue
        if not durable:
            raise InvalidMessage(f"{name} needs durable=True: an ephemeral message is not kept")
        if name == "ttl" and not _is_ttl(value):
            raise InvalidMessage("ttl is a number of seconds above 0, at most 10 years")


def require_key(name: str, value: object) -> str:
    """Return an idempotency or collapse key as a plain string. Raises InvalidMessage."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_KEY:
        raise InvalidMessage(f"{name} is a string of 1 to {MAX_KEY} characters")
    if not is_user_id(value):  # as of ids: 4 bytes for each character at most
        raise InvalidMessage(f"{name} has a character that UTF-8 does not have")
    return str.__str__(value)


def _is_ttl(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= MAX_TTL
