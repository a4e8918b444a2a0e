"""The conformance run's reading of the suite's report, and of what is missing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conformance.autobahn import AGENT, Missing, python27, read_report


def index(**cases: tuple[str, str]) -> dict[str, object]:
    return {
        AGENT: {
            name.strip("_").replace("_", "."): {"behavior": behaved, "behaviorClose": closed}
            for name, (behaved, closed) in cases.items()
        }
    }


def test_a_case_is_as_good_as_the_worse_of_its_two_verdicts() -> None:
    report = read_report(
        index(
            _1_1_1=("OK", "OK"),
            _1_1_2=("NON-STRICT", "OK"),
            _7_1_6=("INFORMATIONAL", "INFORMATIONAL"),
            _10_1_1=("OK", "WRONG CODE"),
            _9_1_1=("FAILED", "OK"),
        )
    )
    assert report.counts["OK"] == 1
    assert report.failed == ["9.1.1", "10.1.1"]
    assert report.verdicts["10.1.1"] == "WRONG CODE"


def test_without_python_27_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("PYTHON27", raising=False)
    with pytest.raises(Missing, match="PYTHON27=PATH"):
        python27()


def test_another_python_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHON27", sys.executable)
    with pytest.raises(Missing):
        python27()
