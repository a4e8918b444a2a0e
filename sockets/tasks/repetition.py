"""When a call with a known `task_id` is a repetition: it asks for the same, compared as JSON.

The record of a task is small, so that it keeps a hash of what was asked for and not the data.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from hashlib import sha256

import msgspec
from msgspec import Raw

from sockets.types import Task


def request_hash(
    *,
    pool: str,
    event: str,
    user: str | None,
    progress_to_user: bool,
    timeout: float | None,
    data: bytes,
) -> str:
    """Return the hash of what a caller asks for; equal requests have equal hashes.

    `timeout` is as the caller gave it: None stays None whatever TASK_TIMEOUT is at the time. `data`
    is JSON: the order of members and the way a number is written do not count.
    """
    asked = msgspec.json.encode([pool, event, user, progress_to_user, timeout])
    return sha256(_canonical(asked) + b"\n" + _canonical(data)).hexdigest()


def is_repetition(asked: Task, known: Task) -> bool:
    """Return whether a call asks for the task that there is.

    A record of the version before has no hash: then the members that it has are compared.
    """
    if asked.request and known.request:
        return asked.request == known.request
    return _members(asked) == _members(known)


def _members(task: Task) -> tuple[object, ...]:
    return task.pool, task.event, task.user, task.progress_to_user, task.timeout


def _canonical(written: bytes) -> bytes:
    try:
        values = json.loads(written, parse_int=_number, parse_float=_number)
        return msgspec.json.encode(values, order="sorted")
    except (RecursionError, InvalidOperation, UnicodeEncodeError):
        # Nested too deeply, a number that nobody computes with, half of a character: `Raw` may hold
        # them, and they are compared as they are written.
        return written


def _number(text: str) -> Raw:
    """Return a number written in the one way that it has: 1, 1.0 and 10e-1 are equal."""
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)  # JSON knows no infinities
    written = "".join(map(str, digits))
    significant = written.rstrip("0")
    if not significant:
        return Raw(b"0")
    exponent += len(written) - len(significant)
    return Raw(f"{'-' if sign else ''}{significant}e{exponent}".encode())
