"""How many files a process may open, and which of them strangers do not get."""

from __future__ import annotations

import os
import resource

import pytest

from sockets.node import files
from sockets.node.files import MOST, PART, any_spare, is_spare


def test_the_last_files_are_not_for_strangers() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        for most, spare in (
            (lowest + 1_000, True),
            (lowest, False),
        ):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            assert any_spare() is spare, most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("most", "first_kept"),
    [(80, 80 - 80 // PART), (PART * MOST, PART * MOST - MOST), (65_536, 65_536 - MOST)],
)
def test_an_eighth_is_kept_and_no_more_than_enough(
    monkeypatch: pytest.MonkeyPatch, most: int, first_kept: int
) -> None:
    monkeypatch.setattr(files, "limit", lambda: most)
    assert is_spare(first_kept - 1) and not is_spare(first_kept)


def test_without_a_limit_all_are_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "limit", lambda: resource.RLIM_INFINITY)
    assert is_spare(10**9)


def test_looking_opens_nothing() -> None:
    before = os.dup(0)
    os.close(before)
    assert any_spare()
    after = os.dup(0)
    os.close(after)
    assert before == after
