"""Which of several sentinels to believe: one that lags names a primary that is none any more."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

KEPT: Final = 10.0
"""Seconds that an epoch counts after a sentinel has named it last: sentinels that were set up anew
count from 0 again."""


class Epochs:
    """The newest configuration that any sentinel of a server has named; safe in any thread.

    Each fail-over has a number, its epoch, which is higher than all before it. A sentinel that was
    cut off from the others answers with an old one until it hears of the new one.
    """

    def __init__(self) -> None:
        self._newest = 0
        self._named_at = -float("inf")
        self._lock = threading.Lock()

    def begin_anew(self) -> None:
        """Let go of a lock that another thread held, in a process that was forked."""
        self._lock = threading.Lock()

    def is_current(self, epoch: int) -> bool:
        """Whether no sentinel has named a later one; this one is noted."""
        now = time.monotonic()
        with self._lock:
            if epoch < self._newest and now - self._named_at < KEPT:
                return False
            self._newest, self._named_at = epoch, now
            return True

    def rule(self, sentinels: Any) -> None:
        """Have a client of sentinels pass over those that lag. `sentinels`: redis-py's `Sentinel`,
        of either kind."""
        is_usable = sentinels.check_master_state

        def check(state: dict[str, Any], service: str) -> bool:
            if not is_usable(state, service):
                return False
            epoch = state.get("config-epoch")
            return epoch is None or self.is_current(epoch)

        sentinels.check_master_state = check
