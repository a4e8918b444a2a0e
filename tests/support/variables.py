"""Variables as a start is given them, and the one line with which a reader refuses one."""

from __future__ import annotations

import pytest

from sockets.variables.faults import Wrong
from sockets.variables.reader import Variables


def env(**given: str) -> Variables:
    """These variables, and no file."""
    return Variables(given)


def fault(error: pytest.ExceptionInfo[Wrong]) -> str:
    """The text of a refusal, which has a fault and a remedy on one line."""
    text = str(error.value)
    assert "\n" not in text
    assert text.count(";") >= 1, "fault and remedy"
    return text
