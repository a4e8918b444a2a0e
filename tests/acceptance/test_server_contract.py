"""What the hardened server promises to any ASGI application: the other side of each row of
docs/why-our-own-server.md section 3."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support.gateway import ROOT, Gateway, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import RawClient, masked


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Gateway]:
    server = Gateway(tmp_path)
    ports = tmp_path / "port"
    server.spawn("-m", "tests.acceptance.any_application", str(ports))
    try:
        wait_for(lambda: server.ended() or (ports.exists() and ports.read_text()), "the server")
        assert not server.ended(), server.log()
        server.client_port = int(ports.read_text())
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4000, 4999])
def test_any_close_code_with_its_reason(server: Gateway, code: int) -> None:
    with RawClient(server.client_port, f"/close?code={code}&reason=b%C3%A9cause") as peer:
        assert peer.read_until_close() == (code, "bécause")
    assert "Traceback" not in server.log()


def test_a_long_reason_is_cut_at_a_character(server: Gateway) -> None:
    with RawClient(server.client_port, f"/close?code=4500&reason={'%ED%95%9C' * 60}") as peer:
        assert peer.read_until_close() == (4500, "한" * 41)


async def test_empty_messages_and_accept_headers_arrive(server: Gateway) -> None:
    url = f"ws://127.0.0.1:{server.client_port}/empty"
    async with connect(url, proxy=None) as peer:
        assert peer.response is not None and peer.response.headers["x-accepted"] == "yes"
        assert await peer.recv() == ""
        assert await peer.recv() == b""


async def test_the_scope_can_be_copied_and_pickled(server: Gateway) -> None:
    async with connect(f"ws://127.0.0.1:{server.client_port}/scope", proxy=None) as peer:
        assert [await peer.recv() for _ in range(3)] == ["/scope"] * 3


ODD = "X-Odd: a\tb"
"""A header that has a handshake read by autobahn, as stock daphne has all of them read."""


def shake(port: int, query: str, *lines: str) -> tuple[list[str], str]:
    """The answer's head, and all that follows: what an application was told, and two echoes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        head = (
            f"GET /handshake/%C3%A9?{query} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version: 13",
            "Cookie: a=b; c=d",
            *lines,
        )
        own = str(peer.getsockname()[1])
        peer.sendall("\r\n".join((*head, "", "")).encode())
        answer = peer.recv(65536)
        if answer.startswith(b"HTTP/1.1 101"):
            peer.sendall(masked(b"one", 1) + masked(b"two", 1))
            while not answer.endswith(b"two"):
                answer += peer.recv(65536)
            peer.sendall(masked(struct.pack("!H", 1000), 8))
        while data := peer.recv(65536):
            answer += data
    answered, _, rest = answer.partition(b"\r\n\r\n")
    told = rest.decode("utf-8", "replace").replace(own, "PORT")
    kept = [line for line in answered.decode().split("\r\n") if not line.startswith("Date:")]
    return kept, "".join(told[told.find("[") :].split(", (b'x-odd', b'a\\tb')"))


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("", []),
        ("a=%20&b", ["Origin: https://app.example.com"]),
        ("", ["Origin: null", "Sec-WebSocket-Extensions: permessage-deflate"]),
        ("", ["Sec-WebSocket-Protocol: a, b"]),
        ("subprotocol=b", ["Sec-WebSocket-Protocol: a, b"]),
        ("", ["X-Forwarded-For: 10.0.0.1", "Daphne-Root-Path: /evil"]),
        ("answer=close", []),
        ("answer=refuse", []),
        ("answer=raise", []),
    ],
)
def test_a_handshake_read_once_is_as_one_read_twice(
    server: Gateway, query: str, lines: list[str]
) -> None:
    once = shake(server.client_port, query, *lines)
    assert once == shake(server.client_port, query, *lines, ODD)
    assert (once[0][0].split()[1] == "101") == ("answer" not in query)
    assert ("/handshake/é" in once[1] and "two" in once[1]) == ("answer" not in query)


def test_a_subprotocol_that_nobody_offered_is_refused(server: Gateway) -> None:
    head, _ = shake(server.client_port, "subprotocol=other", "Sec-WebSocket-Protocol: a")
    assert head[0] == "HTTP/1.1 500 the subprotocol was not offered"


async def test_the_loop_is_uvloop(server: Gateway) -> None:
    async with connect(f"ws://127.0.0.1:{server.client_port}/loop", proxy=None) as peer:
        assert await peer.recv() == "uvloop.Loop"


def test_losing_uvloop_is_an_error_with_the_remedy() -> None:
    """What a program meets that imports our server after another one."""
    code = "import daphne.server, sockets.server.daphne"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "run `manage.py serve`, or import sockets.server.reactor before" in done.stderr


def test_send_waits_for_a_slow_reader_and_gives_up_on_a_stalled_one(server: Gateway) -> None:
    """100 MB by plain ASGI `send`: stock daphne buffers them all."""
    with RawClient(server.client_port, "/flood", receive_buffer=4096) as peer:
        before = server.rss()
        wait_for(lambda: "finally /flood" in server.log(), "the application to end")
        assert server.rss() - before < 8 * 2**20
        assert peer.read_until_close()[0] in (4002, 1006)


def test_an_http_response_waits_for_its_reader(server: Gateway) -> None:
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", server.client_port))
        before = server.rss()
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: "the reader stalled" in server.log(), "the reader to be given up")
        assert server.rss() - before < 8 * 2**20
    with socket.create_connection(("127.0.0.1", server.client_port), timeout=20) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        total = 0
        while block := peer.recv(1 << 16):
            total += len(block)
        assert total > 100_000_000, "a reader that reads gets all of it"


def test_a_slow_reader_of_a_response_is_not_cut_off(server: Gateway) -> None:
    """It takes longer for one buffer than `slow_timeout`, and never stops reading."""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(10)
        peer.connect(("127.0.0.1", server.client_port))
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(80):
            assert peer.recv(2500)
            time.sleep(0.05)
        assert "the reader stalled" not in server.log()


def test_an_application_that_raises_closes_1011_and_is_logged(server: Gateway) -> None:
    with RawClient(server.client_port, "/raise") as peer:
        assert peer.read_until_close()[0] == 1011
    assert "the application failed" in server.log()


def test_an_error_in_a_twisted_callback_is_logged(server: Gateway) -> None:
    with RawClient(server.client_port, "/callback"):
        wait_for(lambda: "unhandled error in a Twisted callback" in server.log(), "the log")
        assert "ZeroDivisionError" in server.log()


async def test_shutdown_lets_every_finally_run(server: Gateway) -> None:
    """Right after handshakes too, where stock daphne cancels nobody (D#177)."""
    cleanups = ["0", "0.2", "0.6", "1.5"]
    url = f"ws://127.0.0.1:{server.client_port}/wait?cleanup="
    peers = [await connect(url + seconds, proxy=None) for seconds in cleanups]
    server.signal(signal.SIGTERM)
    for peer in peers:
        async with asyncio.timeout(PATIENCE):
            await peer.wait_closed()
        assert (peer.close_code, peer.close_reason) == (1012, "the server is shutting down")
    assert await asyncio.to_thread(server.wait) == 0
    assert server.log().count("finally /wait") == len(cleanups)
    assert "Traceback" not in server.log()


async def test_an_application_that_never_ends_is_cancelled(server: Gateway) -> None:
    url = f"ws://127.0.0.1:{server.client_port}/wait?cleanup=100"
    async with connect(url, proxy=None):
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
    assert "did not end in time and were cancelled" in server.log()
