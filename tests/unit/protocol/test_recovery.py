"""What a session is told: the cases of protocol.md section 2.4, one by one."""

from __future__ import annotations

import pytest

from sockets.protocol.recovery import (
    Cursor,
    Deliver,
    Live,
    Lost,
    Moved,
    Opening,
    Step,
    plan_opening,
    recoverable,
    steps,
)
from sockets.types import Entry, Page, Position

A, B = "epoch-a", "epoch-b"


def entry(offset: int, exclude: str | None = None) -> Entry:
    return Entry(offset, b'{"id":"%d"}' % offset, exclude)


def page(
    *offsets: int | Entry, head: int, floor: int = 0, epoch: str = A, missing: int | None = None
) -> Page:
    entries = tuple(one if isinstance(one, Entry) else entry(one) for one in offsets)
    return Page(epoch, head, floor, entries, len(entries) if missing is None else missing)


# --- live


@pytest.mark.parametrize(
    ("epoch", "offset", "expected"),
    [
        (A, 6, Live.DELIVER),
        (A, 5, Live.DUPLICATE),
        (A, 1, Live.DUPLICATE),
        (A, 7, Live.BEHIND),
        (A, 700, Live.BEHIND),
        (B, 6, Live.BEHIND),
        (B, 5, Live.BEHIND),
        (B, 1, Live.BEHIND),
    ],
)
def test_a_live_message_at_offset_five(epoch: str, offset: int, expected: Live) -> None:
    assert Cursor(A, 5, behind=False).on_live(epoch, offset) is expected


@pytest.mark.parametrize(("epoch", "offset"), [(A, 5), (A, 6), (A, 7), (B, 1)])
def test_live_messages_wait_while_the_stream_is_read(epoch: str, offset: int) -> None:
    assert Cursor(A, 5, behind=True).on_live(epoch, offset) is Live.BEHIND


def test_judging_a_message_moves_nothing() -> None:
    cursor = Cursor(A, 5, behind=False)
    for _ in range(2):
        assert cursor.on_live(A, 6) is Live.DELIVER
    cursor.moved(A, 6)
    assert cursor.on_live(A, 6) is Live.DUPLICATE


def test_a_new_cursor_must_read_first() -> None:
    assert Cursor(A, 0).behind


# --- opening


@pytest.mark.parametrize(
    ("position", "found", "expected"),
    [
        (None, page(head=5), Opening(None, Position(A, 5))),
        (None, page(head=0), Opening(None, Position(A, 0))),
        (Position(A, 3), page(4, 5, head=5), Opening(True, Position(A, 3))),
        (Position(A, 5), page(head=5), Opening(True, Position(A, 5))),
        (Position(A, 0), page(1, head=1), Opening(True, Position(A, 0))),
        (Position(A, 0), page(head=3), Opening(True, Position(A, 0))),
        (Position(A, 3), page(4, 5, head=5, floor=3), Opening(True, Position(A, 3))),
        (Position(A, 2), page(4, 5, head=5, floor=3), Opening(False, Position(A, 5))),
        (Position(A, 6), page(head=5), Opening(False, Position(A, 5))),
        (Position(B, 3), page(head=5), Opening(False, Position(A, 5))),
        (Position("", 0), page(head=0), Opening(False, Position(A, 0))),
        (Position(A, 1), page(2, 3, 4, head=4), Opening(True, Position(A, 1))),
        (Position(A, 0), page(1, 2, 3, 4, head=4), Opening(False, Position(A, 4))),
        (Position(A, 0), page(1, 2, head=9, missing=4), Opening(False, Position(A, 9))),
        (Position(A, 0), page(1, 2, head=9, missing=3), Opening(True, Position(A, 0))),
    ],
)
def test_how_a_session_begins(position: Position | None, found: Page, expected: Opening) -> None:
    assert plan_opening(position, found, limit=3) == expected


@pytest.mark.parametrize(
    ("offset", "epoch", "expected"),
    [(2, A, False), (3, A, True), (7, A, True), (8, A, False), (5, B, False)],
)
def test_what_can_be_recovered(offset: int, epoch: str, expected: bool) -> None:
    assert recoverable(Position(epoch, offset), page(head=7, floor=3)) is expected


# --- steps


def told(offset: int, found: Page, client: str = "me") -> list[Step]:
    return list(steps(Cursor(A, offset), found, client))


def test_a_page_without_holes_is_told_entry_by_entry() -> None:
    assert told(3, page(4, 5, head=5)) == [Deliver(entry(4), None), Deliver(entry(5), None)]


def test_prev_is_told_where_something_was_left_out() -> None:
    assert told(1, page(3, 4, 7, head=7)) == [
        Deliver(entry(3), 1),
        Deliver(entry(4), None),
        Deliver(entry(7), 4),
    ]


def test_the_position_is_told_when_nothing_follows() -> None:
    assert told(3, page(head=6)) == [Moved(6)]
    assert told(3, page(4, head=6)) == [Deliver(entry(4), None), Moved(6)]


def test_nothing_is_told_to_whoever_is_at_the_head() -> None:
    assert told(6, page(4, 5, 6, head=6)) == []
    assert told(6, page(head=6)) == []


def test_a_page_may_begin_before_the_cursor() -> None:
    assert told(4, page(3, 4, 5, head=5)) == [Deliver(entry(5), None)]


def test_a_part_of_the_stream_moves_only_to_its_own_end() -> None:
    part = page(4, entry(5, exclude="me"), head=99, missing=3)
    assert told(3, part) == [Deliver(entry(4), None), Moved(5)]
    assert told(5, part) == [], "it was told what the part says"


def test_the_client_that_caused_a_message_is_told_the_position_only() -> None:
    found = page(4, entry(5, exclude="me"), 6, entry(7, exclude="me"), head=7)
    assert told(3, found) == [Deliver(entry(4), None), Deliver(entry(6), 4), Moved(7)]
    other = told(3, found, client="you")
    assert [step.entry.offset for step in other if isinstance(step, Deliver)] == [4, 5, 6, 7]
    assert all(isinstance(step, Deliver) and step.prev is None for step in other)


@pytest.mark.parametrize(
    ("offset", "found"),
    [
        (3, page(5, 6, head=6, floor=4)),
        (9, page(head=6)),
        (3, page(4, head=4, epoch=B)),
        (0, page(1, head=1, epoch=B)),
    ],
)
def test_what_cannot_be_told_is_said(offset: int, found: Page) -> None:
    assert told(offset, found) == [Lost(Position(found.epoch, found.head))]


def test_the_driver_moves_the_cursor_not_the_walk() -> None:
    cursor = Cursor(A, 3)
    walk = steps(cursor, page(4, 5, head=5), "me")
    next(walk)
    assert (cursor.epoch, cursor.offset) == (A, 3)
    cursor.moved(A, 4)
    assert list(walk) == [Deliver(entry(5), None)], "a walk may be gone on with"
    cursor.moved(A, 4)
    assert list(steps(cursor, page(4, 5, head=5), "me")) == [Deliver(entry(5), None)]


@pytest.mark.parametrize(
    ("found", "end"),
    [
        (page(head=6), 6),
        (page(4, head=6), 6),
        (page(4, head=6, missing=2), 4),
        (page(head=0), 0),
    ],
)
def test_the_end_of_a_page(found: Page, end: int) -> None:
    assert found.end == end
