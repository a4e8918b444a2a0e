"""What a storm counts as wrong."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.peers.running import OF_A_COMMAND, SINCE_START, wrong
from bench.peers.storm import counted


@pytest.mark.parametrize("name", [*OF_A_COMMAND, *SINCE_START])
def test_only_what_was_promised_can_be_missed(name: str) -> None:
    answer = dict.fromkeys((*OF_A_COMMAND, *SINCE_START), 0) | {name: 3, "back_seconds": 5}
    assert wrong(Counter(counted(answer, durable=True))) == (name != "received")
    assert wrong(Counter(counted(answer, durable=False))) == (name not in ("received", "lost"))
