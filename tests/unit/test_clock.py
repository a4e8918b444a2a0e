"""The store's time as a node knows it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from sockets.auth.clients import dated
from sockets.clock import StoreClock, steady_time
from sockets.presence.memory import MemoryPresence
from sockets.types import Credentials
from tests.unit.doubles import NOON, MovedClock


def test_until_the_store_was_heard_it_is_this_machines() -> None:
    assert StoreClock()() == pytest.approx(time.time(), abs=1)
    assert steady_time() == pytest.approx(time.time(), abs=3_600)


def test_what_the_store_says_counts() -> None:
    own = MovedClock(1_000.0)
    clock = StoreClock(own)
    clock.heard(NOON, asked=999.9)
    assert clock() == pytest.approx(NOON)
    own.advance(10)
    assert clock() == pytest.approx(NOON + 10)


def test_a_late_answer_changes_nothing_that_it_agrees_with() -> None:
    own = MovedClock(1_000.0)
    clock = StoreClock(own)
    clock.heard(NOON, asked=1_000.0)
    own.advance(10)
    clock.heard(NOON + 7, asked=1_003.0)  # it says so somewhere in 7 seconds
    assert clock() == pytest.approx(NOON + 10)


def test_a_store_whose_clock_was_set_is_believed() -> None:
    own = MovedClock(1_000.0)
    clock = StoreClock(own)
    for step in (0.0, 300.0, -300.0):
        clock.heard(NOON + step, asked=999.5)
        assert clock() == pytest.approx(NOON + step)


async def test_a_proof_is_dated_by_the_store_and_a_token_by_its_issuer() -> None:
    presence = MemoryPresence(lease=30, clock=MovedClock())
    asked = Credentials("42", "proxy", issued_at=5.0, asked=time.monotonic() - 60)
    found = await dated(asked, presence)
    assert found.issued_at == pytest.approx(NOON - 60, abs=1)
    assert found == replace(asked, issued_at=found.issued_at)
    token = Credentials("42", "jwt", issued_at=5.0)
    assert await dated(token, presence) is token
