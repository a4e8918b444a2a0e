"""A project's own sessions: whatever keeps them, whoever its users are, and whoever knows them.

Each row is one case of one site, in a process that has its user model (tests/support/members).
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

from tests.support.gateway import ROOT
from tests.support.session_cells import BACKENDS, CASES, ENGINES


@cache
def site(model: str) -> dict[str, str]:
    """What came of every case, by engine, backend and case; "": all was well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.support.session_cells", model],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["stock", "custom"])
def test_it_is_as_at_the_site_and_nothing_is_written(
    model: str, engine: str, backend: str, case: str
) -> None:
    """Rules 6 and 7: the verdict of `get_user` for any engine, user model and backend, under
    SECRET_KEY_FALLBACKS too; and the login's id."""
    assert site(model)[f"{engine}/{backend}/{case}"] == ""
