"""KEEP_ALIVE: how long a connection is kept between two requests, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.gateway import SHORT, Gateway, running

KEPT = 2.0
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    settings = SHORT | {"KEEP_ALIVE": str(KEPT), "MAX_IDLE": "0"}
    with running(tmp_path_factory.mktemp("kept") / "data", **settings) as made:
        yield made


def connect(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def answered(peer: socket.socket, request: bytes = HEALTH) -> None:
    peer.sendall(request)
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):
        more = peer.recv(4096)
        assert more, data
        data += more
    assert data.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("requests", [1, 3])
def test_an_idle_connection_is_closed_after_it(gateway: Gateway, requests: int) -> None:
    with connect(gateway.client_port) as peer:
        for _ in range(requests):
            began = time.monotonic()  # before: it is kept from some time after that on
            answered(peer)
        assert peer.recv(1) == b""
        assert time.monotonic() - began >= KEPT - 0.1


def test_it_begins_anew_with_each_request(gateway: Gateway) -> None:
    with connect(gateway.client_port) as peer:
        for _ in range(3):
            answered(peer)
            time.sleep(KEPT * 0.4)  # what is tested
        answered(peer)


def test_a_request_that_takes_longer_is_none_of_it(gateway: Gateway) -> None:
    """Neither its head, on a new connection or a kept one, nor its body."""
    with connect(gateway.client_port) as peer:
        for head in (HEALTH, HEALTH):
            peer.sendall(head[:20])
            time.sleep(KEPT * 1.5)
            answered(peer, head[20:])
        post = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nx"
        peer.sendall(post)
        time.sleep(KEPT * 1.5)
        answered(peer, b"x")


def test_the_time_for_a_head_is_as_it_was(tmp_path: Path) -> None:
    settings = SHORT | {"KEEP_ALIVE": "90", "HANDSHAKE_TIMEOUT": "2"}
    with (
        running(tmp_path / "data", **settings) as gateway,
        connect(gateway.client_port) as new,
        connect(gateway.client_port) as kept,
    ):
        answered(kept)
        kept.sendall(b"GET")
        for peer in (new, kept):
            with suppress(ConnectionResetError):
                assert peer.recv(1) == b""
