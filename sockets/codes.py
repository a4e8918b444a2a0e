"""Close codes and error codes: the numbers and names that clients program against.

A client decides by the code alone: 4500-4999 are a verdict, after any other it reconnects with
back-off.
Source: protocol.md section 3; RFC 6455 section 7.4 for the codes below 4000.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class CloseCode(IntEnum):
    """Every code that the gateway closes with."""

    NORMAL = 1000
    MESSAGE_TOO_BIG = 1009
    SHUTTING_DOWN = 1012
    TRY_AGAIN_LATER = 1013

    DRAINING = 4000
    NO_PONG = 4001
    SLOW_CONSUMER = 4002
    TOKEN_EXPIRED = 4003
    INTERNAL_ERROR = 4004

    BAD_REQUEST = 4500
    UNAUTHORIZED = 4501
    FORBIDDEN = 4502
    REPLACED = 4503
    DISCONNECTED = 4504
    SESSION_LIMIT = 4505
    RATE_LIMIT = 4506
    BLOCKED = 4507
    REVOKED = 4508


ABNORMAL = 1006
"""The peer vanished without a close frame; never sent (RFC 6455 section 7.4.1)."""

LOST = 4099
"""Only in the database: the process of this session died, nobody saw the socket close."""


def should_reconnect(code: int) -> bool:
    """Whether a client that was closed with `code` should come back (with back-off).

    Whatever is no verdict of ours is a lost line: proxies close with 1000, 1008, 1014 or no code.
    """
    return not 4500 <= code < 5000


class ErrorCode(StrEnum):
    """`error.code` of a reply; the text beside it is for people."""

    BAD_JSON = "bad_json"
    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    BINARY = "binary_not_supported"
    TOO_LARGE = "too_large"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    UNAVAILABLE = "unavailable"
    TASK_LOST = "task_lost"
    RATE_LIMITED = "rate_limited"
