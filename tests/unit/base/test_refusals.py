"""Who was refused: bounded, whoever knocks how often."""

from __future__ import annotations

from typing import Any

from sockets.base.refusals import AGE, MOST, SHARE, Refusals
from sockets.types import Kind
from tests.support.doubles import MovedClock


def note(ring: Refusals, address: str = "192.0.2.1", **given: Any) -> None:
    ring.note(Kind.CLIENT, 4501, "token: expired", address=address, **given)


def test_the_newest_comes_first() -> None:
    clock = MovedClock()
    ring = Refusals(clock)
    note(ring, user="kim", client_id="c", agent="a" * 1_000, origin="https://shop.test")
    clock.advance(5)
    note(ring, address="192.0.2.2", claimed="ann")
    (two, _), (one, times) = ring.read()[0]
    assert (one.user, two.user, one.client_id, one.origin) == (
        "kim",
        "ann",
        "c",
        "https://shop.test",
    )
    assert len(one.agent) == 256
    assert (times.since, times.at, times.count) == (clock.now - 5, clock.now - 5, 1)


def test_the_same_again_is_one_line_that_counts() -> None:
    clock = MovedClock()
    ring = Refusals(clock)
    note(ring)
    note(ring, address="192.0.2.9")
    clock.advance(60)
    note(ring)
    (line, times), _ = ring.read()[0]
    assert line.address == "192.0.2.1"
    assert (times.count, times.since, times.at) == (2, clock.now - 60, clock.now)


def test_whose_it_was_counts_more_than_whose_it_said_to_be() -> None:
    ring = Refusals(MovedClock())
    note(ring, user="kim", claimed="root")
    assert ring.read()[0][0][0].user == "kim"


def test_one_address_does_not_push_out_the_others() -> None:
    ring = Refusals(MovedClock())
    note(ring, address="198.51.100.1")
    for number in range(10 * MOST):
        note(ring, agent=f"{number}")
    lines, forgotten = ring.read()
    assert len(lines) == SHARE + 1 and forgotten == 10 * MOST - SHARE
    assert lines[-1][0].address == "198.51.100.1"
    assert lines[0][0].agent == f"{10 * MOST - 1}"


def test_nor_do_the_addresses_of_one_network_of_ipv6() -> None:
    ring = Refusals(MovedClock())
    for number in range(3 * SHARE):
        note(ring, address=f"2001:db8::{number:x}")
    assert len(ring.read()[0]) == SHARE


def test_many_addresses_share_the_ring_and_what_is_forgotten_is_counted() -> None:
    ring = Refusals(MovedClock())
    for number in range(MOST + 50):
        note(ring, address=f"10.0.{number // 250}.{number % 250}")
        note(ring, address=f"10.0.{number // 250}.{number % 250}")
    lines, forgotten = ring.read()
    assert (len(lines), forgotten) == (MOST, 100)


def test_an_hour_is_remembered() -> None:
    clock = MovedClock()
    ring = Refusals(clock)
    for number in range(2 * SHARE):
        note(ring, agent=f"{number}")
    clock.advance(AGE - 60)
    note(ring, address="198.51.100.1")
    assert (len(ring.read()[0]), ring.read()[1]) == (SHARE + 1, SHARE)
    clock.advance(180)
    assert [line.address for line, _ in ring.read()[0]] == ["198.51.100.1"]
    assert ring.read()[1] == 0
    note(ring)
    assert len(ring.read()[0]) == 2, "its share is free again"


def test_lines_of_a_user_go() -> None:
    ring = Refusals(MovedClock())
    long = "k" * 300
    for user in ("kim", "ann", "", long):
        note(ring, user=user)
    note(ring, claimed="kim", client_id="c")
    ring.forget("kim")
    ring.forget("")
    assert [line.user for line, _ in ring.read()[0]] == [long[:256], "", "ann"]
    ring.forget(long)
    assert [line.user for line, _ in ring.read()[0]] == ["", "ann"]
    for _ in range(SHARE):
        note(ring, user="ann")
    assert len(ring.read()[0]) == 2
