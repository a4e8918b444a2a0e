"""Processes that are forked instead of started: a test must not see a difference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import warm

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "default", "GIVEN": "yes"}

TELL = """
import json, os, signal, sys, warnings
print(json.dumps({
    "argv": sys.argv,
    "first": sys.path[0],
    "name": __name__,
    "main": os.path.abspath(sys.modules["__main__"].__file__),
    # Python adds its own locale where there is none.
    "environment": {k: v for k, v in os.environ.items() if k != "LC_CTYPE"},
    "folder": os.getcwd(),
    "input": sys.stdin.read(),
    "signals": [str(signal.getsignal(n)) for n in (2, 15, 17)],
    "warnings": sys.warnoptions,
    "files": sorted(os.listdir("/proc/self/fd"))[:3],
    "own": sorted(name for name in sys.modules if name.partition(".")[0] in ("sockets", "gateway")),
}))
print("aside", file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture
def tell(tmp_path: Path) -> Path:
    (tmp_path / "tell.py").write_text(TELL)
    return tmp_path


def test_it_begins_as_python_does(tell: Path) -> None:
    command = ["tell.py", "--some", "word"]
    cold = subprocess.run(
        [sys.executable, *command],
        cwd=tell,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    warmed = warm.run(command, tell, ENVIRONMENT, check=False)
    ours, theirs = json.loads(warmed.stdout), json.loads(cold.stdout)
    assert ours == theirs
    assert (warmed.returncode, warmed.stderr) == (cold.returncode, cold.stderr) == (7, "aside\n")
    assert ours["environment"]["GIVEN"] == "yes"


@pytest.mark.parametrize(
    ("command", "forked"),
    [
        (["tell.py"], True),
        (["-m", "tell"], True),
        (["-c", "pass"], False),
        (["-W", "error", "tell.py"], False),
    ],
)
def test_a_command_is_forked_unless_it_has_options_of_python(
    tell: Path, command: list[str], forked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(warm, "run", lambda command, *_, **__: seen.append(command))
    warm.python(command, tell, ENVIRONMENT, may_be_warm=True)
    assert seen == ([command] if forked else [])
    assert warm.python(["tell.py"], tell, ENVIRONMENT, may_be_warm=False).returncode == 7


def test_a_module_is_found_where_it_is_started(tell: Path) -> None:
    done = warm.run(["-m", "tell", "word"], tell, ENVIRONMENT, check=False)
    told = json.loads(done.stdout)
    assert told["argv"] == [str(tell / "tell.py"), "word"]
    assert told["name"] == "__main__"


def test_this_checkout_may_be_on_the_path_and_nothing_else(tmp_path: Path) -> None:
    given = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    assert warm.fits(given)
    assert not warm.fits(ENVIRONMENT | {"PYTHONPATH": str(tmp_path)})
    (tmp_path / "where.py").write_text("import sys, sockets\nprint(sys.path[:2], sockets.__path__)")
    done = warm.run(["where.py"], tmp_path, given, check=True)
    assert done.stdout == f"{[str(tmp_path), str(ROOT)]} {[f'{ROOT}/sockets']}\n"


def test_an_error_is_shown_and_counts(tmp_path: Path) -> None:
    (tmp_path / "fail.py").write_text("raise ValueError('a bug')")
    done = warm.run(["fail.py"], tmp_path, ENVIRONMENT, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: a bug\n")
    with pytest.raises(subprocess.CalledProcessError):
        warm.run(["fail.py"], tmp_path, ENVIRONMENT, check=True)


def test_a_signal_ends_it_and_no_one_else(tmp_path: Path) -> None:
    (tmp_path / "wait.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)")
    with tempfile.TemporaryFile() as out:
        one, other = (warm.Forked(["wait.py"], tmp_path, ENVIRONMENT, out, out) for _ in range(2))
        assert one.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            one.wait(0.05)
        one.kill()
        assert one.wait(10) == -9
        assert other.poll() is None
        other.terminate()
        assert other.wait(10) == -15
        other.kill()  # it is gone: nobody is harmed


def test_one_thread_waits_while_another_one_asks(tmp_path: Path) -> None:
    (tmp_path / "wait.py").write_text("import time\ntime.sleep(60)")
    with tempfile.TemporaryFile() as out, ThreadPoolExecutor() as threads:
        one = warm.Forked(["wait.py"], tmp_path, ENVIRONMENT, out, out)
        waiting = threads.submit(one.wait, 20)
        assert [one.poll() for _ in range(100)] == [None] * 100
        one.kill()
        while one.poll() is None:
            pass
        assert (waiting.result(), one.wait()) == (-9, -9)


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"PYTHONWARNINGS": "default"}, True),
        ({}, False),
        ({"PYTHONWARNINGS": "error"}, False),
        ({"PYTHONWARNINGS": "default", "PYTHONPATH": "/x"}, False),
        ({"PYTHONWARNINGS": "default", "LD_PRELOAD": "/x"}, False),
    ],
)
def test_what_python_hears_at_its_start_needs_a_start(given: dict[str, str], fits: bool) -> None:
    assert warm.fits({"PATH": "/bin", **given}) is fits
