"""The part of scripts/test that runs on the newest Django and Python."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway import ROOT

SCRIPT = """source scripts/_setup; source scripts/_newest
setup() { echo "$1 into $VENV by $PYTHON"; }
run() { echo "run $* by $BIN"; }
BIN=the-other table=''
setup_newest; find_newest; printf '%s' "$table"
[ -z "$NEWEST" ] || newest run name -q tests
echo "$BIN"
"""


def told(path: Path, pyenv: Path) -> list[str]:
    """What it does on a machine with these programs, and these Pythons of pyenv."""
    done = subprocess.run(
        ["bash", "-c", SCRIPT],
        cwd=ROOT,
        env={"PATH": f"{path}:/usr/bin:/bin", "PYENV_ROOT": str(pyenv), "HOME": str(path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def python(folder: Path, name: str, code: int) -> Path:
    """A program that says with its exit code whether it is a Python 3.13."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("where", ["path", "pyenv"])
def test_it_runs_in_an_environment_of_its_own(tmp_path: Path, where: str) -> None:
    """Rule 19."""
    path, pyenv = tmp_path / "bin", tmp_path / "pyenv"
    python(path, "python3.13", 0 if where == "path" else 1)
    found = python(pyenv / "versions" / "3.13.1" / "bin", "python", 0)
    assert told(path, pyenv) == [
        f"requirements-newest.txt into {ROOT}/.venv-newest by "
        f"{'python3.13' if where == 'path' else found}",
        f"run name -q tests by {ROOT}/.venv-newest/bin",
        "the-other",
    ]


def test_a_line_says_that_it_is_left_out(tmp_path: Path) -> None:
    """Rule 19."""
    python(tmp_path, "python3.13", 1)
    assert told(tmp_path, tmp_path / "none") == [
        "newest       left out: no Python 3.13, on the PATH or of pyenv",
        "the-other",
    ]


def test_its_lock_differs_from_the_other_in_django_alone() -> None:
    """Rule 19: what a failure there shows is Django's, or Python's."""
    pinned = re.compile(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", re.MULTILINE)
    other = set(pinned.findall((ROOT / "requirements-dev.txt").read_text()))
    newest = set(pinned.findall((ROOT / "requirements-newest.txt").read_text()))
    [(name, version)] = newest - other
    assert name == "django" and version.startswith("6.1")
    assert ("django", "5.2") in {(name, version[:3]) for name, version in other}
