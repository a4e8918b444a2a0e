"""What only presence in memory does: it keeps itself small."""

from __future__ import annotations

import pytest

from sockets.presence import memory
from sockets.presence.memory import MemoryPresence
from tests.support.doubles import MovedClock, info

LEASE, GRACE, NODE = 30.0, 10.0, "a:1"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


async def test_many_who_came_and_went_leave_little(clock: MovedClock) -> None:
    presence = MemoryPresence(lease=LEASE, grace=GRACE, max_users=10, clock=clock)
    for n in range(50):
        await presence.register(one := info(f"u{n}"))
        await presence.release(one)
        clock.advance(GRACE + 1)
        await presence.settle([one.user])
    assert len(presence._users) <= 11


async def test_one_who_stays_keeps_nobody_else_in_memory(clock: MovedClock) -> None:
    """Above all whoever's change cannot be told while the API server is away."""
    presence = MemoryPresence(lease=LEASE, grace=GRACE, max_users=10, clock=clock)
    for n in range(5):
        await presence.register(one := info(f"unannounced{n}"), NODE)
        await presence.release(one, NODE)
    clock.advance(GRACE + 1)
    await presence.settle([f"unannounced{n}" for n in range(5)], NODE)
    for n in range(100):
        await presence.register(one := info(f"u{n}"))
        await presence.release(one)
        clock.advance(GRACE + 1)
        await presence.settle([one.user])
    assert len(presence._users) <= 20
    assert (await presence.settle(["unannounced0"], NODE))["unannounced0"].changes


async def test_blocks_that_are_over_are_forgotten(clock: MovedClock) -> None:
    presence = MemoryPresence(lease=LEASE, clock=clock)
    await presence.block("for ever", None)
    for n in range(5_000):
        await presence.block(f"u{n}", clock() + 1.0)
        clock.advance(0.01)
    assert len(presence._blocked) <= 1_000
    assert await presence.unblock("for ever") and await presence.unblock("u4999")


async def test_ends_of_sessions_are_forgotten(
    clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MAX_ENDED", 10)
    presence = MemoryPresence(lease=LEASE, clock=clock)
    for _ in range(50):
        await presence.register(info("42"))
        await presence.end("42", 4504, "because")
    assert len(presence._ended) <= 11


async def test_revocations_that_are_over_are_forgotten(
    clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MIN_SWEEP", 10)
    presence = MemoryPresence(lease=LEASE, clock=clock)
    for n in range(100):
        await presence.revoke(f"u{n}", "user", None)
        clock.advance(10 * 24 * 3600)
    assert len(presence._revoked) <= 10
