"""What a node remembers of its deliveries: the newest, with their time."""

from __future__ import annotations

from sockets.delivery.delivery_log import DeliveryLog
from tests.support.doubles import MovedClock


def test_each_decision_is_found_by_session_and_position() -> None:
    clock = MovedClock(1_000.0)
    log = DeliveryLog(clock=clock)
    log.note("e", 1, ["S", "R"])
    clock.advance(2)
    log.note("e", 2, ["R"], ["S"])
    assert log.find("S", "e", 1) == (1_000.0, False)
    assert log.find("S", "e", 2) == (1_002.0, True)
    assert log.find("R", "e", 2) == (1_002.0, False)
    for other in (("T", "e", 1), ("S", "f", 1), ("S", "e", 3)):
        assert log.find(*other) is None


def test_of_too_many_the_oldest_is_forgotten() -> None:
    log = DeliveryLog(size=4)
    for offset in (1, 2, 3):
        log.note("e", offset, ["S"], ["T"])
    assert [log.find("S", "e", offset) is not None for offset in (1, 2, 3)] == [False, True, True]
    log.note("e", 4, [f"s{number}" for number in range(5)])
    assert log.find("T", "e", 3) is log.find("s0", "e", 4) is None, "more than it has space for"
    log.note("e", 5, ["S"])
    assert log.find("S", "e", 5) is not None
