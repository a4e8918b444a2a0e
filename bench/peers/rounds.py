"""What a round does with one contestant: open clients, send to them, and note what that costs.

A small round holds 2,000 clients (two for each of 1,000 users, so each notification is two
deliveries); a large one 10,000 clients of as many users. Each contestant begins a round anew, as
a fresh process with an empty Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from statistics import median

from bench.peers.figures import Samples
from bench.peers.running import WINDOW, Running

SMALL, LARGE = 2_000, 10_000
PER_USER = 2
MORE = 500
"""Clients that come and go where a connect is measured."""

RATE = 500
"""Notifications a second, where they are steady."""

BURST = 5_000
"""Notifications of a burst."""

NOBODY = 10
"""Seconds of idling without any client."""

BURSTS = 15
"""How many of them, where their median counts."""

BROADCASTS = 30
REQUESTS = 5_000
BESIDE = 1_000
"""Milliseconds between two broadcasts beside other messages."""


@dataclass(frozen=True)
class Seconds:
    """How long is measured; what is not here is so many of something. `idle`: at most, for it is
    the contestant's own period, in which each client has its turn."""

    steady: float
    paced: float
    idle: float
    settle: float


@dataclass(frozen=True)
class Round:
    """A kind of round. `groups`: those of its figures that it can measure."""

    name: str
    groups: Set[str]
    per_user: int
    measure: Callable[[Running, Samples, Seconds, Set[str]], None]


def small(run: Running, note: Samples, seconds: Seconds, wanted: Set[str]) -> None:
    """Measure connects, deliveries, broadcasts and requests with 2,000 clients."""
    run.do(f"open {SMALL} {WINDOW}", 120)
    _warm_up(run)
    if wanted & {"connect", "disconnect"}:
        _connect(run, note, "2000", close=True)
    run.idle(seconds.settle)
    for kind in run.contestant.kinds:
        rows = (kind,) if kind != "message" else ("durable", "acked", "ephemeral")
        if "steady" in wanted:
            _steady(run, note, seconds, kind, rows)
        if "burst" in wanted:
            used = run.do(f"burst {kind} user {BURST} {run.service.pid}")
            for row in rows:
                note[f"burst {row}"].append(used.each(BURST * PER_USER)[0])
    if "steady" in wanted and run.contestant.ack:
        run.acknowledge(True)
        _steady(run, note, seconds, run.contestant.kinds[0], ("acked",))
        run.acknowledge(False)
    if "broadcast" in wanted:
        used = run.do(f"publish broadcast all {BROADCASTS} 0")
        note["broadcast burst"].append(used.each(BROADCASTS * SMALL)[0])
        count = int(10 * seconds.paced)
        used = run.do(f"publish broadcast all {count} 10")
        note["broadcast paced"].append(used.each(count * SMALL)[0])
    if "inbound" in wanted:
        note["inbound"].append(run.do(f"echo {REQUESTS} {WINDOW}").each(REQUESTS)[0])


def large(run: Running, note: Samples, seconds: Seconds, wanted: Set[str]) -> None:
    """Measure idling, memory and connects, from no client to 10,000."""
    run.idle(seconds.settle)
    if "idle" in wanted:
        _idle(run, note, "0", NOBODY)
    empty = run.memory()
    run.do(f"open {SMALL} {WINDOW}", 120)
    few = _connect(run, None, "2000", close=False) if "connect" in wanted else 0
    opened = SMALL + (MORE if few else 0)
    run.do(f"open {LARGE - opened} {WINDOW}", 300)
    run.idle(seconds.settle)
    if "idle" in wanted:
        _idle(run, note, "10000", min(seconds.idle, run.contestant.period))
    if "memory" in wanted:
        note["memory 10000"].append((run.memory() - empty) / LARGE)
    if "connect" in wanted:
        many = _connect(run, note, "10000", close=True)
        note["connects scale"].append(many / few)


def quick(run: Running, note: Samples, seconds: Seconds, wanted: Set[str]) -> None:
    """Measure idling without the time that 10,000 clients take."""
    _idle(run, note, "0", NOBODY)
    run.do(f"open {SMALL} {WINDOW}", 120)
    run.idle(seconds.settle)
    _idle(run, note, "2000", min(seconds.idle, run.contestant.period))


def scale(run: Running, note: Samples, seconds: Seconds, wanted: Set[str]) -> None:
    """Measure what a delivery costs with 1,000 clients and with 15,000.

    With 15,000 the service is busy in lumps while it idles, and each costs as much as a burst: the
    median of many short bursts has few of them within, where a difference of two long windows would
    tell of nothing else.
    """
    costs = []
    for more in (1_000, 14_000):
        run.do(f"open {more} {WINDOW}", 300)
        _warm_up(run)
        run.idle(seconds.settle)
        command = f"burst {run.contestant.kinds[0]} user {BURST} {run.service.pid}"
        costs.append(median(run.do(command).each(BURST)[0] for _ in range(BURSTS)))
    note["scale"].append(costs[1] / costs[0])


def beside(run: Running, note: Samples, seconds: Seconds, wanted: Set[str]) -> None:
    """Measure how long messages to users take while all of 10,000 clients get others."""
    run.do(f"open {LARGE} {WINDOW}", 300)
    _warm_up(run)
    run.idle(seconds.settle)
    kind, count = run.contestant.kinds[0], int(RATE * seconds.paced)
    for name, every in (("p99 10000", 0), ("p99 beside", BESIDE)):
        run.load.ask(f"number beside {every}")
        used = run.do(f"publish {kind} user {count} {RATE}", seconds.paced + 30)
        note[name].append(used.answer["p99"])


ROUNDS = {
    "small": Round(
        "small",
        {"connect", "disconnect", "steady", "burst", "broadcast", "inbound"},
        PER_USER,
        small,
    ),
    "large": Round("large", {"idle", "memory", "connect"}, 1, large),
    "quick": Round("quick", {"idle"}, PER_USER, quick),
    "scale": Round("scale", {"scale"}, 1, scale),
    "beside": Round("beside", {"beside"}, 1, beside),
}


def _warm_up(run: Running) -> None:
    """Let compilers, caches and pools of all contestants see what comes."""
    for kind in run.contestant.kinds:
        run.do(f"publish {kind} user 3000 0")
    run.do("publish broadcast all 5 0")
    run.do(f"echo 2000 {WINDOW}")


def _steady(run: Running, note: Samples, seconds: Seconds, kind: str, rows: Sequence[str]) -> None:
    """Notify at a steady rate, and note what that costs and takes in these rows."""
    count = int(RATE * seconds.steady)
    used = run.do(f"publish {kind} user {count} {RATE}", seconds.steady + 30)
    for row in rows:
        note[f"steady {row}"].append(used.each(count * PER_USER)[0])
        note[f"p50 {row}"].append(used.answer["p50"])
        note[f"p99 {row}"].append(used.answer["p99"])


def _connect(run: Running, note: Samples | None, opened: str, *, close: bool) -> float:
    """Open some clients more, and close them; return how many a second came in."""
    used = run.do(f"open {MORE} {WINDOW}", 60)
    rate = MORE / float(used.answer["seconds"])
    if note is not None:
        node, redis = used.each(MORE)
        note[f"connect {opened}"].append(node)
        note[f"connects {opened}"].append(rate)
        if opened == "2000":
            note["connect 2000 redis"].append(redis)
    if close:
        rest = run.idle(0.5)
        used = run.do(f"close {MORE}", 60)
        after = run.idle(0.5)  # what is left to do of it
        if note is not None and opened == "2000":
            note["disconnect"].append((used.node + after.node - rest.node) / MORE * 1e6)
    return rate


def _idle(run: Running, note: Samples, clients: str, seconds: float) -> None:
    used = run.idle(seconds)
    note[f"idle {clients}"].append(used.node / used.seconds * 1e3)
    note[f"idle {clients} redis"].append(used.redis / used.seconds * 1e3)
