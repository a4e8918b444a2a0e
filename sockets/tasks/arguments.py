"""Checks of the arguments of a task. All raise InvalidMessage."""

from __future__ import annotations

from sockets.base.ids import is_pool
from sockets.exceptions import InvalidMessage

MAX_TIMEOUT = 30 * 24 * 3600
"""Seconds that a task may be allowed to be silent."""


def require_pool(pool: str) -> str:
    """Return the name of a pool as a plain string."""
    if not is_pool(pool):
        raise InvalidMessage("a pool's name is 1 to 64 of A-Z a-z 0-9 . _ -")
    return str.__str__(pool)


def require_timeout(timeout: float | None) -> None:
    """Raise unless this is None or a number of seconds that a task may be silent."""
    if timeout is None:
        return
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, int | float)
        or not 0 < timeout <= MAX_TIMEOUT
    ):
        raise InvalidMessage("timeout is a number of seconds above 0, and at most 30 days")
