"""The reason of a close frame fits into it."""

from __future__ import annotations

import pytest

from sockets.protocol.outbox import MAX_REASON, cut_reason


@pytest.mark.parametrize(
    ("reason", "size"),
    [("", 0), ("x" * MAX_REASON, 123), ("x" * 200, 123), ("한" * 50, 123), ("x" + "한" * 50, 121)],
)
def test_a_reason_is_cut_between_characters(reason: str, size: int) -> None:
    cut = cut_reason(reason)
    assert reason.startswith(cut) and len(cut.encode()) == size


def test_half_a_character_is_replaced() -> None:
    assert cut_reason("a\ud800b") == "a?b"
