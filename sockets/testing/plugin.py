"""For pytest, which finds it by itself: each test begins with an empty outbox."""

from __future__ import annotations

import sys

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Empty it, where anything of the project has loaded it."""
    if (loaded := sys.modules.get("sockets.api.outbox")) is not None:
        loaded.outbox.clear()
