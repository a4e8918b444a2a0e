"""Idle connections: the longest idle goes for a new one, and an address keeps its share."""

from __future__ import annotations

from sockets.server.idle import SHARES, IdleConnections


def test_the_longest_idle_goes_for_one_more() -> None:
    idle = IdleConnections(3)
    assert [idle.enter(name, name) for name in "abc"] == [None] * 3
    idle.enter("a", "a")  # idle again, and so the newest
    assert idle.enter("d", "d") == "b"
    assert len(idle) == 3 and "b" not in idle and "a" in idle


def test_one_address_closes_its_own() -> None:
    idle = IdleConnections(2 * SHARES)
    idle.enter("other", "10.0.0.2")
    assert [idle.enter(n, "10.0.0.1") for n in range(4)] == [None, None, 0, 1]
    assert "other" in idle and len(idle) == 3


def test_an_address_that_is_not_known_has_no_share() -> None:
    idle = IdleConnections(2 * SHARES)
    assert [idle.enter(n, "") for n in range(2 * SHARES)] == [None] * 2 * SHARES
    assert idle.enter("one more", "") == 0


def test_one_that_has_a_request_is_not_closed() -> None:
    idle = IdleConnections(2)
    idle.enter("a", "1")
    idle.enter("b", "2")
    idle.leave("a")
    idle.leave("a")
    assert idle.enter("c", "3") is None
    assert idle.enter("d", "4") == "b"


def test_without_a_bound_nobody_is_noted() -> None:
    idle = IdleConnections(0)
    assert [idle.enter(n, "1") for n in range(9)] == [None] * 9
    assert len(idle) == 0
    idle.leave(1)


def test_an_address_that_is_gone_is_forgotten() -> None:
    idle = IdleConnections(8)
    for n in range(50):
        idle.enter(n, str(n))
        idle.leave(n)
    assert not idle._by_address
