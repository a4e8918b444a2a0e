"""Which nodes were silent just now."""

from __future__ import annotations

from sockets.operations.silence import SILENT_FOR, Silence
from tests.support.doubles import MovedClock


def test_who_was_silent_is_asked_again_after_a_while_by_one() -> None:
    clock = MovedClock()
    made = Silence(clock)
    assert made.worth_asking(["a", "b"], 2.0) == {"a", "b"}
    made.heard(["a"], ["b"])
    clock.advance(SILENT_FOR - 0.1)
    assert made.worth_asking(["a", "b"], 2.0) == {"a"}
    clock.advance(0.1)
    assert made.worth_asking(["a", "b"], 2.0) == {"a", "b"}
    assert made.worth_asking(["a", "b"], 2.0) == {"a"}, "somebody is asking it"
    clock.advance(2.0)
    assert made.worth_asking(["b"], 2.0) == {"b"}, "whoever asked has gone away"
    made.heard(["b"], [])
    assert made.worth_asking(["b"], 2.0) == made.worth_asking(["b"], 2.0) == {"b"}


def test_of_who_is_gone_nothing_is_remembered() -> None:
    clock = MovedClock()
    made = Silence(clock)
    for number in range(100):
        made.heard([], [f"life {number}"])
        clock.advance(SILENT_FOR)
    assert len(made._until) <= 3
