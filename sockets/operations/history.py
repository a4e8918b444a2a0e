"""The last hour of all nodes, put together: counts are added, and so are the buckets of histograms.
The quantiles come from the sums: a mean of quantiles would be the quantile of nothing."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final

from sockets.base.metrics import DELIVERY_BOUNDS
from sockets.operations.samples import KEEP, STEP
from sockets.operations.wire import Step
from sockets.reports import Sample

MAX_NODES: Final = 100
"""Nodes whose steps are kept, the dead of the last hour among them."""

SETTLED: Final = 3.0
"""Seconds after the end of a step until all nodes have told theirs."""


class History:
    """Keeps what nodes have told of their last hour. Belongs to one event loop. `clock`: seconds
    since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._steps: dict[str, deque[Step]] = {}
        self._merged: list[Sample] | None = None

    def newest(self, node: str) -> float:
        """Return the end of the last step that is known of a node; 0: none is. Steps that are yet
        to come do not count: the clock was set back since."""
        latest = self._clock() + STEP
        steps = reversed(self._steps.get(node, ()))
        return next((step.at for step in steps if step.at <= latest), 0.0)

    def take(self, node: str, steps: Sequence[Step]) -> None:
        """Take in what a node has told; what is known already is passed over, and so is what is
        yet to come: after that nothing would count as new."""
        newest, latest = self.newest(node), self._clock() + STEP
        new = [step for step in steps if newest < step.at <= latest]
        if not new:
            return
        known = [step for step in self._steps.get(node, ()) if step.at <= newest]
        self._steps[node] = deque([*known, *new], maxlen=KEEP)
        self._merged = None
        if len(self._steps) > MAX_NODES:
            del self._steps[min(self._steps, key=self.newest)]

    def samples(self, after: float = 0.0) -> list[Sample]:
        """Return the steps of the last hour that end after a moment, oldest first."""
        now = self._clock()
        if self._merged is None:
            self._merged = self._merge(now)
        oldest = max(after, now - KEEP * STEP)
        return [one for one in self._merged if oldest < one.at <= now - SETTLED]

    def _merge(self, now: float) -> list[Sample]:
        oldest = now - KEEP * STEP
        for node in [node for node in self._steps if self.newest(node) <= oldest]:
            del self._steps[node]
        by_end: dict[float, list[Step]] = {}
        for steps in self._steps.values():
            for step in steps:
                if step.at > oldest:
                    by_end.setdefault(step.at, []).append(step)
        return [_sample(at, by_end[at]) for at in sorted(by_end)]


def _sample(at: float, steps: Sequence[Step]) -> Sample:
    delivery = _columns(step.delivery for step in steps)
    closes: Counter[str] = Counter()
    for step in steps:
        closes.update(step.closes)
    return Sample(
        at=at,
        sessions=sum(step.sessions for step in steps),
        users=sum(step.users for step in steps),
        workers=sum(step.workers for step in steps),
        connects=sum(step.connects for step in steps),
        closes=dict(sorted(closes.items())),
        messages_in=sum(step.messages_in for step in steps),
        messages_out=sum(step.messages_out for step in steps),
        refusals=sum(step.refusals for step in steps),
        recovered=sum(step.recovered for step in steps),
        unrecovered=sum(step.unrecovered for step in steps),
        dropped=sum(step.dropped for step in steps),
        delivery_p50=quantile(delivery, 0.5),
        delivery_p99=quantile(delivery, 0.99),
    )


def _columns(rows: Iterable[Sequence[int]]) -> list[int]:
    """Add the buckets; those of a version with other bounds count for nothing."""
    size = len(DELIVERY_BOUNDS) + 1
    fitting = [row for row in rows if len(row) == size]
    return [sum(column) for column in zip(*fitting, strict=True)]


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """Return the time within which a share of the deliveries was, as Prometheus reckons it: within
    a bucket they are taken to be spread evenly. None: there was none. Beyond the last bound it is
    that bound."""
    total = sum(buckets)
    if not total:
        return None
    rank, lower, before = share * total, 0.0, 0
    for bound, reached in zip(DELIVERY_BOUNDS, accumulate(buckets), strict=False):
        if reached >= rank:
            return lower + (bound - lower) * (rank - before) / (reached - before)
        lower, before = bound, reached
    return float(DELIVERY_BOUNDS[-1])
