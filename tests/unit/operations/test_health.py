"""How well a session keeps up."""

from __future__ import annotations

import pytest

from sockets.delivery.hub import Room
from sockets.operations.health import Look, buffered_of, lag_of, looks
from sockets.protocol.recovery import Cursor
from sockets.reports import Health
from sockets.streams.known import Known
from sockets.types import Position
from tests.support.doubles import NOON, local_session
from tests.unit.operations.conftest import conf


def look(now: float = 0.0, wall: float = NOON) -> Look:
    return Look(now, wall, 30.0, 2.0)


def test_the_worst_is_told() -> None:
    session = local_session()
    assert look().health(session) is Health.HEALTHY
    session.cursor = Cursor("e", 1, behind=True)
    assert look().health(session) is Health.LAGGING
    session.connection.expires_at = NOON + 30.0
    assert look(wall=NOON - 0.1).health(session) is Health.LAGGING
    assert look(wall=NOON).health(session) is Health.IN_GRACE
    session.connection.stalled(10.0, 0)
    assert look(now=11.9).health(session) is Health.IN_GRACE
    assert look(now=12.0).health(session) is Health.SLOW


def test_a_full_outbox_is_slow_at_once() -> None:
    session = local_session()
    session.blocked = True
    assert look().health(session) is Health.SLOW


@pytest.mark.parametrize(("slow_timeout", "after"), [(10.0, 2.0), (1.0, 0.5)])
def test_slow_is_told_before_the_session_is_closed_for_it(
    slow_timeout: float, after: float
) -> None:
    made = looks(conf(slow_timeout=slow_timeout), lambda: 1.0, lambda: NOON)()
    assert (made.slow_after, made.now, made.wall) == (after, 1.0, NOON)


def test_the_lag_is_what_was_not_sent() -> None:
    session = local_session()
    assert lag_of(session) == 0 and buffered_of(session) == 0
    room = Room("u.42", "42", lambda room, message: None)
    session.rooms.append(room)
    assert lag_of(session) == 0, "it does not read yet"
    session.cursor = Cursor("e", 3)
    assert lag_of(session) == 0, "nobody knows the head"
    room.latest.take(Known(Position("e", 10)))
    assert lag_of(session) == 7
    session.cursor = Cursor("another", 3)
    assert lag_of(session) == 10
    assert look().report(session).lag == 10
