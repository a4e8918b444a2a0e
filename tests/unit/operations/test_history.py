"""The last hour of all nodes."""

from __future__ import annotations

import pytest

from sockets.base.metrics import DELIVERY_BOUNDS
from sockets.operations import history
from sockets.operations.history import History, quantile
from sockets.operations.samples import KEEP, STEP
from sockets.operations.wire import Step
from tests.support.doubles import NOON, MovedClock

BUCKETS = len(DELIVERY_BOUNDS) + 1


def buckets(**counts: int) -> list[int]:
    """`b3=5`: five in the bucket of index 3."""
    found = [0] * BUCKETS
    for name, count in counts.items():
        found[int(name[1:])] = count
    return found


def test_counts_are_added() -> None:
    clock = MovedClock(NOON + 100)
    made = History(clock)
    made.take("a", [Step(NOON, sessions=2, connects=1, closes={"1000": 1})])
    made.take("b", [Step(NOON, sessions=3, connects=2, closes={"1000": 2, "4003": 1})])
    (one,) = made.samples()
    assert (one.at, one.sessions, one.connects) == (NOON, 5, 3)
    assert one.closes == {"1000": 3, "4003": 1}
    assert (one.delivery_p50, one.delivery_p99) == (None, None)


def test_quantiles_come_from_the_buckets_of_all() -> None:
    """99 quick ones at one node and one slow one at another: the median of the medians would be
    half a minute."""
    made = History(MovedClock(NOON + 100))
    made.take("a", [Step(NOON, delivery=buckets(b0=99))])
    made.take("b", [Step(NOON, delivery=buckets(b13=1))])
    made.take("of other bounds", [Step(NOON, delivery=[7])])
    (one,) = made.samples()
    assert one.delivery_p50 is not None and one.delivery_p50 < 0.001
    assert one.delivery_p99 == pytest.approx(0.001)


def test_a_quantile_as_prometheus_has_it() -> None:
    assert quantile(buckets(), 0.5) is None
    assert quantile(buckets(b0=10), 0.5) == pytest.approx(0.0005)
    assert quantile(buckets(b0=5, b1=5), 0.75) == pytest.approx(0.00175)
    assert quantile(buckets(b14=1), 0.5) == DELIVERY_BOUNDS[-1], "beyond the last bound"


def test_only_new_steps_are_taken_and_told() -> None:
    made = History(MovedClock(NOON + 100))
    assert made.newest("a") == 0.0
    made.take("a", [Step(NOON), Step(NOON + STEP)])
    made.take("a", [Step(NOON + STEP), Step(NOON + 2 * STEP)])
    assert made.newest("a") == NOON + 2 * STEP
    assert [one.at for one in made.samples()] == [NOON, NOON + STEP, NOON + 2 * STEP]
    assert [one.at for one in made.samples(NOON + STEP)] == [NOON + 2 * STEP]


def test_a_clock_that_is_set_back_ends_no_chart() -> None:
    clock = MovedClock(NOON + 100)
    made = History(clock)
    made.take("a", [Step(NOON, sessions=1), Step(NOON + 90, sessions=2)])
    clock.now = NOON + 50
    assert made.newest("a") == NOON
    made.take("a", [Step(NOON + 40, sessions=3), Step(NOON + 90, sessions=4), Step(1e300)])
    assert made.newest("a") == NOON + 40, "what is yet to come is not known"
    clock.now = NOON + 100
    assert [(one.at, one.sessions) for one in made.samples()] == [(NOON, 1), (NOON + 40, 3)]


def test_a_step_is_told_when_all_had_time_to_tell_it() -> None:
    clock = MovedClock(NOON)
    made = History(clock)
    made.take("a", [Step(NOON, sessions=1)])
    assert made.samples() == []
    made.take("b", [Step(NOON, sessions=1)])
    clock.advance(3)
    assert [one.sessions for one in made.samples()] == [2]


def test_an_hour_is_kept_also_of_a_node_that_is_gone() -> None:
    clock = MovedClock(NOON)
    made = History(clock)
    made.take("gone", [Step(NOON, sessions=7)])
    clock.advance(KEEP * STEP - 10)
    made.take("a", [Step(clock.now - 5)])
    assert [one.sessions for one in made.samples()] == [7, 0]
    clock.advance(20)
    made.take("a", [Step(clock.now - 5)])
    assert [one.sessions for one in made.samples()] == [0, 0]


def test_there_are_so_many_nodes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_NODES", 2)
    made = History(MovedClock(NOON + 100))
    for number, name in enumerate("abc"):
        made.take(name, [Step(NOON + number, sessions=1)])
    assert sum(one.sessions for one in made.samples()) == 2
    assert made.newest("a") == 0.0, "whose last step was longest ago"
