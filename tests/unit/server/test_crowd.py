"""A crowd in the kernel's queue: who has gone, who has waited for long, and for how long that is
so."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator

import pytest

from sockets.server.crowd import LONG, STAYS, Queue, is_gone, waited

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client, and the server's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with client, accepted:
        yield client, accepted


def test_a_queue_is_too_long_when_it_stays_so() -> None:
    now = [0.0]
    queue = Queue(lambda: now[0])
    assert not queue.is_too_long(LONG)
    now[0] = STAYS - 0.1
    assert not queue.is_too_long(LONG + 30), "a moment in which the process stood still"
    now[0] = STAYS
    assert queue.is_too_long(LONG)
    assert not queue.is_too_long(LONG - 0.1), "those behind have waited for less"
    assert not queue.is_too_long(LONG), "it begins anew"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' struct tcp_info")
def test_how_long_a_request_has_waited(pair: Pair) -> None:
    client, accepted = pair
    began = time.monotonic()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    accepted.recv(100)
    time.sleep(0.2)
    assert 0.15 < waited(accepted) <= time.monotonic() - began + 0.05


def test_what_is_no_tcp_connection_has_not_waited() -> None:
    one, two = socket.socketpair()
    with one, two:
        assert waited(one) == 0.0
    assert waited(one) == 0.0


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_has_gone(pair: Pair, sent: bytes) -> None:
    client, accepted = pair
    client.sendall(sent)
    if sent:
        accepted.recv(100)
    assert not is_gone(accepted)
    client.sendall(b"more")
    time.sleep(0.05)
    assert not is_gone(accepted) and accepted.recv(100) == b"more", "it only looks"
    client.close()
    time.sleep(0.05)
    assert is_gone(accepted)


def test_a_reset_is_gone_too(pair: Pair) -> None:
    client, accepted = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    time.sleep(0.05)
    assert is_gone(accepted)
