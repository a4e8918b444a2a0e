"""The command that runs the same process once more."""

from __future__ import annotations

import signal
import sys

import pytest

from sockets.server.early import ENDING
from sockets.server.fresh import MAIN, NotRunnable, command, parted, signals_held

SERVE = ["manage.py", "serve", "--host", "::1"]


@pytest.mark.parametrize(
    ("options", "given", "target"),
    [
        ([], SERVE, SERVE),
        (["-u"], SERVE, SERVE),
        (["-Werror", "-W", "ignore::UserWarning"], SERVE, SERVE),
        (["-X", "dev", "-Xutf8=1", "-OO"], SERVE, SERVE),
        (["-bW", "error"], SERVE, SERVE),
        (["-sXutf8"], SERVE, SERVE),
        (["--check-hash-based-pycs", "never", "-B"], SERVE, SERVE),
        (["-I"], ["-m", "django", "serve", "-W"], ["-m", "django", "serve", "-W"]),
        (["-X", "dev"], ["-mdjango", "serve"], ["-m", "django", "serve"]),
        ([], ["-c", "run()", "-m"], ["-c", "run()", "-m"]),
        ([], ["-", "serve"], ["-", "serve"]),
    ],
)
def test_python_s_options_are_parted_from_what_it_runs(
    options: list[str], given: list[str], target: list[str]
) -> None:
    """Rule 14: whatever the arguments of that look like."""
    assert parted([*options, *given]) == (options, target)


def test_an_option_beside_m_is_kept() -> None:
    assert parted(["-Im", "django", "serve"]) == (["-I"], ["-m", "django", "serve"])


def test_our_file_comes_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 14."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", "-m", "django", "serve"])
    assert command("--watch=1,2") == [
        *(sys.executable, "-u", str(MAIN)),
        *("--watch=1,2", "-m", "django", "serve"),
    ]
    assert MAIN.is_file()


@pytest.mark.parametrize("words", [["python"], ["python", "-c", "run()"], ["python", "-", "serve"]])
def test_text_cannot_be_run_once_more(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Rule 14."""
    monkeypatch.setattr(sys, "orig_argv", words)
    with pytest.raises(NotRunnable):
        command()


def test_signals_wait_and_are_let_in_again() -> None:
    """Rule 14."""
    with signals_held():
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= set(ENDING)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(ENDING)
