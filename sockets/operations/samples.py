"""The last hour of one node, in steps: what it counted in each of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from math import floor
from typing import Final

from sockets.base.counted import Counted, counted
from sockets.delivery.hub import Hub
from sockets.operations.wire import Step
from sockets.types import Kind

STEP: Final = 10.0
"""Seconds of a step."""

KEEP: Final = 360
"""Steps that are kept: an hour."""


class Sampler:
    """Belongs to the node's event loop. `clock`: seconds since the epoch, the same for all nodes:
    their steps end at the same moments."""

    def __init__(
        self,
        hub: Hub,
        clock: Callable[[], float] = time.time,
        count: Callable[[], Counted] = counted,
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._count = count
        self._steps: deque[Step] = deque(maxlen=KEEP)
        self._before = count()
        self._next = self._end_of(clock())
        self._lag = self._shown_lag = 0.0

    @property
    def loop_lag(self) -> float:
        """Seconds that the loop was late at worst, in the last step or since."""
        return max(self._lag, self._shown_lag)

    def ticked(self, late: float) -> None:
        """From the heartbeat, in each of its rounds: the loop was so many seconds late."""
        if late > self._lag:
            self._lag = late
        now = self._clock()
        if now >= self._next:
            self._sample(now)
        elif now < self._next - STEP:  # the clock was set back: no hour without a step
            self._steps = deque((step for step in self._steps if step.at <= now), maxlen=KEEP)
            self._next = self._end_of(now)

    def after(self, at: float) -> list[Step]:
        """Return the steps that end after a moment, oldest first."""
        return [step for step in self._steps if step.at > at]

    def _sample(self, now: float) -> None:
        after = self._count()
        at = floor(now / STEP) * STEP
        self._steps.append(_difference(at, self._before, after, self._hub))
        self._before, self._next = after, self._end_of(now)
        self._shown_lag, self._lag = self._lag, 0.0

    @staticmethod
    def _end_of(now: float) -> float:
        return (floor(now / STEP) + 1) * STEP


def _difference(at: float, before: Counted, after: Counted, hub: Hub) -> Step:
    return Step(
        at=at,
        sessions=len(hub),
        users=hub.users(),
        workers=hub.count(Kind.WORKER),
        connects=after.connects - before.connects,
        closes=_gained(before.closes, after.closes),
        messages_in=after.messages_in - before.messages_in,
        messages_out=after.messages_out - before.messages_out,
        refusals=after.refusals - before.refusals,
        recovered=after.recovered - before.recovered,
        unrecovered=after.unrecovered - before.unrecovered,
        dropped=after.dropped - before.dropped,
        delivery=[new - old for old, new in zip(before.delivery, after.delivery, strict=True)],
    )


def _gained(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    gained = {code: count - before.get(code, 0) for code, count in after.items()}
    return {code: count for code, count in gained.items() if count}
