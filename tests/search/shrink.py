"""Leaves steps out of a schedule while it still fails, until nothing more can go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from tests.search.schedule import Fault, Schedule

Fails = Callable[[Schedule], Awaitable[bool]]
"""Runs a schedule; whether it shows the same violation again."""


async def shrink(
    schedule: Schedule,
    fails: Fails,
    *,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> Schedule:
    """The least schedule that was found until `deadline` (by `clock`). It has failed itself.

    Delta debugging: halves are left out first, then quarters, then single faults.
    """
    faults = list(schedule.faults)
    parts = 2
    while len(faults) > 1 and clock() < deadline:
        for kept in _without_each(faults, parts):
            if clock() >= deadline:
                break
            if await fails(schedule.only(kept)):
                faults, parts = kept, max(2, parts - 1)
                break
        else:
            if parts >= len(faults):
                break
            parts = min(len(faults), parts * 2)
    return schedule.only(faults)


def _without_each(faults: list[Fault], parts: int) -> list[list[Fault]]:
    """What is left when each of so many parts is left out."""
    size = -(-len(faults) // parts)
    cuts = range(0, len(faults), size)
    return [faults[:at] + faults[at + size :] for at in cuts]
