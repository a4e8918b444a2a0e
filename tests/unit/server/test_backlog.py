"""A crowd in the kernel's queue: who has gone, who has waited for long, and for how long that is
so."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from sockets.server.backlog import LONG, SPAN, Waits, look_at

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client, and the server's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with client, accepted:
        yield client, accepted


def soon(what: Callable[[], bool]) -> bool:
    """Whether it is so within seconds: the loopback hands over a little later."""
    end = time.monotonic() + 5
    while not what() and time.monotonic() < end:
        time.sleep(0.001)
    return what()


def waits() -> tuple[Waits, list[float]]:
    now = [0.0]
    return Waits(lambda: now[0]), now


def test_whoever_waited_long_is_late_while_most_do() -> None:
    queue, now = waits()
    assert not any(queue.note(LONG) for _ in range(10)), "the process may have stood still once"
    now[0] = SPAN
    assert all(queue.note(LONG) for _ in range(10))
    assert not queue.note(LONG - 0.1), "it has waited for less"
    now[0] = 2 * SPAN
    assert queue.note(LONG)
    assert not any(queue.note(0) for _ in range(10))
    now[0] = 3 * SPAN
    assert not queue.note(LONG), "most have waited for less by now"


def test_a_few_that_did_not_wait_hide_no_crowd() -> None:
    """Kept connections of a proxy, for instance, pass no queue."""
    queue, now = waits()
    late = []
    for number in range(3000):
        now[0] = number / 1000 * SPAN
        late.append(queue.note(0.0 if number % 3 == 0 else LONG + 4))
    assert sum(late[:1000]) == 0 and sum(late[1001:]) > 1300


def test_what_was_long_ago_says_nothing() -> None:
    queue, now = waits()
    queue.note(LONG)
    for later in (3600.0, 3600 + 2 * SPAN, 3600 + 5 * SPAN):
        now[0] = later
        assert not queue.note(LONG)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' struct tcp_info")
def test_how_long_a_request_has_waited(pair: Pair) -> None:
    client, accepted = pair
    time.sleep(0.3)  # the connection is older than the request
    began = time.monotonic()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    accepted.recv(100)
    time.sleep(0.2)
    accepted.sendall(b"HTTP/1.1 200 OK\r\n\r\n")  # and our last data is younger
    assert 0.15 < look_at(accepted)[1] <= time.monotonic() - began + 0.05


def test_what_is_no_tcp_connection_has_not_waited() -> None:
    one, two = socket.socketpair()
    with one, two:
        assert look_at(one) == (False, 0.0)
        two.close()
        assert look_at(one) == (True, 0.0)
    assert look_at(one) == (True, 0.0)


@pytest.mark.parametrize("system", [sys.platform, "of another name"])
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_has_gone(
    pair: Pair, sent: bytes, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    client, accepted = pair
    client.sendall(sent)
    if sent:
        accepted.recv(100)
    assert not look_at(accepted)[0]
    client.sendall(b"more")
    assert soon(lambda: not look_at(accepted)[0])
    assert accepted.recv(100) == b"more", "it only looks"
    client.close()
    assert soon(lambda: look_at(accepted)[0])


@pytest.mark.parametrize("system", [sys.platform, "of another name"])
def test_a_reset_is_gone_too(pair: Pair, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    client, accepted = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert soon(lambda: look_at(accepted)[0])
