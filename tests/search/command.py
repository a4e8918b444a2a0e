"""The command line of the search."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.search.faults import ALL, RULES
from tests.search.oracle import Violation
from tests.search.record import Record
from tests.search.run import Result, Run
from tests.search.schedule import Schedule, draw
from tests.search.shrink import shrink
from tests.search.stage import abilities
from tests.support.gateway import ROOT

KEEP = ROOT / "artifacts" / "search"
TRIES = 3
SHRINK_MINUTES = 15.0
BUSY = 1000
"""Milliseconds that this process was called late; from then on times prove little."""

HELP = """\
Draw schedules of faults from seeds, play them on real processes, and check the promises.

Each schedule starts two or three gateways, a store (one Valkey, a Sentinel pair or a Cluster), an
API server, workers and clients that count every message, and then does to them what its seed has
drawn: links cut and reset, processes frozen and killed, fail-overs, stores that go back in time,
full memory, missing rights, wrong clocks, locked and full databases. What each fault allows is the
table in tests/search/faults.py; everything else is a violation (tests/search/oracle.py).
"""

EXAMPLES = f"""\
examples:
  scripts/soak search --minutes 10                  ten minutes, from a seed of the moment (printed)
  scripts/soak search --seed 7 --minutes 30         seeds 7, 8, 9, ... for half an hour
  scripts/soak search --seed 7 --count 1            seed 7 alone
  scripts/soak search --seed 1 --only rst,oom       only these faults
  scripts/soak search --seed 7 --show               print what seed 7 draws; start nothing
  scripts/soak search --replay artifacts/search/7/least.json

A schedule that shows a violation is played up to {TRIES} times more. If the violation does not
come back it is called rare; if it does, steps are left out while it still comes
({SHRINK_MINUTES:.0f} minutes at most; --no-shrink leaves that out). artifacts/search/SEED/ then has
schedule.json, violations.json, least.json and the logs. The exit code is 1 if there was any
violation.
"""


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    options = _parser().parse_args(arguments)
    can = abilities()
    only = frozenset(filter(None, options.only.split(",")))
    if unknown := only - RULES.keys():
        sys.exit(f"no such faults: {', '.join(sorted(unknown))}; --list names them all")
    if options.list:
        _list(can)
        return 0
    if options.replay:
        try:
            schedules = [Schedule.read(options.replay)]
        except (OSError, ValueError) as error:
            sys.exit(f"{options.replay}: {error}")
        options.count = 1
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)

    def schedule(number: int) -> Schedule:
        if options.replay:
            return schedules[0]
        return draw(seed + number, can, steps=options.steps, store=options.store, only=only)

    if options.show:
        _show(schedule(0))
        return 0
    _say_what_is_left_out(can)
    search = Search(shrinks=not options.no_shrink, repeats=not options.replay)
    end = time.monotonic() + options.minutes * 60
    number = 0
    while (options.count and number < options.count) or (
        not options.count and time.monotonic() < end
    ):
        asyncio.run(search.one(schedule(number)))
        number += 1
    return search.sum_up()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/soak search",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seed", type=int, help="the first seed; later schedules count on from it")
    add("--minutes", type=float, default=10, help="begin schedules for so long (default: 10)")
    add("--count", type=int, help="so many schedules, however long they take")
    add("--steps", type=int, help="steps of each schedule (default: the seed draws 4 to 7)")
    add("--store", choices=sorted(ALL), help="the sort of store (default: the seed draws it)")
    add("--only", default="", metavar="KIND,...", help="draw these kinds of faults alone")
    add("--replay", type=Path, metavar="FILE", help="play a kept schedule, once")
    add("--show", action="store_true", help="print the schedule and end")
    add("--list", action="store_true", help="print the kinds of faults, what each allows, and end")
    add("--no-shrink", action="store_true", help="keep failures as they are")
    return parser


class Search:
    """Plays schedules, keeps what fails, counts everything."""

    def __init__(self, *, shrinks: bool, repeats: bool) -> None:
        self._shrinks = shrinks
        self._repeats = repeats
        self._totals: Counter[str] = Counter()
        self._failed: list[tuple[int, str, Counter[str]]] = []
        self._runs = 0

    async def one(self, schedule: Schedule) -> None:
        setting = schedule.setting
        say(
            f"\nseed {schedule.seed}: {setting.nodes} nodes, store {setting.store}"
            f" ({setting.durability}), {len(schedule.steps)} steps"
        )
        _show_steps(schedule)
        folder = KEEP / str(schedule.seed)
        shutil.rmtree(folder, ignore_errors=True)
        result = await self._play(schedule, folder / "logs")
        late = result.figures.pop("ms late at most")
        self._totals.update(result.figures)
        self._totals["schedules"] += 1
        say("  " + ", ".join(f"{value} {name}" for name, value in result.figures.items()))
        if late > BUSY:
            say(f"  the machine was busy: {late} ms late; what is about times may be its fault")
        if not result.violations:
            shutil.rmtree(folder, ignore_errors=True)
            return
        _keep(folder, schedule, result)
        for violation in _few(result.violations):
            say(f"  VIOLATION {violation.kind}: {violation.text}")
        often = "seen"
        if self._repeats:
            often = await self._again(schedule, folder, {v.kind for v in result.violations})
        self._failed.append((schedule.seed, often, Counter(v.kind for v in result.violations)))

    async def _play(self, schedule: Schedule, folder: Path) -> Result:
        self._runs += 1
        return await Run(schedule, folder).run()

    async def _again(self, schedule: Schedule, folder: Path, kinds: set[str]) -> str:
        """Whether it comes back; and if so the least schedule that shows it."""
        runs = 0

        async def fails(some: Schedule) -> bool:
            nonlocal runs
            runs += 1
            found = (await self._play(some, folder / f"again-{runs}")).violations
            same = kinds & {violation.kind for violation in found}
            if not same:
                shutil.rmtree(folder / f"again-{runs}", ignore_errors=True)
            return bool(same)

        if not self._shrinks:
            return "once"
        attempt = 1
        while not await fails(schedule):
            if attempt == TRIES:
                say(f"  rare: it did not come back in {TRIES} tries")
                return "rare"
            attempt += 1
        say(f"  it came back at try {attempt}; leaving steps out")
        least = await shrink(schedule, fails, deadline=time.monotonic() + SHRINK_MINUTES * 60)
        (folder / "least.json").write_text(least.to_json())
        say(f"  the least schedule that shows it: {folder / 'least.json'}")
        _show_steps(least)
        return f"at try {attempt}"

    def sum_up(self) -> int:
        """Print the totals; the exit code."""
        totals = dict(self._totals)
        say(f"\n{totals.pop('schedules', 0)} schedules in {self._runs} runs")
        say("  " + ", ".join(f"{value} {name}" for name, value in totals.items()))
        for seed, often, kinds in self._failed:
            text = "; ".join(f"{kind} ({n})" for kind, n in kinds.most_common())
            say(f"  seed {seed} ({often}): {text}")
        say(f"{len(self._failed)} schedules with violations" if self._failed else "no violation")
        return int(bool(self._failed))


def _keep(folder: Path, schedule: Schedule, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schedule.json").write_text(schedule.to_json())
    found = [asdict(violation) for violation in result.violations]
    windows = [
        {"kind": w.kind, "target": w.target, "began": w.began, "ended": w.ended}
        for w in result.record.windows
    ]
    kept = {"violations": found, "faults": windows, "figures": result.figures}
    (folder / "record.json").write_text(json.dumps(_plain(result.record), indent=1) + "\n")
    (folder / "violations.json").write_text(json.dumps(kept, indent=1) + "\n")


def _plain(record: Record) -> dict[str, Any]:
    """All that was seen, but the logs and the streams."""
    found = asdict(replace(record, logs={}, streams={}, windows=[]))
    found["calls"] = list(found["calls"].values())
    return found


def _few(violations: list[Violation]) -> list[Violation]:
    """At most three of each kind."""
    seen: Counter[str] = Counter()
    few = []
    for violation in violations:
        seen[violation.kind] += 1
        if seen[violation.kind] <= 3:
            few.append(violation)
    return few


def _list(can: frozenset[str]) -> None:
    for kind, rule in RULES.items():
        missing = rule.needs - can
        note = f"  [left out here: no {', '.join(sorted(missing))}]" if missing else ""
        allowed = ", ".join(sorted(rule.may)) or "nothing"
        say(f"{kind:16} {rule.target:9} allows: {allowed}{note}")


def _say_what_is_left_out(can: frozenset[str]) -> None:
    left = {kind: rule.needs - can for kind, rule in RULES.items() if rule.needs - can}
    for kind, missing in left.items():
        say(f"left out: {kind} (this machine has no {', '.join(sorted(missing))})")


def _show(schedule: Schedule) -> None:
    say(schedule.to_json())
    _show_steps(schedule)


def _show_steps(schedule: Schedule) -> None:
    for line in schedule.describe():
        say(f"  {line}")


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
