"""Durations as people type them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta

import pytest

from sockets.management.durations import duration


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("90d", timedelta(days=90)),
        ("24h", timedelta(hours=24)),
        ("30m", timedelta(minutes=30)),
        ("0s", timedelta()),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_duration(text: str, found: timedelta) -> None:
    assert duration(text) == found


@pytest.mark.parametrize(
    "text", ["", "90", "d", "-1d", "1.5h", "1w", "1 d", "1d\n", "36501d", "١d"]
)
def test_what_is_no_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="write 90d, 24h, 30m or 45s"):
        duration(text)
