"""How often the garbage collector of a gateway walks through everything."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from sockets.server import serve

SESSIONS = 10_000
OBJECTS = 140
"""Of one session that the collector knows, about."""


@pytest.fixture
def passes() -> Iterator[Counter[int]]:
    """Passes of each generation, under the thresholds of a gateway."""
    before, seen = gc.get_threshold(), Counter[int]()

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            seen[info["generation"]] += 1

    serve._tune_garbage_collection()
    gc.callbacks.append(note)
    try:
        yield seen
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)


def test_a_crowd_is_walked_through_in_small_steps_and_not_with_all_others(
    passes: Counter[int],
) -> None:
    crowd: list[list[list[int]]] = [[[] for _ in range(OBJECTS)] for _ in range(SESSIONS)]
    assert len(crowd) == SESSIONS
    assert passes[2] == 0 and passes[0] + passes[1] >= 100


class Circle:
    """Refers to itself; `freed`: how many there were."""

    freed = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Circle.freed += 1


def test_what_refers_to_itself_is_freed_soon(passes: Counter[int]) -> None:
    for _ in range(20_000):
        Circle()
    assert Circle.freed >= 15_000
