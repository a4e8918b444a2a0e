"""Returning the clients of a node: when each of them should come back."""

from __future__ import annotations


def spread(count: int, seconds: float) -> list[float]:
    """`reconnect_after` for each of `count` clients: evenly over `seconds`, to the millisecond.

    The last one returns at the end, so nobody's wait depends on chance.
    """
    return [round(seconds * (index + 1) / count, 3) for index in range(count)]
