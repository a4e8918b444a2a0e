"""The bell is as short as it says; what it does is in tests/browser/test_bell.py."""

from __future__ import annotations

from tests.support.gateway import ROOT


def test_it_has_at_most_sixty_lines() -> None:
    files = [file for file in (ROOT / "examples/bell").rglob("*.*") if file.suffix != ".pyc"]
    assert len(files) == 3
    assert sum(len(file.read_text().splitlines()) for file in files) <= 60
