"""What the public port does at the process' limit of open files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from sockets.node.files import is_spare, limit

logger = logging.getLogger(__name__)

TELL_EVERY: Final = 60.0
"""Seconds between two log lines while the node is at its limit."""


class Files:
    """Knows the limit of open files, for one server. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -float("inf")

    def has_space(self, descriptor: int) -> bool:
        """Whether the public port may keep a connection with this descriptor."""
        if is_spare(descriptor):
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
                limit(),
            )
        return False
