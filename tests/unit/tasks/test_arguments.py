"""What a caller says of a task."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.exceptions import InvalidMessage
from sockets.tasks.arguments import MAX_TIMEOUT, require_pool, require_timeout


class Lazy(str):
    """As a framework's text may be."""


def test_a_pool_is_a_plain_string() -> None:
    assert type(require_pool(Lazy("a.B-9_"))) is str
    assert require_pool("p" * 64) == "p" * 64


@pytest.mark.parametrize("pool", ["", "p" * 65, "a pool", "a/b", "가", "p\n", None, 7])
def test_what_is_no_pool(pool: Any) -> None:
    with pytest.raises(InvalidMessage, match="pool"):
        require_pool(pool)


@pytest.mark.parametrize("timeout", [None, 0.001, 1, MAX_TIMEOUT])
def test_a_timeout(timeout: float | None) -> None:
    require_timeout(timeout)


@pytest.mark.parametrize("timeout", [0, -1, MAX_TIMEOUT + 1, True, "5", float("nan"), float("inf")])
def test_a_timeout_that_is_none(timeout: Any) -> None:
    with pytest.raises(InvalidMessage, match="timeout"):
        require_timeout(timeout)
