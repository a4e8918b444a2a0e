"""What goes between nodes when operators ask, also between two versions."""

from __future__ import annotations

import msgspec
import pytest

from sockets.operations.wire import Condition, Query, Step, body_of, read, without_bodies
from sockets.reports import FrameHeader, Health, TracedFrame
from sockets.types import Kind
from tests.support.doubles import NOON, info


def test_a_question_arrives_as_it_was() -> None:
    query = Query(kind=Kind.WORKER, health=Health.SLOW, ids=frozenset("a"), born_after=NOON)
    assert read({"body": body_of(query)}, Query) == query
    assert hash(query) == hash(read({"body": body_of(query)}, Query)), "it names a shared answer"


def test_a_later_version_may_know_more_and_an_earlier_one_less() -> None:
    assert read({"body": b'{"limit":7,"colour":"red"}'}, Query) == Query(limit=7)
    assert read({"body": b'{"at":5}'}, Step) == Step(5.0)
    with pytest.raises(ValueError, match="state"):
        read({"body": b"{}"}, Condition)


def test_what_fits() -> None:
    session = info(address="192.0.2.1:5", agent="Firefox")
    assert Query(address="192.0", agent="fire", born_before=NOON).fits(session)
    for query in (
        Query(kind=Kind.WORKER),
        Query(address="198."),
        Query(agent="chrome"),
        Query(born_after=NOON + 1),
        Query(born_before=NOON - 1),
        Query(ids=frozenset()),
        Query(ids=frozenset(), either="another"),
    ):
        assert not query.fits(session), query


def test_bodies_are_left_out() -> None:
    header = FrameHeader(1, NOON, True, "send", "e", 5)
    frames = [TracedFrame("s", "here", header, "secret")]
    assert without_bodies(frames) == [TracedFrame("s", "here", header, None)]
    assert b"secret" not in msgspec.json.encode(without_bodies(frames))
