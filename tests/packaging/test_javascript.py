"""The npm package of the browser client: its own tests, with the tools of its lock file."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway import ROOT

CLIENT = ROOT / "clients" / "js"


def npm(*arguments: str) -> None:
    done = subprocess.run(
        ["npm", *arguments], cwd=CLIENT, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def installed() -> Path:
    """The package's folder, with its tools; once for each lock file."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("the browser client's own tests need node 20 or newer, with npm")
    digest = hashlib.sha256((CLIENT / "package-lock.json").read_bytes()).hexdigest()
    stamp = CLIENT / "node_modules" / ".installed"
    if not stamp.exists() or stamp.read_text() != digest:
        npm("ci", "--no-audit", "--no-fund")
        stamp.write_text(digest)
    return CLIENT


def test_its_own_tests(installed: Path) -> None:
    """They build it, too, which looks at its types, and at what those refuse."""
    npm("test")
