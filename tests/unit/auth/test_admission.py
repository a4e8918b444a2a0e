"""What is refused before it is served: rates of addresses and of the node, requests at once."""

from __future__ import annotations

import logging

import pytest

from sockets.auth.admission import MAX_ADDRESSES, Door
from sockets.base import metrics
from sockets.base.client_address import neighbourhood
from sockets.conf import Conf
from sockets.types import AtDoor, Surface


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counted(why: AtDoor) -> float:
    value: float = metrics.turned_away[why]._value.get()
    return value


def test_an_address_has_its_rate(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    before = counted(AtDoor.ADDRESS_RATE)
    door = Door(Conf(connect_rate=2.0, connect_burst=3), clock)
    assert [door.refuses_handshake("10.0.0.1") for _ in range(5)] == [False] * 3 + [True] * 2
    assert not door.refuses_handshake("10.0.0.2"), "another one has its own"
    clock.now += 1
    assert [door.refuses_handshake("10.0.0.1") for _ in range(3)] == [False, False, True]
    assert counted(AtDoor.ADDRESS_RATE) - before == 3
    assert caplog.records[-1].audit == {  # type: ignore[attr-defined]
        "surface": "public",
        "code": 503,
        "reason": "too many connections from this address",
        "address": "10.0.0.1",
    }


def test_a_node_has_its_rate_whoever_comes(clock: Clock) -> None:
    door = Door(Conf(connect_rate=0, node_connect_rate=10.0, node_connect_burst=20), clock)
    assert [door.refuses_handshake(f"10.0.0.{n}") for n in range(25)] == [False] * 20 + [True] * 5


def test_who_is_refused_by_address_takes_nothing_of_the_node(clock: Clock) -> None:
    conf = Conf(connect_rate=1, connect_burst=1, node_connect_rate=1, node_connect_burst=2)
    door = Door(conf, clock)
    for _ in range(10):
        door.refuses_handshake("10.0.0.1")
    assert not door.refuses_handshake("10.0.0.2")


def test_zero_is_any_number_and_nobody_knows_a_unix_sockets_address(clock: Clock) -> None:
    free = Door(Conf(connect_rate=0, node_connect_rate=0, max_requests=0), clock)
    assert not any(free.refuses_handshake("10.0.0.1") for _ in range(10_000))
    assert all(free.begin_request(Surface.PUBLIC, "") for _ in range(10_000))
    door = Door(Conf(connect_rate=1, connect_burst=1), clock)
    assert not any(door.refuses_handshake("") for _ in range(100))


def test_addresses_are_forgotten(clock: Clock) -> None:
    door = Door(Conf(connect_rate=1, connect_burst=1, node_connect_rate=0), clock)
    door.refuses_handshake("first")
    for number in range(MAX_ADDRESSES):
        door.refuses_handshake(f"{number}")
    assert door._addresses is not None and len(door._addresses._buckets) == MAX_ADDRESSES
    assert not door.refuses_handshake("first"), "longest ago, so unknown by now"


def test_requests_at_once(clock: Clock) -> None:
    door = Door(Conf(max_requests=2), clock)
    got = [door.begin_request(Surface.PRIVATE, "10.0.0.1") for _ in range(4)]
    assert got == [True, True, False, False]
    door.end_request(Surface.PRIVATE, "10.0.0.1")
    assert door.begin_request(Surface.PRIVATE, "10.0.0.1")
    assert not door.begin_request(Surface.PRIVATE, "10.0.0.1")


def test_slow_readers_of_pages_keep_no_backend_from_the_api(clock: Clock) -> None:
    door = Door(Conf(max_requests=8), clock)
    for host in ("10.0.0.1", "2001:db8::1", "10.0.0.3", "10.0.0.4"):
        assert [door.begin_request(Surface.PUBLIC, host) for _ in range(3)] == [True, True, False]
    assert not door.begin_request(Surface.PUBLIC, "10.0.0.5"), "all of them are taken"
    assert not door.begin_request(Surface.PUBLIC, "2001:db8::2"), "one customer's"
    assert all(door.begin_request(Surface.PRIVATE, "10.0.1.1") for _ in range(8))
    door.end_request(Surface.PUBLIC, "2001:db8::2")
    assert door.begin_request(Surface.PUBLIC, "10.0.0.5")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_what_counts_as_one_address(host: str, expected: str) -> None:
    assert neighbourhood(host) == expected
