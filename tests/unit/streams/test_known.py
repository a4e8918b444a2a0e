"""What a process knows of its users' streams: the newest position, in the newest epoch."""

from __future__ import annotations

import pytest

from sockets.streams.known import LATE, Known, KnownPositions, Latest, mark_of, newest
from sockets.types import Page, Position
from tests.support.doubles import MovedClock


def at(offset: int, epoch: str = "e", mark: bytes = b"") -> Known:
    return Known(Position(epoch, offset), mark)


def test_a_page_tells_the_head_of_its_stream() -> None:
    page = Page("e", 7, 0, (), 0, newest=b'{"id":"A"')
    assert Known.by(page) == at(7, mark=b'{"id":"A"')


@pytest.mark.parametrize(
    ("body", "mark"),
    [
        (b'{"id":"A","event":"e"}', b'{"id":"A"'),
        (b'{"event":"e","id":"A"}', b""),
        (b'{"id":"A', b""),
        (b"", b""),
    ],
)
def test_a_mark_is_the_start_of_the_body_up_to_its_id(body: bytes, mark: bytes) -> None:
    assert mark_of(body) == mark


def test_the_later_of_two_is_the_newest() -> None:
    assert newest(None, None) is None
    assert newest(at(1), None) == newest(None, at(1)) == at(1)
    assert newest(at(1), at(2)) == newest(at(2), at(1)) == at(2)
    assert newest(at(1, mark=b"m"), at(2)) == at(2)
    assert newest(at(1, "new"), at(2, "old")) == at(1, "new")


def test_of_two_at_one_offset_the_marked_one_counts() -> None:
    assert newest(at(1), at(1, mark=b"m")) == at(1, mark=b"m")
    assert newest(at(1, mark=b"m"), at(1)) == at(1, mark=b"m")


def test_an_earlier_offset_changes_nothing() -> None:
    latest = Latest()
    for offset in (1, 3, 2):
        latest.take(at(offset))
    assert latest.known == at(3)


def test_a_late_answer_of_the_epoch_before_changes_nothing() -> None:
    clock = MovedClock()
    latest = Latest(clock)
    latest.take(at(9, "old"))
    latest.take(at(1, "new"))
    clock.advance(LATE - 0.1)
    latest.take(at(9, "old"))
    assert latest.known == at(1, "new")
    clock.advance(0.2)
    latest.take(at(9, "old"))
    assert latest.known == at(9, "old"), "so late it is no late answer: the store is back there"


def test_the_user_of_whom_nothing_was_learned_for_longest_is_forgotten() -> None:
    positions = KnownPositions(size=2)
    for user, offset in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        positions.note(user, at(offset))
    assert [positions.get(user) for user in "abc"] == [at(2), None, at(1)]
