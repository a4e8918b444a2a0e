"""Durations as people type them: 90d, 24h, 30m, 45s."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Final

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MOST: Final = 36_500  # days


def duration(text: str) -> timedelta:
    """Read a duration; for `type=` of an argument."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    made = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
    if made is None or made.days > _MOST:
        raise ArgumentTypeError(f"{text!r} is no duration: write 90d, 24h, 30m or 45s")
    return made
