"""The bodies that one port holds are bounded together."""

from __future__ import annotations

from sockets.server.bodies import BodyMemory


def test_what_is_given_back_can_be_taken_again() -> None:
    memory = BodyMemory(100)
    assert memory.take(60) and memory.take(40)
    assert not memory.take(1) and memory.held == 100
    memory.give_back(60)
    assert not memory.take(61) and memory.held == 40, "what was refused is not held"
    assert memory.take(60)
