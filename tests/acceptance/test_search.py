"""The search for faults itself, in small: one schedule that breaks no promise and hides nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.faults import ONE
from tests.search.oracle import judge
from tests.search.run import Result, Run
from tests.search.schedule import Fault, Schedule, Setting, draw
from tests.search.stage import abilities
from tests.support.scale import SOAK

SMALL = Setting(nodes=2, store=ONE, durability="always", users=2, tabs=2, rate=25, visitors=0)
FAULTS = (
    Fault(0, "cut", 0, after=0.3, seconds=0.3),
    Fault(0, "client-rst", 1, after=0.5, seconds=0),
    Fault(0, "oom", 0, after=1.0, seconds=0.7),
)


async def test_a_small_schedule_breaks_no_promise(tmp_path: Path) -> None:
    result = await Run(Schedule(1, SMALL, FAULTS), tmp_path / "run", quick=True).run()
    assert result.violations == []
    assert result.figures["faults"] == len(FAULTS)
    assert result.figures["acknowledged"] >= 10
    assert result.figures["delivered"] == _due(result)

    record = result.record
    record.windows = [replace(window, may=frozenset()) for window in record.windows]
    found = {violation.kind for violation in judge(record)}
    assert "refused without cause: nothing" in found, "out of memory was felt, and noticed"


def _due(result: Result) -> int:
    """Each message once for each session of its user; those of no known outcome as they came."""
    record = result.record
    acked = sum(call.acked for call in record.calls.values())
    perhaps = {number for number, call in record.calls.items() if not call.acked}
    came = sum(n in perhaps for one in record.heard for _, n in one.messages)
    return acked * SMALL.tabs + came


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="long: only with SOAK=1")
@pytest.mark.parametrize("seed", range(3))
async def test_drawn_schedules_break_no_promise(tmp_path: Path, seed: int) -> None:
    result = await Run(draw(seed, abilities()), tmp_path / "run").run()
    assert result.violations == []
