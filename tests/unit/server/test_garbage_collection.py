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
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """Passes of each generation, under the thresholds of a gateway."""
    before, seen = gc.get_threshold(), Counter[int]()

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            seen[info["generation"]] += 1

    monkeypatch.setattr(gc, "freeze", list)  # what a run of tests has frozen stays that
    serve._tune_garbage_collection()
    gc.callbacks.append(note)
    try:
        yield seen
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)


class Circle:
    """Refers to itself; `freed`: how many there were."""

    freed = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Circle.freed += 1


def crowd() -> list[list[list[int]]]:
    """What 10,000 sessions are to the collector."""
    return [[[] for _ in range(OBJECTS)] for _ in range(SESSIONS)]


def test_a_crowd_is_walked_through_in_small_steps_and_not_with_all_others(
    passes: Counter[int],
) -> None:
    here = crowd()
    assert len(here) == SESSIONS
    assert passes[2] == 0 and passes[0] + passes[1] >= 200


def test_what_refers_to_itself_is_freed_soon(passes: Counter[int]) -> None:
    Circle.freed = 0
    for _ in range(20_000):
        Circle()
    assert Circle.freed >= 15_000


def test_what_has_lived_for_long_is_freed_too(passes: Counter[int]) -> None:
    Circle.freed = 0
    old = [Circle() for _ in range(100)]
    here = [crowd()]
    assert passes[1] > 2, "they are old by now"
    old.clear()
    here.append(crowd())
    assert Circle.freed == 100 and passes[2] >= 1
