"""Checks of what a caller says, one rule and one message each. All raise InvalidMessage."""

from __future__ import annotations

from collections.abc import Iterable

from sockets.base.ids import user_id_of
from sockets.exceptions import InvalidMessage

USER_ID = (
    "a user id is a string of 1 to 1,024 bytes of UTF-8, an int, a UUID "
    "or a saved instance of AUTH_USER_MODEL"
)


def require_user_id(user: object) -> str:
    """Return the user id as a string, which is all that keys, caches and answers know.

    An instance of AUTH_USER_MODEL is for `sockets.api` alone: here it is none.
    """
    found = user_id_of(user)
    if found is None:
        raise InvalidMessage(f"{USER_ID}; this is {name_of(user)}")
    return found


def require_user_ids(users: Iterable[object]) -> list[str]:
    """Return the user ids as strings. Raises also for one id, whose letters would pass for ids."""
    return [require_user_id(user) for user in require_many(users)]


def require_many(users: object) -> list[object]:
    """Return what is in a list of users, whatever that is."""
    if isinstance(users, str | bytes) or not isinstance(users, Iterable):
        raise InvalidMessage(f"this takes a list of user ids, and was given {name_of(users)}")
    return list(users)


def name_of(value: object) -> str:
    """What a value is, for an error: never what is in it."""
    if isinstance(value, str):
        return "a string that is empty, too long or not UTF-8"
    if isinstance(value, int) and not isinstance(value, bool):
        return "an int with too many digits"
    return "None" if value is None else f"of the type {type(value).__name__}"
