"""The process' limit of open files, and what of it the public port leaves to others.

A descriptor is always the lowest free number. So a new connection whose number is N shows that N
others are open, without counting them: the public port takes none of the last ones, and the private
port, the database and Redis have room when strangers fill the node.
"""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

PART: Final = 8
"""One in so many descriptors is not for the public port ..."""

MOST: Final = 128
"""... but at most so many."""

TELL_EVERY: Final = 60.0
"""Seconds between two log lines while the node is at its limit."""


class Files:
    """Belongs to one server. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -float("inf")

    def has_room(self, descriptor: int) -> bool:
        """Whether the public port may keep a connection with this descriptor."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY or descriptor < limit - min(limit // PART, MOST):
            return True
        now = self._clock()
        if now - self._told_at >= TELL_EVERY:
            self._told_at = now
            logger.warning(
                "this process has %d of the %d files open that it may: new connections to the "
                "client port are refused (503), the rest is kept for the private port, the "
                "database and Redis; raise the limit (ulimit -Hn, LimitNOFILE=) or lower "
                "MAX_SESSIONS, MAX_PENDING and MAX_IDLE",
                descriptor,
                limit,
            )
        return False
