"""What the scripts and Python share is passed to the scripts; it is written once."""

from __future__ import annotations

import re

import pytest

from sockets.codes import CloseCode
from tests.support.gateway import ROOT

SCRIPTS = {file.stem: file.read_text() for file in (ROOT / "sockets").rglob("lua/*.lua")}
ALONE = {"MANY"}
"""Constants that only a script knows."""


def test_constants_are_arguments() -> None:
    assert len(SCRIPTS) > 30
    named = {
        name
        for text in SCRIPTS.values()
        for name in re.findall(r"^local ([A-Z_]+) = [\d* ]+", text, re.M)
    }
    assert named == ALONE


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_script_knows_a_close_code(name: str) -> None:
    code = "".join(line.partition("--")[0] for line in SCRIPTS[name].splitlines())
    assert not {str(int(one)) for one in CloseCode} & set(re.findall(r"\b\d{4}\b", code)) - {"1000"}
