"""What is the memory streams' own, beside the contract: how many records and receipts they keep."""

from __future__ import annotations

from typing import Any

from sockets.base.ids import new_id
from sockets.streams.base import ASKED_TTL, NewEntry
from sockets.streams.memory import MemoryStreams
from sockets.types import Position
from tests.support.doubles import MovedClock


def streams(clock: MovedClock, **given: Any) -> MemoryStreams:
    options: dict[str, Any] = {
        "size": 3,
        "ttl": 100.0,
        "record_ttl": 1_000.0,
        "idempotency_ttl": 50.0,
        "max_users": 3,
    }
    return MemoryStreams(**options | given, clock=clock)


def entry(**given: Any) -> NewEntry:
    return NewEntry(**{"id": new_id(), "body": b"{}"} | given)


async def position(subject: MemoryStreams, user: str) -> Position | None:
    page = await subject.read(user, None, 0)
    return Position(page.epoch, page.head) if page.epoch else None


async def test_a_user_with_a_session_is_never_forgotten() -> None:
    clock = MovedClock()
    subject = streams(clock)
    followed = await subject.follow("here", None, 0)
    clock.advance(5_000)
    for n in range(5):
        await subject.append(f"away {n}", entry())
    assert await position(subject, "here") == Position(followed.epoch, 0)
    found = [await position(subject, f"away {n}") is not None for n in range(5)]
    assert found == [False, False, False, True, True]


async def test_one_who_left_is_forgotten_by_their_last_use() -> None:
    clock = MovedClock()
    subject = streams(clock)
    await subject.follow("u", None, 0)
    clock.advance(5_000)
    subject.left("u", None)
    subject.left("nobody", None)
    clock.advance(999)
    assert await position(subject, "u") is not None
    clock.advance(1)
    assert await position(subject, "u") is None


async def test_of_whom_only_a_position_was_asked_goes_first() -> None:
    clock = MovedClock()
    subject = streams(clock)
    await subject.append("used", entry())
    await subject.head("asked")
    await subject.append("second", entry())
    await subject.append("third", entry())
    assert await position(subject, "asked") is None
    assert await position(subject, "used") is not None


async def test_asking_again_keeps_the_record_that_asking_made() -> None:
    clock = MovedClock()
    subject = streams(clock)
    first = await subject.head("u")
    for _ in range(2):
        clock.advance(ASKED_TTL - 1)
        assert await subject.head("u") == first
    clock.advance(ASKED_TTL)
    assert await subject.head("u") != first, "another epoch"


async def test_receipts_of_a_user_are_bounded() -> None:
    subject = streams(MovedClock())
    entries = [entry(idempotency_key=f"k{n}") for n in range(4)]
    for one in entries:
        await subject.append("u", one)
    again = [(await subject.append("u", one)).duplicate for one in reversed(entries)]
    assert again == [True, True, True, False], "two receipts for each of the three that are kept"


async def test_heads_are_for_those_who_are_here() -> None:
    clock = MovedClock()
    subject = streams(clock)
    heads = await subject.heads(["u", "v"])
    clock.advance(5_000)
    assert await subject.heads(["u", "v"]) == heads
