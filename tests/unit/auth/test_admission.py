"""What is refused before it is served: rates of addresses and of the node, requests at once."""

from __future__ import annotations

import logging

import pytest

from sockets.auth.admission import MAX_ADDRESSES, Admission
from sockets.base import metrics
from sockets.base.client_address import neighbourhood
from sockets.conf import Conf
from sockets.types import Refusal, Surface


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counted(why: Refusal) -> float:
    value: float = metrics.refused[why]._value.get()
    return value


def test_an_address_has_its_rate(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    before = counted(Refusal.ADDRESS_RATE)
    admission = Admission(Conf(connect_rate=2.0, connect_burst=3), clock)
    assert [admission.refuses_handshake("10.0.0.1") for _ in range(5)] == [False] * 3 + [True] * 2
    assert not admission.refuses_handshake("10.0.0.2"), "another one has its own"
    clock.now += 1
    assert [admission.refuses_handshake("10.0.0.1") for _ in range(3)] == [False, False, True]
    assert counted(Refusal.ADDRESS_RATE) - before == 3
    assert caplog.records[-1].audit == {  # type: ignore[attr-defined]
        "surface": "public",
        "code": 503,
        "reason": "too many connections from this address",
        "address": "10.0.0.1",
    }


def test_a_node_has_its_rate_whoever_comes(clock: Clock) -> None:
    admission = Admission(
        Conf(connect_rate=0, node_connect_rate=10.0, node_connect_burst=20), clock
    )
    assert [admission.refuses_handshake(f"10.0.0.{n}") for n in range(25)] == [False] * 20 + [
        True
    ] * 5


def test_who_is_refused_by_address_takes_nothing_of_the_node(clock: Clock) -> None:
    conf = Conf(connect_rate=1, connect_burst=1, node_connect_rate=1, node_connect_burst=2)
    admission = Admission(conf, clock)
    for _ in range(10):
        admission.refuses_handshake("10.0.0.1")
    assert not admission.refuses_handshake("10.0.0.2")


def test_zero_is_any_number_and_nobody_knows_a_unix_sockets_address(clock: Clock) -> None:
    free = Admission(Conf(connect_rate=0, node_connect_rate=0, max_requests=0), clock)
    assert not any(free.refuses_handshake("10.0.0.1") for _ in range(10_000))
    assert all(free.begin_request(Surface.PUBLIC, "") for _ in range(10_000))
    admission = Admission(Conf(connect_rate=1, connect_burst=1), clock)
    assert not any(admission.refuses_handshake("") for _ in range(100))


def test_addresses_are_forgotten(clock: Clock) -> None:
    admission = Admission(Conf(connect_rate=1, connect_burst=1, node_connect_rate=0), clock)
    admission.refuses_handshake("first")
    for number in range(MAX_ADDRESSES):
        admission.refuses_handshake(f"{number}")
    assert admission._addresses is not None and len(admission._addresses._buckets) == MAX_ADDRESSES
    assert not admission.refuses_handshake("first"), "longest ago, so unknown by now"


def test_requests_at_once(clock: Clock) -> None:
    admission = Admission(Conf(max_requests=2), clock)
    got = [admission.begin_request(Surface.PRIVATE, "10.0.0.1") for _ in range(4)]
    assert got == [True, True, False, False]
    admission.end_request(Surface.PRIVATE, "10.0.0.1")
    assert admission.begin_request(Surface.PRIVATE, "10.0.0.1")
    assert not admission.begin_request(Surface.PRIVATE, "10.0.0.1")


def test_slow_readers_of_pages_keep_no_backend_from_the_api(clock: Clock) -> None:
    admission = Admission(Conf(max_requests=8), clock)
    for host in ("10.0.0.1", "2001:db8::1", "10.0.0.3", "10.0.0.4"):
        assert [admission.begin_request(Surface.PUBLIC, host) for _ in range(3)] == [
            True,
            True,
            False,
        ]
    assert not admission.begin_request(Surface.PUBLIC, "10.0.0.5"), "all of them are taken"
    assert not admission.begin_request(Surface.PUBLIC, "2001:db8::2"), "one customer's"
    assert all(admission.begin_request(Surface.PRIVATE, "10.0.1.1") for _ in range(8))
    admission.end_request(Surface.PUBLIC, "2001:db8::2")
    assert admission.begin_request(Surface.PUBLIC, "10.0.0.5")


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
