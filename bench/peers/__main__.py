"""`python -m bench.peers`: see --help."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from bench.peers import report
from bench.peers.contestants import (
    Contestant,
    NotInstalled,
    Ours,
    PythonSocketIo,
    SocketIo,
    Tutorial,
    Ws,
)
from bench.peers.figures import FIGURES, GROUPS, Samples, no_samples
from bench.peers.load import LoadFailed, NoCompiler, compiled
from bench.peers.machine import cores, described, on
from bench.peers.rounds import ROUNDS, Seconds
from bench.peers.running import running, wrong
from bench.peers.storm import storm
from tests.support.gateway import ROOT

CACHE = ROOT / "var" / "peers"

HELP = """\
Measures the gateway beside the service that it replaces (`ws` + `ioredis`): CPU time of each
service on a core of its own, every delivery checked, rounds of both in turn. Prints medians, the
ratio over the pairs and where it lies with 90 % certainty. What each figure means, and how to
profile what you find: bench/README.md.
"""

EXAMPLES = f"""\
figures for --only: {", ".join(GROUPS)}

  scripts/bench peers                             ours and ws, under ten minutes on two cores
  scripts/bench peers --quick                     under two, without the rounds of 10,000 clients
  scripts/bench peers --only steady,burst         some figures
  scripts/bench peers --against ../before         a checkout in the place of ws: before and after
  scripts/bench peers --only storm                10,000 clients whose node is killed
  scripts/bench peers --all --only steady,burst   socket.io, python-socketio and the tutorial too
  scripts/bench peers --full --write FILE         what counts, in an hour; into a file as well
"""


@dataclass(frozen=True)
class Plan:
    """Which rounds there are, and how long their parts take. `minutes`: no round begins that would
    not end by then."""

    rounds: Sequence[str]
    seconds: Seconds
    minutes: float
    extra: int
    """Rounds of those that the plan has not, where they are asked for."""


STANDARD = Plan(
    ("large", *["small"] * 5, "large", *["small"] * 4),
    Seconds(steady=4, paced=2, idle=50, settle=1),
    minutes=9.5,
    extra=3,
)
QUICK = Plan(
    ("quick", "small", "small"), Seconds(steady=3, paced=2, idle=20, settle=1), minutes=1.9, extra=1
)
FULL = Plan(
    ("large", "small") * 9 + ("scale", "beside", "storm") * 3,
    Seconds(steady=30, paced=30, idle=50, settle=10),
    minutes=90,
    extra=3,
)
STORM = 10_000


@dataclass
class Measured:
    """What the rounds have brought so far."""

    samples: dict[str, Samples] = field(default_factory=dict)
    tallies: dict[str, Counter[str]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[Samples, Counter[str]]:
        samples = self.samples.setdefault(name, no_samples())
        return samples, self.tallies.setdefault(name, Counter())


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        "scripts/bench peers",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="under two minutes")
    length.add_argument("--full", action="store_true", help="nine pairs of 30 s: about an hour")
    peers = parser.add_mutually_exclusive_group()
    peers.add_argument(
        "--all", action="store_true", help="socket.io, python-socketio and the tutorial too"
    )
    peers.add_argument("--ours-only", action="store_true", help="no peer, and so no ratios")
    peers.add_argument(
        "--against", type=Path, metavar="DIR", help="another checkout of the gateway as the peer"
    )
    parser.add_argument(
        "--gateway", type=Path, default=ROOT, metavar="DIR", help="the checkout that is ours"
    )
    parser.add_argument(
        "--only", type=_groups, default=frozenset(), metavar="FIGURE,…", help="some figures alone"
    )
    parser.add_argument("--write", type=_file, metavar="FILE", help="the tables go there as well")
    return parser.parse_args(given)


def _groups(text: str) -> frozenset[str]:
    groups = frozenset(text.split(","))
    if unknown := groups - set(GROUPS):
        raise argparse.ArgumentTypeError(
            f"there is no figure {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}"
        )
    return groups


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():  # said now, and not in an hour
        raise argparse.ArgumentTypeError(
            f"{text} cannot be written: name a file in a folder that is there"
        )
    return path


def contestants(chosen: argparse.Namespace) -> list[Contestant]:
    """Return who is measured, ours first."""
    ours = Ours(chosen.gateway.resolve())
    if chosen.ours_only:
        return [ours]
    if chosen.against:
        return [ours, Ours(chosen.against.resolve(), "before")]
    return [ours, Ws(), *([SocketIo(), PythonSocketIo(), Tutorial()] if chosen.all else [])]


def rounds(plan: Plan, only: Set[str]) -> list[str]:
    """Return the names of the rounds that measure what is asked for."""
    if not only:
        return list(plan.rounds)
    measures = {name: kind.groups for name, kind in ROUNDS.items()} | {"storm": {"storm"}}
    some = [name for name in plan.rounds if measures[name] & only]
    for name in ("large", "scale", "beside", "storm"):  # the plan may have none of them
        missing = only - set().union(*(measures[one] for one in some))
        if missing & measures[name]:
            some += [name] * plan.extra
    return some


def takes_part(contestant: Contestant, name: str) -> bool:
    """Return whether a contestant is in rounds of that name: the large ones are for ours and for
    what it replaces."""
    if name == "scale":
        return contestant.name in ("ours", "before")
    large = name in ("large", "beside", "storm")
    return not large or contestant.name in ("ours", "before", "ws")


def measure(
    plan: Plan, names: Sequence[str], wanted: Set[str], who: Sequence[Contestant], into: Measured
) -> None:
    """Carry out rounds, as many as there is time for."""
    program = compiled(CACHE)
    for contestant in who:
        contestant.install(CACHE)
    end = time.monotonic() + plan.minutes * 60
    took: dict[str, float] = {}
    with on(cores()[1]):
        for place, name in enumerate(names):
            began = time.monotonic()
            if began + took.get(name, 0) > end:
                say(f"no time for round {place + 1} of {len(names)}, {name}")
                continue
            say(f"round {place + 1} of {len(names)}, {name}:", end="")
            turned = place % len(who)  # nobody is always the first one
            for contestant in [*who[turned:], *who[:turned]]:
                if takes_part(contestant, name):
                    _one(contestant, name, program, plan, wanted, into)
            took[name] = time.monotonic() - began
            say("")


def _one(
    contestant: Contestant,
    name: str,
    program: Path,
    plan: Plan,
    wanted: Set[str],
    into: Measured,
) -> None:
    say(f" {contestant.name}", end="")
    began = time.monotonic()
    samples, tally = into.of(contestant.name)
    fresh = no_samples()  # a round that fails leaves nothing behind
    if name == "storm":
        limited = contestant.with_default_limits() if isinstance(contestant, Ours) else contestant
        storm(limited, program, fresh, tally, STORM)
    else:
        kind = ROUNDS[name]
        with running(contestant, program, kind.per_user) as run:
            kind.measure(run, fresh, plan.seconds, wanted & kind.groups or kind.groups)
            run.wait_for_late_ones()
            tally.update(run.tally)
    for key, values in fresh.items():
        samples[key] += values
    say(f" {time.monotonic() - began:.0f} s,", end="")


def shown(chosen: argparse.Namespace, who: Sequence[Contestant], measured: Measured) -> str:
    """Return all tables."""
    ours, _ = measured.of("ours")
    pairs = {figure.key: len(ours[figure.key]) for figure in FIGURES if ours.get(figure.key)}
    parts = []
    for peer in who[1:]:
        theirs, _ = measured.of(peer.name)
        parts.append(report.comparison(ours, theirs, peer.name))
        parts.append(report.verdict(ours, theirs, peer.name))
    if len(who) == 1:
        parts.append(report.comparison(ours, no_samples(), "nobody"))
    parts.append(report.caution(pairs, plan_of(chosen).seconds.steady))
    parts += [
        report.deliveries(one.title, measured.of(one.name)[1])
        for one in who
        if one.name in measured.tallies
    ]
    return "\n\n".join(filter(None, parts))


def plan_of(chosen: argparse.Namespace) -> Plan:
    """Return the plan that the options choose."""
    return QUICK if chosen.quick else FULL if chosen.full else STANDARD


def versions() -> str:
    """Return what runs here."""
    found = [f"Python {sys.version.split()[0]}"]
    if shutil.which("node"):
        found.append(f"node {_told('node', '--version').lstrip('v')}")
    for package in ("ws", "ioredis", "socket.io"):
        for file in CACHE.glob(f"*/node_modules/{package}/package.json"):
            version = file.read_text().split('"version": "', 1)[1].split('"', 1)[0]
            found.append(f"{package} {version}")
            break
    return ", ".join(found)


def _told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def page(text: str, chosen: argparse.Namespace) -> str:
    """Return the tables with what was called, when, and on what."""
    commit = _told("git", "-C", str(chosen.gateway), "describe", "--always", "--dirty")
    called = " ".join(["scripts/bench peers", *sys.argv[1:]])
    return (
        f"`{called}` on {date.today():%Y-%m-%d}, commit {commit}: {described()}; {versions()}.\n"
        "Take the ratios: the absolute figures are this machine's.\n\n"
        f"{text}\n"
    )


def say(text: str, end: str = "\n") -> None:
    """Show progress."""
    print(text, end=end, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, and print tables. Returns 1 if any delivery of ours was wrong."""
    chosen = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background too, where it is ignored
        signal.signal(number, signal.default_int_handler)
    who, plan, measured = contestants(chosen), plan_of(chosen), Measured()
    names = rounds(plan, chosen.only)
    code = 0
    try:
        measure(plan, names, chosen.only or set(GROUPS), who, measured)
    except (NoCompiler, NotInstalled) as error:
        say(str(error))
        return 2
    except (LoadFailed, AssertionError) as error:
        say(f"\n{error}")
        code = 1
    except KeyboardInterrupt:
        say("\nstopped; this is what the rounds before have brought")
        code = 130
    if not any(measured.samples.values()):
        return code
    text = shown(chosen, who, measured)
    print(text)
    if chosen.write and not code:
        chosen.write.write_text(page(text, chosen))
    return code or int(wrong(measured.of("ours")[1]))


if __name__ == "__main__":
    sys.exit(main())
