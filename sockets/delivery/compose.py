"""What somebody wants to send, checked and put into its form for a stream.

Everything here raises InvalidMessage or MessageTooLarge for what cannot be sent.
"""

from __future__ import annotations

from hashlib import sha256

from msgspec import Raw

from sockets.base.ids import is_user_id, new_id, parse_ulid
from sockets.exceptions import InvalidMessage, MessageTooLarge
from sockets.protocol.codec import to_json
from sockets.protocol.messages import MAX_TTL, Body
from sockets.protocol.values import write
from sockets.streams.base import NewEntry
from sockets.types import Notification

MAX_KEY = 255
"""Characters of an idempotency or collapse key."""


def compose(
    notification: Notification,
    *,
    limit: int,
    now: float,
    id: str | None = None,
    own_key: str | None = None,
) -> NewEntry:
    """Return a notification as it is appended, or published only where it is not durable.

    `limit`: bytes of its JSON. `id`: where the caller has to know it before the outcome. `own_key`:
    as of NewEntry, beside an `idempotency_key`. Whom it is for is not looked at.
    """
    given = notification
    event = require_event(given.event)
    _require_kept(given)
    if given.ttl is not None and not _is_ttl(given.ttl):
        raise InvalidMessage("ttl is a number of seconds above 0, at most 10 years")
    id = id or new_id()
    return NewEntry(
        id=id,
        collapse_key=_key("collapse_key", given.collapse_key),
        ttl=given.ttl,
        idempotency_key=_key("idempotency_key", given.idempotency_key),
        exclude_client=_client_id(given.exclude_client),
        event=event,
        own_key=own_key,
        body=_body(id, event, given.data, limit, now),
    )


def _body(id: str, event: str, data: object, limit: int, now: float) -> bytes:
    raw = data if isinstance(data, Raw) else Raw(encode_json(data, limit))
    try:
        body = to_json(Body(id, event, raw, round(now, 3)))
    except ValueError:  # it has no UTF-8
        raise InvalidMessage("event cannot be written as JSON: it is no text") from None
    _require_size(body, limit)
    return body


def batch_keys(key: str, place: int) -> tuple[str, str]:
    """Return what a message of a batch is known by: as of the version before, and our own.

    The version before cut long keys, and its names are those of keys that callers may have too.
    """
    whole = sha256(key.encode()).hexdigest()
    return f"{key}:{place}"[-MAX_KEY:], f"batch:{whole}:{place}"


def require_event(event: str) -> str:
    """Return it as a plain string. Raises InvalidMessage."""
    if not isinstance(event, str) or not 1 <= len(event) <= 255:
        raise InvalidMessage("event must be a string of 1 to 255 characters")
    return str.__str__(event)


def _client_id(value: object) -> str | None:
    """Return a client id in its canonical form, or None. Raises InvalidMessage: it is kept beside
    the message, so it has a size, and what is no client id spares nobody."""
    if value is None:
        return None
    found = parse_ulid(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidMessage("exclude_client is a client id, a ULID of 26 characters")
    return found


def encode_json(value: object, limit: int) -> bytes:
    """Return what somebody wants to send as JSON. Raises InvalidMessage, MessageTooLarge."""
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


def _require_kept(given: Notification) -> None:
    """Raise for options that mean nothing for an ephemeral message: a mistake of the caller's."""
    if given.durable:
        return
    for name in ("ttl", "collapse_key", "idempotency_key"):
        if getattr(given, name) is not None:
            raise InvalidMessage(f"{name} needs durable=True: an ephemeral message is not kept")


def _key(name: str, value: object) -> str | None:
    return None if value is None else require_key(name, value)


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
