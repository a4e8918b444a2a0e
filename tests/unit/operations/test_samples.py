"""What one node counted, step by step."""

from __future__ import annotations

from dataclasses import replace

from sockets.base.counted import Counted
from sockets.delivery.hub import Hub
from sockets.layers.memory import MemoryChannelLayer
from sockets.operations.samples import KEEP, STEP, Sampler
from tests.support.doubles import NOON, MovedClock, local_session


class Counts:
    def __init__(self) -> None:
        self.now = Counted(delivery=(0, 0))

    def __call__(self) -> Counted:
        return self.now


def made() -> tuple[Sampler, MovedClock, Counts, Hub]:
    clock, counts, hub = MovedClock(NOON), Counts(), Hub(MemoryChannelLayer())
    return Sampler(hub, clock, counts), clock, counts, hub


def test_a_step_has_what_was_counted_in_it() -> None:
    sampler, clock, counts, hub = made()
    counts.now = replace(counts.now, connects=5, closes={"1000": 2}, delivery=(3, 1))
    hub.add(local_session())
    clock.advance(STEP + 0.3)
    sampler.ticked(0.0)
    counts.now = replace(counts.now, connects=6, closes={"1000": 2, "4003": 1}, delivery=(3, 2))
    clock.advance(STEP)
    sampler.ticked(0.0)
    one, two = sampler.after(0.0)
    assert (one.at, one.sessions, one.connects, one.closes) == (NOON + STEP, 1, 5, {"1000": 2})
    assert (two.at, two.connects, two.closes) == (NOON + 2 * STEP, 1, {"4003": 1})
    assert (one.delivery, two.delivery) == ([3, 1], [0, 1])
    assert sampler.after(NOON + STEP) == [two]


def test_between_two_steps_nothing_is_read() -> None:
    """A node that has nothing to do ticks once a second, and must cost nothing."""
    sampler, clock, counts, _ = made()
    counts.now = None  # type: ignore[assignment]  # whoever reads it fails
    for _ in range(9):
        clock.advance(1)
        sampler.ticked(0.0)
    assert sampler.after(0.0) == []


def test_steps_of_all_nodes_end_together() -> None:
    sampler, clock, _, _ = made()
    clock.now = NOON + 3 * STEP + 7.7  # it stood still
    sampler.ticked(0.0)
    clock.now = NOON + 4 * STEP
    sampler.ticked(0.0)
    assert [one.at for one in sampler.after(0.0)] == [NOON + 3 * STEP, NOON + 4 * STEP]


def test_the_worst_lag_of_a_step_is_told_for_a_step() -> None:
    sampler, clock, _, _ = made()
    sampler.ticked(0.2)
    sampler.ticked(0.1)
    assert sampler.loop_lag == 0.2
    for expected in (0.2, 0.0):
        clock.advance(STEP)
        sampler.ticked(0.0)
        assert sampler.loop_lag == expected


def test_an_hour_is_kept() -> None:
    sampler, clock, _, _ = made()
    for _ in range(KEEP + 5):
        clock.advance(STEP)
        sampler.ticked(0.0)
    assert len(sampler.after(0.0)) == KEEP


def test_a_clock_that_is_set_back_costs_no_steps() -> None:
    sampler, clock, _, _ = made()
    clock.advance(STEP)
    sampler.ticked(0.0)
    clock.now = NOON - 600
    sampler.ticked(0.0)
    assert sampler.after(0.0) == [], "what is yet to come has not been"
    clock.advance(STEP)
    sampler.ticked(0.0)
    assert [one.at for one in sampler.after(0.0)] == [NOON - 600 + STEP]
