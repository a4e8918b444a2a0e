"""Whether a node keeps anything of clients that are gone: `scripts/bench churn` (`--help`).

2,000 clients of 1,000 users are at one node in Redis mode, as in production, but that a stream
keeps 10 messages. Every few seconds 200 of them leave and come back, after each sample all of them,
and users are sent durable and ephemeral messages, which are acknowledged. A sample is taken when as
many clients are there as ever: what the node holds of memory, descriptors and tasks, and Redis of
keys, of receipts (by which a repeated message is known, for 300 s) and of memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median

import redis

from bench.peers.contestants import Ours
from bench.peers.load import compiled
from bench.peers.machine import cores, on
from bench.peers.running import WINDOW, Running, running, wrong
from tests.support.gateway import ROOT

CLIENTS, PER_USER = 2_000, 2
LEAVE = 200
"""Clients that leave, and come, at a time."""

KEPT = 10
"""Messages that a stream keeps: few enough that all are full before the comparison begins."""

RECEIPTS = "*:idem:*"
"""The keys by which a repeated message is known. They live for 300 s, and there are as many as
durable messages were sent in those: that goes with how fast the machine is."""

MESSAGES, RATE = 300, 100
"""Notifications between, of each kind, and how many a second."""

WARM = 0.2
"""The share of the time that is left out of the comparison: caches and pools fill."""

SETTLED = 3.0
"""Seconds after which those who have just come and gone are done with."""


@dataclass(frozen=True)
class Sample:
    """What there is at a moment. `memory`: MB of the node; `redis_memory`: MB of Redis.

    `keys`: without the `receipts`.
    """

    minute: float
    memory: float
    descriptors: int
    tasks: int
    keys: int
    receipts: int
    redis_memory: float


class Counting(Ours):
    """The gateway, in a process that says how many tasks it has."""

    def environment(self, folder: Path, redis_url: str, port: int) -> dict[str, str]:
        given = super().environment(folder, redis_url, port)
        return {**given, "DJANGO_SETTINGS_MODULE": "counting", "HISTORY_SIZE": str(KEPT)}


def sample(run: Running, store: redis.Redis, minute: float) -> Sample:
    """Look at the node and at Redis."""
    pid = run.service.pid
    receipts = sum(1 for _ in store.scan_iter(RECEIPTS, count=1_000))
    return Sample(
        minute=minute,
        memory=run.memory() / 1024,
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        tasks=int((Path(run.service.environment["DATA_DIR"]) / "tasks").read_text()),
        keys=int(store.dbsize()) - receipts,  # type: ignore[arg-type]
        receipts=receipts,
        redis_memory=store.info("memory")["used_memory"] / 2**20,  # type: ignore[index]
    )


def churn(run: Running, minutes: float, every: float) -> list[Sample]:
    """Let clients come and go for so long; returns a sample for each `every` seconds."""
    store = redis.Redis.from_url(run.service.environment["REDIS_URL"])
    run.do(f"open {CLIENTS} {WINDOW}", 120)
    run.acknowledge(True)
    samples: list[Sample] = []
    begin = time.monotonic()
    due, leave = begin, LEAVE
    while (now := time.monotonic()) < begin + minutes * 60:
        for kind in run.contestant.kinds:
            run.do(f"publish {kind} user {MESSAGES} {RATE}")
        run.do(f"close {leave}")
        run.do(f"open {leave} {WINDOW}")
        leave = LEAVE
        if now >= due:
            due += every
            run.idle(SETTLED)
            samples.append(sample(run, store, (now - begin) / 60))
            print(row(samples[-1]), flush=True)
            leave = CLIENTS  # and next time all of them
    store.close()
    return samples


HEAD = "| minute | node, MB | descriptors | tasks | Redis: keys | receipts | Redis, MB |"


def row(one: Sample) -> str:
    """Return a line of the table."""
    cells = (f"{v:.1f}" if isinstance(v, float) else f"{v:,}" for v in astuple(one))
    return "| " + " | ".join(cells) + " |"


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """Return each figure of the last third as a multiple of that of the first, when it is warm.
    There is a sample at least."""
    rest = samples[int(len(samples) * WARM) :]
    third = max(1, len(rest) // 3)
    found = {}
    for name in (field.name for field in fields(Sample) if field.name != "minute"):
        first, last = (
            median(getattr(s, name) for s in part) for part in (rest[:third], rest[-third:])
        )
        found[name] = last / first if first else 1.0 + last
    return found


def main() -> int:
    """Measure, and print a table. Returns 1 if a delivery was wrong."""
    parser = argparse.ArgumentParser(
        "scripts/bench churn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (2; a soak: 30)")
    parser.add_argument(
        "--every",
        type=float,
        default=0,
        help="seconds between samples (a 30th of the time, and 15 at least)",
    )
    chosen = parser.parse_args()
    program = compiled(ROOT / "var" / "peers")
    contestant = Counting()
    contestant.install(ROOT / "var" / "peers")
    print(f"{HEAD}\n|{' --- |' * 7}", flush=True)
    with on(cores()[1]), running(contestant, program, PER_USER) as run:
        samples = churn(run, chosen.minutes, chosen.every or max(15.0, chosen.minutes * 2))
        run.wait_for_late_ones()
        tally = run.tally
    told = ", ".join(f"{name} {value:.2f}" for name, value in growth(samples).items())
    print(f"\nThe last third against the first, without the first fifth of all: {told}.")
    print(
        f"{tally['received']:,} deliveries were right; wrong: {'yes' if wrong(tally) else 'none'}."
    )
    return int(wrong(tally))


if __name__ == "__main__":
    sys.exit(main())
