"""JSON as the gateway takes it, user ids, and ULIDs."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import msgspec

from gateway_client.errors import InvalidRequest
from gateway_client.models import UserId

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def to_json(value: object) -> bytes:
    """Return a value as JSON; dates, UUIDs and dataclasses too. Raises InvalidRequest."""
    try:
        return json.dumps(
            value,
            allow_nan=False,  # JSON has no such numbers
            ensure_ascii=False,
            separators=(",", ":"),
            default=msgspec.to_builtins,
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"data cannot be written as JSON: {error}") from None


def user_id(value: UserId) -> str:
    """Return a user id in its one form, a string. Raises InvalidRequest."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise InvalidRequest(f"a user id is a string or an integer, and not {type(value).__name__}")
    return str(value)


def new_ulid() -> str:
    """Return a new ULID, 26 characters that sort by time: a name, never a secret."""
    number = int.from_bytes(
        (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10), "big"
    )
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def without_none(**members: Any) -> dict[str, Any]:
    """Return the members that were given."""
    return {name: value for name, value in members.items() if value is not None}
