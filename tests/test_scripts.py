"""What the scripts say of themselves, to somebody who has just cloned the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway import ROOT

SCRIPTS = sorted(
    path.name
    for path in (ROOT / "scripts").iterdir()
    if path.read_text().startswith("#!") and not path.suffix
)


def run(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "scripts" / name), *arguments]
    environment = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    return tmp_path


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_teaches_and_makes_nothing(clone: Path, name: str, option: str) -> None:
    done = run(clone, name, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"scripts/{name}" in done.stdout and "shellcheck" not in done.stdout
    assert not any(line.startswith("#") for line in done.stdout.splitlines())
    assert os.listdir(clone) == ["scripts"]


@pytest.mark.parametrize(
    ("name", "known"),
    [("lint", "knows --fix and no '--fux'"), ("docs", "knows serve and no '--fux'")],
)
def test_what_is_not_known_is_refused_before_anything_is_made(
    clone: Path, name: str, known: str
) -> None:
    done = run(clone, name, "--fux")
    assert done.returncode == 1 and known in done.stderr
    assert os.listdir(clone) == ["scripts"]
