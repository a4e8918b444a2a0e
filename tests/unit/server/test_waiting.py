"""The waiting room: deadlines, and the oldest goes for the newest."""

from __future__ import annotations

from sockets.server.waiting import PATIENCE, WaitingConnections


def room_of(*names: str, most: int = 10) -> tuple[WaitingConnections, list[float]]:
    now = [0.0]
    room = WaitingConnections(most, lambda: now[0])
    for name in names:
        assert room.enter(name, 10) == []
    return room, now


def test_who_waits_too_long_is_told_once() -> None:
    room, now = room_of("a", "b")
    room.enter("c", 5)
    now[0] = 9.9
    assert list(room.overdue()) == ["c"]
    now[0] = 10
    assert list(room.overdue()) == ["a", "b"]
    assert list(room.overdue()) == [] and len(room) == 0


def test_whose_request_has_come_is_not_overdue() -> None:
    room, now = room_of("a", "b")
    room.leave("a")
    room.leave("a")
    assert "a" not in room and "b" in room
    now[0] = 100
    assert list(room.overdue()) == ["b"]


def test_the_oldest_goes_for_the_newest() -> None:
    room, now = room_of("a", "b", "c", most=3)
    now[0] = PATIENCE
    assert not room.full
    assert room.enter("d", 10) == ["a"]
    room.leave("b")
    assert room.enter("e", 10) == []
    assert room.enter("f", 10) == ["c"]
    assert len(room) == 3


def test_a_crowd_that_has_just_come_is_not_cut() -> None:
    room, now = room_of("a", "b", "c", most=3)
    full: list[bool] = [room.full]
    assert room.enter("d", 10) == [] and len(room) == 4
    for who in ("b", "c"):
        room.leave(who)
        full.append(room.full)
    assert room.enter("e", 10) == []
    full.append(room.full)
    now[0] = PATIENCE
    full.append(room.full)
    assert room.enter("f", 10) == ["a"]
    assert full == [True, True, False, True, False]
    assert len(room) == 3


def test_as_many_go_as_there_are_too_many() -> None:
    room, now = room_of("a", "b", "c", most=3)
    for name in ("d", "e"):
        room.enter(name, 10)
    now[0] = PATIENCE
    assert room.enter("f", 10) == ["a", "b", "c"]
    assert len(room) == 3


def test_whoever_enters_again_is_the_newest() -> None:
    """As for the body, behind the head."""
    room, now = room_of("a", "b", "c", most=3)
    room.leave("a")
    now[0] = PATIENCE
    assert room.enter("a", 10) == []
    assert room.enter("d", 10) == ["b"]
