"""Clocks."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since the epoch by a clock that nobody sets, so that nothing ends early by that."""
    return _START + time.monotonic()
