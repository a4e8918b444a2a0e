"""When each client of a node that goes should come back."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockets.delivery.hub import Hub, LocalSession
from sockets.layers.memory import MemoryChannelLayer
from sockets.node.drain import drain, spread
from tests.support.doubles import WELCOME, local_session, outbox_of, until
from tests.support.patience import PATIENCE


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


def crowd(hub: Hub, count: int) -> list[LocalSession]:
    sessions = [local_session(f"u{n}") for n in range(count)]
    for session in sessions:
        session.welcome(WELCOME)
        hub.add(session)
    return sessions


async def test_a_drain_that_is_cut_short_closes_the_rest_at_once() -> None:
    """The second SIGTERM."""
    hub = Hub(MemoryChannelLayer())
    sessions = crowd(hub, 5)
    draining = asyncio.ensure_future(drain(hub, 1000))
    await until(lambda: all(outbox_of(session).frames for session in sessions))
    assert not any(outbox_of(session).closed for session in sessions)
    draining.cancel()
    await asyncio.wait({draining})
    assert {outbox_of(session).closed for session in sessions} == {(4000, "this node is draining")}


async def test_a_drain_ends_when_nobody_is_left() -> None:
    hub = Hub(MemoryChannelLayer())
    sessions = crowd(hub, 3)
    draining = asyncio.ensure_future(drain(hub, 1000))
    await until(lambda: outbox_of(sessions[0]).frames)
    for session in sessions:
        hub.discard(session)
    async with asyncio.timeout(PATIENCE):
        await draining


async def test_a_drain_of_nobody_is_over_at_once() -> None:
    async with asyncio.timeout(PATIENCE):
        await drain(Hub(MemoryChannelLayer()), 1000)


async def test_without_time_everybody_goes_at_once() -> None:
    hub = Hub(MemoryChannelLayer())
    sessions = crowd(hub, 3)
    async with asyncio.timeout(PATIENCE):
        await drain(hub, 0)
    assert all(outbox_of(session).closed for session in sessions)
