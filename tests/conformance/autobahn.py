"""The suite itself: a Python 2.7 that can run it, its installation, its run, its report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SUITE = "autobahntestsuite==25.10.1"
FOLDER = ROOT / "var" / SUITE.replace("==", "-")
"""Where it is installed, once."""
AGENT = "gateway"
START = 20.0
"""Seconds that the echo gets to listen."""
SOUND = frozenset({"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"})
"""What a case may end as. UNIMPLEMENTED: compression, which we do not negotiate."""


class Missing(Exception):
    """The suite cannot be had here; the text says what to do."""


def python27() -> Path:
    """A Python 2.7 with pip: `PYTHON27`, `python2.7` of the PATH, or one of pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [os.environ.get("PYTHON27"), shutil.which("python2.7"), shutil.which("python2")]
    found += map(str, sorted(versions.glob("2.7*/bin/python"), reverse=True))
    for candidate in filter(None, found):
        code = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"
        try:
            tried = subprocess.run([candidate, "-c", code], capture_output=True, check=False)
        except OSError:
            continue
        if tried.returncode == 0:
            return Path(candidate)
    raise Missing(
        "the suite needs a Python 2.7 with pip: `pyenv install 2.7.18`, or name one: PYTHON27=PATH"
    )


def install(python: Path) -> Path:
    """The folder with the suite's packages; installed there if it is not yet."""
    if not (FOLDER / "autobahntestsuite").exists():
        sys.stderr.write(f"installing {SUITE} (once; it takes some minutes)\n")
        scratch = FOLDER.with_name(FOLDER.name + "-part")
        shutil.rmtree(scratch, ignore_errors=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--target", str(scratch), SUITE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise Missing(f"{SUITE} cannot be installed: {done.stderr[-600:]}")
        scratch.rename(FOLDER)
    return FOLDER


@contextmanager
def echo(folder: Path) -> Iterator[int]:
    """Our server with the echo on it; its port."""
    ports = folder / "port"
    ports.unlink(missing_ok=True)
    with (folder / "echo.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.echo", str(ports)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START
        while not (ports.exists() and ports.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "echo.log").read_text())
            time.sleep(0.05)
        yield int(ports.read_text())
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Report:
    """By case its verdict: how it behaved, or how it closed if that was worse."""

    verdicts: dict[str, str]

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.verdicts.values())

    @property
    def failed(self) -> list[str]:
        """Cases that ended as none may, in the suite's order."""
        bad = [case for case, verdict in self.verdicts.items() if verdict not in SOUND]
        return sorted(bad, key=lambda case: [int(part) for part in case.split(".")])


def read_report(index: dict[str, Any]) -> Report:
    """Of the suite's index.json."""
    verdicts = {}
    for case, found in index[AGENT].items():
        behaved, closed = found["behavior"], found["behaviorClose"]
        verdicts[case] = behaved if closed in SOUND or behaved not in SOUND else closed
    return Report(verdicts)


def run(
    python: Path, site: Path, port: int, folder: Path, cases: list[str], seconds: float
) -> Report:
    """One run of the fuzzing client. Raises TimeoutError, and RuntimeError if it ends badly."""
    reports = folder / "reports"
    spec = {
        "outdir": str(reports),
        "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}/"}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    code = (
        f"import site, sys; site.addsitedir({str(site)!r}); "  # its packages have .pth files
        "from autobahntestsuite.wstest import run; sys.exit(run())"
    )
    with (folder / "suite.log").open("wb") as log:
        process = subprocess.Popen(
            [str(python), "-c", code, "-m", "fuzzingclient", "-s", str(folder / "spec.json")],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "HOME": str(folder)},
            stdout=log,
            stderr=log,
        )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"the suite did not end within {seconds:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode or not (reports / "index.json").exists():
        raise RuntimeError((folder / "suite.log").read_text(errors="replace")[-2000:])
    return read_report(json.loads((reports / "index.json").read_text()))
