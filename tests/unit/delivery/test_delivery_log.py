"""What a node remembers of its deliveries: the newest, with their time."""

from __future__ import annotations

from sockets.delivery.delivery_log import DeliveryLog
from tests.support.doubles import MovedClock


def test_each_decision_is_found_by_session_and_position() -> None:
    clock = MovedClock(1_000.0)
    log = DeliveryLog(clock=clock)
    log.note("S", "e", 1)
    clock.advance(2)
    log.note("S", "e", 2, excluded=True)
    assert log.find("S", "e", 1) == (1_000.0, False)
    assert log.find("S", "e", 2) == (1_002.0, True)
    for other in (("T", "e", 1), ("S", "f", 1), ("S", "e", 3)):
        assert log.find(*other) is None


def test_of_too_many_the_oldest_is_forgotten() -> None:
    log = DeliveryLog(size=2)
    for offset in (1, 2, 3):
        log.note("S", "e", offset)
    assert [log.find("S", "e", offset) is not None for offset in (1, 2, 3)] == [False, True, True]
