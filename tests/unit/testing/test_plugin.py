"""The plugin that pytest finds in a project's environment."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from sockets.testing import Sent, outbox, plugin

ITEM: Any = SimpleNamespace()


def test_each_test_begins_with_an_empty_outbox() -> None:
    outbox.append(Sent("notify", "42", "e"))
    plugin.pytest_runtest_setup(ITEM)
    assert outbox == []


def test_it_loads_nothing_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of pytest that has nothing to do with Django gets it too."""
    monkeypatch.delitem(sys.modules, "sockets.api.outbox")
    plugin.pytest_runtest_setup(ITEM)
    assert "sockets.api.outbox" not in sys.modules
