"""`python -m bench.websocket_cores`: see --help."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.peers.contestants import as_json, handshake
from bench.peers.figures import Samples, no_samples
from bench.peers.load import Load, LoadFailed, NoCompiler, compiled
from bench.peers.machine import cores, cpu, described, die_with_us, memory, on
from bench.peers.ratios import interval, ratio
from bench.peers.report import markdown, number
from bench.websocket_cores.cores import CORES, Core
from tests.support.gateway import ROOT, wait_for

CACHE = ROOT / "var" / "peers"
OWN = ROOT / "var" / "cores" / "bin" / "python"
WINDOW = 64
WARM = 300
"""Clients, and frames each, before anything is measured."""

PICOWS = "picows==2.3.1"

DIALECT = {
    "request": handshake("/welcome", "Sec-WebSocket-Protocol: gateway.v1"),
    "welcome": b'"welcome"',
    "echo": as_json({"type": "send", "ref": "<stamp>", "data": {"note": "x" * 100}}),
}

FIGURES = {
    "KB": "KB an idle socket",
    "connect": "CPU µs a connect",
    "echo": "CPU µs an echo",
    "close": "CPU µs a close",
}

HELP = """\
Measure the WebSocket protocol after the upgrade in other forms beside today's, on the same server
with an echo on it: no session, no Redis. CPU is that of the server's process alone, on a core of
its own. Each round measures all of them one after the other. A message after the tables says where
a reply was wrong; then the exit code is 1.
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: sockets, frames and rounds."""

    sockets: int
    frames: int
    rounds: int


FULL, QUICK = Scale(10_000, 20_000, 5), Scale(1_000, 4_000, 2)


def python() -> str:
    """Return the Python of the servers: that of var/cores, where there is one, else this one."""
    return str(OWN) if OWN.exists() else sys.executable


def missing(python: str, core: Core) -> bool:
    """Return whether what a core needs is not installed there."""
    if not core.needs:
        return False
    tried = subprocess.run([python, "-c", f"import {core.needs}"], capture_output=True, check=False)
    return tried.returncode != 0


def how_to_install() -> str:
    """Return the commands that install what is in no lock of ours."""
    folder = OWN.parents[1].relative_to(ROOT)
    pip = f"{folder}/bin/pip install"
    return (
        f"picows is not installed, and left out. To have it measured: {sys.executable} -m venv "
        f"{folder} && {pip} -r requirements.txt && {pip} {PICOWS}"
    )


@contextmanager
def running(core: str, program: Path, python: str, folder: Path = ROOT) -> Iterator[Measured]:
    """Start a server and the load; on leaving both are gone."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with on(cores()[0]):
        command = [python, "-m", "bench.websocket_cores.server", core, str(port)]
        server = subprocess.Popen(command, cwd=folder, preexec_fn=die_with_us)

    def listens() -> bool:
        assert server.poll() is None, f"{core}: the server has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, f"{core} to listen", 30)
        numbers = {"port": port, "addresses": 500, "patience": 15}
        with on(cores()[1]), Load(program, DIALECT, **numbers) as load:
            yield Measured(server.pid, port, load)
    finally:
        server.kill()
        server.wait()


class Measured:
    """A server and its load. `wrong`: replies that were not right, and clients that were lost."""

    def __init__(self, pid: int, port: int, load: Load) -> None:
        self.pid, self.port, self._load = pid, port, load
        self.wrong = 0

    def do(self, command: str, count: int) -> float:
        """Carry out a command of the load and return microseconds of CPU for each of so many.
        Raises LoadFailed."""
        before = cpu(self.pid)
        answer = self._load.ask(command, 120)
        used = cpu(self.pid) - before
        if answer["failed"] or answer["done"] != count:
            raise LoadFailed(f"{command}: {answer['why']}")
        self.wrong += sum(answer[kind] for kind in ("lost", "doubled", "misdirected", "dropped"))
        return used / count * 1e6

    def round(self, scale: Scale, settle: float = 3) -> dict[str, float]:
        """Return a value of each figure."""
        warm = min(WARM, scale.sockets)
        self.do(f"open {warm} {WINDOW}", warm)
        self.do(f"echo {10 * warm} {WINDOW}", 10 * warm)
        self.do(f"close {warm}", warm)
        time.sleep(settle)
        empty = memory(self.pid)
        found = {"connect": self.do(f"open {scale.sockets} {WINDOW}", scale.sockets)}
        time.sleep(settle)
        found["KB"] = (memory(self.pid) - empty) / scale.sockets
        found["echo"] = self.do(f"echo {scale.frames} {WINDOW}", scale.frames)
        found["close"] = self.do(f"close {scale.sockets}", scale.sockets)
        return found


def table(samples: dict[str, Samples]) -> str:
    """Return medians with the least and the most, and ratios to today's with their intervals."""
    rows = [["core", *(cell for title in FIGURES.values() for cell in (title, "ratio to today's"))]]
    today = samples["autobahn"]
    for name, values in samples.items():
        row = [CORES[name].title]
        for key in FIGURES:
            row += [_spread(values[key]), _ratio(values[key], today[key])]
        rows.append(row)
    return markdown(rows)


def _spread(values: Sequence[float]) -> str:
    return f"{number(median(values))} ({number(min(values))} to {number(max(values))})"


def _ratio(values: Sequence[float], today: Sequence[float]) -> str:
    found = None if values is today else ratio(values, today)
    if found is None:
        return "1"
    low, high = found.interval.low, found.interval.high
    return f"{number(found.median)} ({number(low)} to {number(high)})"


def measure(names: Sequence[str], scale: Scale, program: Path, python: str) -> int:
    """Measure in rounds, each of which begins with another one, and print. Returns how many
    replies were wrong."""
    samples, wrong = {name: no_samples() for name in names}, 0
    for turn in range(scale.rounds):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            with running(name, program, python) as measured:
                for key, value in measured.round(scale).items():
                    samples[name][key].append(value)
                wrong += measured.wrong
            told = ", ".join(f"{key} {number(some[-1])}" for key, some in samples[name].items())
            print(f"round {turn + 1}, {name}: {told}", file=sys.stderr, flush=True)
    print(described())
    print(f"{scale.sockets:,} idle sockets, {scale.frames:,} frames, {scale.rounds} rounds\n")
    print(table(samples))
    confident = interval(samples["autobahn"]["KB"]).confidence
    print(f"\nIn brackets: least and most; of a ratio where its median is, at {confident:.0%}.")
    if wrong:
        print(f"{wrong} replies were wrong, or clients were lost: the figures mean nothing.")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench cores", description=HELP)
    parser.add_argument("--quick", action="store_true", help="fewer of all: under two minutes")
    parser.add_argument("--rounds", type=int, help="instead of 5; of fewer no interval is 90 %%")
    parser.add_argument("--only", help="names with commas between: " + ", ".join(CORES))
    parser.add_argument("--python", default=python(), help="of the servers (default: %(default)s)")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    scale = Scale(scale.sockets, scale.frames, options.rounds or scale.rounds)
    names = ["autobahn", *(name for name in CORES if name != "autobahn")]
    if options.only:
        names = [name for name in names if name == "autobahn" or name in options.only.split(",")]
    absent = [name for name in names if missing(options.python, CORES[name])]
    if absent:
        print(how_to_install(), file=sys.stderr)
    try:
        program = compiled(CACHE)
    except NoCompiler as error:
        sys.stderr.write(f"{error}\n")
        return 3
    here = [name for name in names if name not in absent]
    return 1 if measure(here, scale, program, options.python) else 0


if __name__ == "__main__":
    sys.exit(main())
