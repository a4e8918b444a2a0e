"""When each client of a node that goes should come back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockets.node.drain import spread


@pytest.mark.parametrize(
    ("count", "seconds", "expected"),
    [
        (0, 5, []),
        (1, 5, [5]),
        (5, 5, [1, 2, 3, 4, 5]),
        (4, 1, [0.25, 0.5, 0.75, 1]),
        (2, 0, [0, 0]),
    ],
)
def test_a_return_is_spread_evenly(count: int, seconds: float, expected: list[float]) -> None:
    assert spread(count, seconds) == expected


@given(st.integers(1, 2_000), st.floats(0, 600))
def test_nobody_is_early_nobody_is_late_and_no_moment_is_crowded(
    count: int, seconds: float
) -> None:
    waits = spread(count, seconds)
    assert len(waits) == count
    assert waits == sorted(waits)
    assert waits[0] >= 0 and waits[-1] == pytest.approx(seconds, abs=0.001)
    gaps = [later - earlier for earlier, later in pairwise(waits)]
    assert all(gap == pytest.approx(seconds / count, abs=0.0011) for gap in gaps)
