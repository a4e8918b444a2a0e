"""The last release, beside which today's code has to work.

It is the tag of the newest version in the changelog, or the commit that wrote it there.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.gateway import ROOT


def checkout_of_last_release(folder: Path) -> Path:
    """Write its files to the folder, and return that. Skips in a copy without the history."""
    commit = _commit()
    if commit is None:
        pytest.skip("needs the history of the repository")
    with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _commit() -> str | None:
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert found is not None
    version = found[1]
    try:
        if tags := _git("tag", "--list", f"v{version}").split():
            return tags[0].decode()
        heading = f"-S## [{version}]"
        commits = _git("log", "--format=%H", heading, "--", "CHANGELOG.md").split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commits[-1].decode() if commits else None


def _git(*arguments: str) -> bytes:
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
