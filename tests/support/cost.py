"""A pytest plugin: what a run cost. Parts run beside each other, so only CPU time says it."""

from __future__ import annotations

from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the CPU seconds of the tests and of the processes that they started and waited for."""
    own, others = (
        usage.ru_utime + usage.ru_stime for usage in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN))
    )
    terminalreporter.write_line(f"CPU: {own:.0f} s, and {others:.0f} s in processes of the tests")
