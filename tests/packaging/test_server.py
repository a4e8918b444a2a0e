"""The installation with `[server]`, in an environment that has nothing else."""

from __future__ import annotations

from tests.packaging.conftest import Shop
from tests.support.gateway import ROOT
from tests.test_house import documented


def test_what_the_pages_import_is_in_the_wheel(server: Shop) -> None:
    """Rule 18: every path that docs/ names."""
    assert len(documented()) > 30
    assert server.run(ROOT / "tests/support/import_paths.py", *documented()) == ""


def test_the_project_is_sound(server: Shop) -> None:
    assert "no issues" in server.manage("check")
