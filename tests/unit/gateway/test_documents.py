"""Every variable is in .env.example and in the reference, with its real default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.conf import settings

from sockets.conf import Conf
from tests.support import hermetic

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = (ROOT / ".env.example").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "settings.md").read_text()


def test_every_variable_is_in_the_example_with_a_line_on_it() -> None:
    lines = EXAMPLE.splitlines()
    found = [match[1] for line in lines if (match := re.match(r"#([A-Z_]+)=", line))]
    assert sorted(found) == sorted(settings.VARIABLES)
    for number, line in enumerate(lines):
        if re.match(r"#[A-Z_]+=", line):
            assert re.match(r"# \S", lines[number - 1]), f"{line} has no explanation"


def test_the_example_changes_nothing_as_it_is() -> None:
    assert all(line.startswith("#") or not line for line in EXAMPLE.splitlines())


def test_every_variable_is_in_the_reference() -> None:
    assert sorted(re.findall(r"^\| `([A-Z_]+)`", REFERENCE, re.MULTILINE)) == sorted(
        settings.VARIABLES
    )


_NUMBERS = [f.name for f in fields(Conf) if type(f.default) in (int, float)]


@pytest.mark.parametrize("name", _NUMBERS)
def test_the_documented_default_is_the_real_one(name: str) -> None:
    variable = {"client_port": "CLIENT_SOCKET_PORT", "worker_port": "WORKER_SOCKET_PORT"}.get(
        name, name.upper()
    )
    row = re.search(rf"^\| `{variable}` .*\| ([\d.]+) \|$", REFERENCE, re.MULTILINE)
    assert row, f"{variable} has no number as its default"
    assert float(row[1]) == getattr(Conf(), name)
    assert re.search(rf"^#{variable}={re.escape(row[1])}$", EXAMPLE, re.MULTILINE)


def test_the_test_run_knows_every_variable() -> None:
    assert hermetic.variables() == settings.VARIABLES
    assert {"CLIENT_RATE", "SECRET_KEY", "NODE_ENV", "ENV_FILE"} <= settings.VARIABLES
