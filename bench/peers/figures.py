"""The figures: their names, units and aims, and the values that rounds have brought."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum


class Of(Enum):
    """What a must is about."""

    RATIO = "ours : theirs"
    OURS = "ours"


@dataclass(frozen=True)
class Figure:
    """A row of the table. `group`: what `--only` calls it. `must`: what ours has to reach.

    `more`: a greater value is the better one.
    """

    key: str
    group: str
    title: str
    unit: str
    must: float | None = None
    of: Of = Of.RATIO
    more: bool = False

    def met(self, value: float) -> bool | None:
        """Return whether a median is as it must be; None where nothing is demanded."""
        if self.must is None:
            return None
        return value >= self.must if self.more else value <= self.must


MS = "ms/s"
US = "us"

FIGURES = (
    Figure("idle 0", "idle", "idle, no client: service", MS, 3, Of.OURS),
    Figure("idle 0 redis", "idle", "… Redis", MS),
    Figure("idle 2000", "idle", "idle, 2,000 clients: service", MS),
    Figure("idle 2000 redis", "idle", "… Redis", MS),
    Figure("idle 10000", "idle", "idle, 10,000 clients: service", MS, 45, Of.OURS),
    Figure("idle 10000 redis", "idle", "… Redis", MS, 25, Of.OURS),
    Figure("connect 2000", "connect", "connect, 2,000 open: service", US, 3.7),
    Figure("connect 2000 redis", "connect", "… Redis", US),
    Figure("connects 2000", "connect", "connects a second, 2,000 open", "1/s", more=True),
    Figure("connect 10000", "connect", "connect, 10,000 open: service", US),
    Figure("connects 10000", "connect", "connects a second, 10,000 open", "1/s", more=True),
    Figure(
        "connects scale", "connect", "… 10,000 open : 2,000 open", "times", 0.9, Of.OURS, more=True
    ),
    Figure("disconnect", "disconnect", "disconnect", US),
    Figure("memory 10000", "memory", "memory of an idle client, over 10,000", "KB", 27, Of.OURS),
    Figure("steady durable", "steady", "notify, 500/s, durable", US, 1.4),
    Figure("p50 durable", "steady", "… p50", "ms"),
    Figure("p99 durable", "steady", "… p99", "ms", 1.5),
    Figure("steady acked", "steady", "notify, 500/s, durable and acknowledged", US),
    Figure("p50 acked", "steady", "… p50", "ms"),
    Figure("p99 acked", "steady", "… p99", "ms"),
    Figure("steady ephemeral", "steady", "notify, 500/s, ephemeral", US, 1.1),
    Figure("p50 ephemeral", "steady", "… p50", "ms"),
    Figure("p99 ephemeral", "steady", "… p99", "ms", 1.5),
    Figure("burst durable", "burst", "notify, burst, durable", US, 1.0),
    Figure("burst ephemeral", "burst", "notify, burst, ephemeral", US, 0.8),
    Figure("broadcast burst", "broadcast", "broadcast to 2,000, burst", US, 1.0),
    Figure("broadcast paced", "broadcast", "broadcast to 2,000, 10/s", US, 1.05),
    Figure("p99 10000", "beside", "notify, 500/s, to 10,000 clients: p99", "ms"),
    Figure("p99 beside", "beside", "… beside a broadcast to all of them each second: p99", "ms"),
    Figure("inbound", "inbound", "`send` with reply", US, 3.5),
    Figure("scale", "scale", "delivery to 15,000 : to 1,000, burst", "times", 1.25, Of.OURS),
    Figure("storm seconds", "storm", "10,000 back after kill -9, default limits", "s", 9, Of.OURS),
    Figure("storm missed", "storm", "… messages missed", "", 0, Of.OURS),
)

GROUPS = tuple(dict.fromkeys(figure.group for figure in FIGURES))

Samples = dict[str, list[float]]
"""The values of one contestant, by the key of the figure; those of one place are of one round."""


def no_samples() -> Samples:
    """Return an empty collection of values."""
    return defaultdict(list)
