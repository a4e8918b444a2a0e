"""`python -m bench.operations`: see --help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from statistics import median

from bench.operations.pages import Cost
from bench.operations.room import Scale, opened
from bench.peers.load import LoadFailed, NoCompiler, compiled
from bench.peers.machine import described
from bench.peers.report import markdown, number
from tests.support.gateway import ROOT

CACHE = ROOT / "var" / "peers"
FULL = Scale(
    sessions=20_000, messages=2, workers=50, refused=200, rows=5_000, requests=20, pause=0.6
)
"""`pause`: a node finds anew what was found more than half a second ago."""

HELP = """\
Measure the pages of the admin's operations room in a web process, while clients, half of them on
each of two nodes, are connected: real sockets with tokens, presence and durable positions. Prints
for each page its time, CPU of the web process and of both nodes, SQL queries, commands to Redis,
and bytes. Takes about ten minutes.
"""

HEAD = (
    *("page", "ms, median", "ms, largest", "web CPU, ms", "nodes CPU, ms", "SQL queries"),
    *("Redis commands", "KB"),
)


def row(title: str, costs: Sequence[Cost]) -> list[str]:
    """Return a line of the table: medians, and of the time the largest, too."""

    def middle(name: str) -> float:
        return float(median(getattr(cost, name) for cost in costs))

    return [
        title,
        number(middle("seconds") * 1e3),
        number(max(cost.seconds for cost in costs) * 1e3),
        number(middle("web") * 1e3),
        number(middle("nodes") * 1e3),
        f"{middle('queries'):g}",
        f"{middle('commands'):g}",
        number(middle("size") / 1e3),
    ]


def table(costs: Iterable[tuple[str, Sequence[Cost]]]) -> str:
    """Return the table of all pages."""
    return markdown([HEAD, *(row(title, some) for title, some in costs)])


def main() -> int:
    """Measure, and print the table. Returns 1 where something was not as it should be."""
    parser = argparse.ArgumentParser("scripts/bench operations", description=HELP)
    parser.add_argument("--sessions", type=int, default=FULL.sessions)
    parser.add_argument("--requests", type=int, default=FULL.requests, help="for each page")
    chosen = parser.parse_args()
    given = {**vars(FULL), **vars(chosen)}
    try:
        with opened(Scale(**given), compiled(CACHE)) as room:
            found = []
            for title, costs in room.costs():
                print(f"{title}: {median(one.seconds for one in costs) * 1e3:.0f} ms", flush=True)
                found.append((title, costs))
            lost = room.lost()
    except (NoCompiler, LoadFailed, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{chosen.sessions} sessions on two nodes; {described()}\n\n{table(found)}")
    if lost:
        print(f"\n{lost} clients were lost meanwhile", file=sys.stderr)
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
