"""Identifiers: made, checked and normalised in one place.

ULIDs sort by time and can be guessed: names, never secrets.
"""

from __future__ import annotations

import os
import re
from uuid import UUID

from ulid import ULIDGenerator

MAX_USER_ID = 1024
"""Bytes of UTF-8."""

MAX_PROOF_ID = 255
"""Characters of the id of a login (`sid`) or a token (`jti`)."""

MAX_ULID = 26
"""Characters; it has no other length."""

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")

_POOL = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


_generator = ULIDGenerator()


def _after_fork() -> None:
    """Another thread of the parent may have held its lock; in the child it never lets go."""
    global _generator
    _generator = ULIDGenerator()


os.register_at_fork(after_in_child=_after_fork)


def new_id() -> str:
    """Return a new ULID: 26 characters."""
    return str(_generator.generate())


def parse_ulid(text: str) -> str | None:
    """Return the ULID in its canonical upper case, or None if it is not one."""
    if len(text) != MAX_ULID:
        return None  # before a copy is made of something large
    text = text.upper()
    return text if _ULID.match(text) else None


def is_user_id(value: object) -> bool:
    """Whether this is a string of 1 to 1,024 bytes of UTF-8 (a lone surrogate has no UTF-8)."""
    if not isinstance(value, str):
        return False
    try:
        return 1 <= len(value.encode()) <= MAX_USER_ID
    except UnicodeEncodeError:
        return False


def user_id_of(value: object) -> str | None:
    """Return a user id in its one form, a string; None if this is no user id.

    A user id comes as a str, an int (then it is its decimal digits) or a UUID; subclasses of these
    count as what they are made of. A bool is none of them.
    """
    kind = type(value)  # and not isinstance: a lazy object pretends to be what it stands for
    if issubclass(kind, str):
        text = str.__str__(value)
    elif issubclass(kind, int) and kind is not bool:
        text = _digits(value)  # type: ignore[arg-type]
    elif issubclass(kind, UUID):
        text = str(value)
    else:
        return None
    return text if is_user_id(text) else None


def _digits(value: int) -> str:
    """Return an int's digits without Python's own limit, which is an error and no answer; "" where
    there are too many."""
    return "" if value.bit_length() > 4 * MAX_USER_ID else int.__repr__(value)


def is_proof_id(value: object) -> bool:
    """Whether this names a login (`sid`) or a token (`jti`): 1 to 255 characters of UTF-8."""
    return is_user_id(value) and len(str(value)) <= MAX_PROOF_ID


def is_pool(value: object) -> bool:
    """Whether this names a pool of workers: 1 to 64 of `A-Z a-z 0-9 . _ -`."""
    return isinstance(value, str) and _POOL.match(value) is not None
