"""What the scripts say of themselves, to somebody who has just cloned the repository, and what
scripts/test makes of the parts of the tests that fail, die or are missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
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


@pytest.mark.parametrize("option", ["-h", "--help", "help"])
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


# A stand-in for the Python of .venv: what pytest does in a part, its variable says.
PYTHON = f"""#!/bin/bash
report() {{ echo "<testsuite tests='$1' failures='$2' errors='0' skipped='0'/>" >"$file"; }}
case $1 in -c | scripts/totals.py) exec {sys.executable} "$@" ;; esac
for argument; do case $argument in --junit-xml=*) file=${{argument#*=}} ;; esac; done
[ -n "${{file:-}}" ] || exit 0
part=${{file##*junit-}}
part=${{part%.xml}}
echo "$part $*" >>begun
doing=$part
eval "${{!doing:-report 2 0}}"
"""

LANES = """source scripts/_setup; source scripts/_parts
tests_of() { run "$1"; }
lane first second; lane third
finish; summary
"""


@pytest.fixture
def python(clone: Path) -> Path:
    program = clone / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(PYTHON)
    program.chmod(0o755)
    (clone / "tmp").mkdir()
    return program


def lanes(clone: Path, parts: Mapping[str, str], *held: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "-c", LANES],
        cwd=clone,
        env={"PATH": "/usr/bin:/bin", "CDPATH": ".", "TMPDIR": str(clone / "tmp"), **parts},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=held,
    )


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize(
    ("part", "does", "totals"),
    [
        ("first", "report 2 0", "6 passed, 0 failed"),
        ("first", "report 2 1; exit 1", "5 passed, 1 failed"),
        ("first", "report 0 0; exit 5", "4 passed, 1 failed"),
        ("first", "report 2 0; echo 1 error; exit 3", "6 passed, 1 failed"),
        ("first", "echo 3 failed logins; kill -9 $$", "4 passed, 1 failed"),
        ("first", "echo 1 failed; exit 1", "4 passed, 1 failed"),
        ("first", "echo '<testsuite' >$file; exit 1", "4 passed, 1 failed"),
        ("first", "exit 0", "4 passed, 1 failed"),
        ("first", "kill -9 $PPID; sleep 20", "2 passed, 2 failed"),
        ("first", "kill $PPID; sleep 20", "2 passed, 2 failed"),
        # Another run in the same folder removes the reports of this one.
        ("second", "rm artifacts/junit-first.xml; report 2 0", "4 passed, 1 failed"),
    ],
)
def test_what_does_not_come_to_a_good_end_fails(
    clone: Path, part: str, does: str, totals: str
) -> None:
    script = lanes(clone, {part: does})
    output, _ = script.communicate(timeout=30)
    assert output.splitlines()[-1] == totals, output
    assert script.returncode == (0 if totals.endswith(" 0 failed") else 1)
    if does.startswith("kill"):
        assert output.count("FAILED   not run, or not to its end") == 2
    elif part == "first":
        assert ("\nfirst        FAILED" in output) == (script.returncode == 1)
    assert not os.listdir(clone / "tmp")


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_runs(clone: Path, number: signal.Signals) -> None:
    """What a test has started ignores the signal itself, as a gateway may that hangs."""
    reader, writer = os.pipe()
    say = f"trap '' INT TERM; echo started >&{writer}; (sleep 5; echo left >&{writer}) & wait"
    script = lanes(clone, {"third": say}, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.readline() == "started\n"
        script.send_signal(number)
        script.communicate(timeout=30)
        assert pipe.read() == ""  # until the last of those that held the other end is gone
    assert script.returncode == 128 + number
    assert not os.listdir(clone / "tmp")


def test_the_static_checks_leave_the_reports_of_a_run_of_the_tests(clone: Path) -> None:
    report = clone / "artifacts" / "junit-unit.xml"
    report.parent.mkdir()
    report.touch()
    subprocess.run(
        ["bash", "-c", "source scripts/_setup; source scripts/_parts"], cwd=clone, check=True
    )
    assert report.exists()


def arguments(line: str) -> tuple[set[str], set[str]]:
    """The paths that a part of scripts/test takes, and those that it leaves out."""
    words = line.split()
    return (
        {word for word in words if word.startswith(("tests/", "clients/"))},
        {word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")},
    )


def within(file: Path, paths: set[str]) -> bool:
    return any(file.is_relative_to(path) for path in paths)


def test_each_test_is_in_one_part(clone: Path, python: Path) -> None:
    """All of scripts/test, with programs that do nothing."""
    for folder in ("tests", "clients"):
        (clone / folder).symlink_to(ROOT / folder)
    nothing = shutil.which("true") or ""
    for name in ("ruff", "mypy", "lint-imports", "shellcheck", "codespell", "hadolint", "mkdocs"):
        (python.parent / name).symlink_to(nothing)
    machine = clone / "machine"
    machine.mkdir()
    for name in ("chromium", "nginx", "caddy", "faketime"):
        (machine / name).symlink_to(nothing)
    (machine / "python3.13").write_text("#!/bin/sh\nexit 1\n")
    for lock in ("requirements-dev.txt", "requirements.txt"):
        (clone / lock).touch()
        stamp = python.parent.parent / f".installed-{lock}"
        stamp.write_text(sha256().hexdigest())
    done = subprocess.run(
        [str(clone / "scripts" / "test")],
        env={"PATH": f"{machine}:/usr/bin:/bin", "TMPDIR": str(clone / "tmp"), "HOME": str(clone)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = [arguments(line) for line in (clone / "begun").read_text().splitlines()]
    for file in [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("clients/python/**/test_*.py")]:
        path = file.relative_to(ROOT)
        found = [taken for taken, left in parts if within(path, taken) and not within(path, left)]
        assert len(found) == 1, path
