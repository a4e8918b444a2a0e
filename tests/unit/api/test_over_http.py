"""Rule 22: the Python API over HTTP: each way that it can fail is told, and nothing sent twice."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sockets.api import over_http
from sockets.api.calls import CALLS
from sockets.api.over_http import OverHttp
from sockets.exceptions import GatewayError, GatewayUnavailable, TooManyRequests
from tests.support.patience import PATIENCE

ULID = "01JZ3N5Y3C8M4Q0T7V9X2B6D1F"
ONLINE = CALLS["is_online"]
GIVEN = {"user_id": "42"}


class Answers(BaseHTTPRequestHandler):
    """Answers what its server was told to, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["Authorization"], json.loads(body)))
        self.server.peers.add(self.client_address)
        status, headers, answer = self.server.answer
        if status == 0:
            self.close_connection = True
            return
        time.sleep(self.server.delay)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = self.server.hangs_up

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.asked, made.peers, made.delay, made.hangs_up = [], set(), 0.0, False
    made.answer = (200, {}, b'{"result": true}')
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(5)


@pytest.fixture
def way(server: Any) -> Iterator[OverHttp]:
    made = OverHttp(f"http://127.0.0.1:{server.server_port}/api/v1/", "a secret", "start it")
    yield made
    made.close()


def test_a_call_is_one_request_with_the_key(server: Any, way: OverHttp) -> None:
    assert way.call(ONLINE, GIVEN, ULID) is True
    ((path, authorization, body),) = server.asked
    assert (path, authorization) == ("/api/v1/call", "Bearer a secret")
    assert body == {"name": "is_online", "args": {"user_id": "42"}, "id": ULID}


def test_a_thread_keeps_its_connection(server: Any, way: OverHttp) -> None:
    for _ in range(3):
        way.call(ONLINE, GIVEN, "")
    assert len(server.peers) == 1
    others = [threading.Thread(target=way.call, args=(ONLINE, GIVEN, "")) for _ in range(2)]
    for one in others:
        one.start()
        one.join(5)
    assert len(server.peers) == 3


async def test_a_loop_goes_on_meanwhile(server: Any, way: OverHttp) -> None:
    assert await way.acall(ONLINE, GIVEN, "") is True


def test_one_that_the_gateway_hung_up_on_is_made_again(
    server: Any, way: OverHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.hangs_up = True
    hung_up, close = threading.Semaphore(0), server.shutdown_request

    def noted(request: socket.socket) -> None:
        close(request)
        hung_up.release()

    monkeypatch.setattr(server, "shutdown_request", noted)
    for _ in range(3):
        assert way.call(ONLINE, GIVEN, "") is True
        assert hung_up.acquire(timeout=PATIENCE)
    assert len(server.peers) == 3


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (401, {}, b'{"detail": "send a key"}', "GATEWAY_KEY needs the scope `call`"),
        (403, {}, b'{"detail": "no scope"}', "GATEWAY_KEY needs the scope `call`"),
        (404, {}, b"<html>", "older version"),
        (503, {}, b'{"detail": "it cannot start"}', "it cannot start"),
        (500, {}, b"[]", "HTTP 500"),
        (413, {}, b"", "HTTP 413"),
    ],
)
def test_what_is_refused_was_not_done(
    server: Any, way: OverHttp, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    server.answer = (status, headers, body)
    with pytest.raises(GatewayUnavailable) as error:
        way.call(ONLINE, GIVEN, ULID)
    assert said in str(error.value)
    assert (error.value.outcome, error.value.id) == ("nothing", ULID)
    assert "a secret" not in str(error.value)


def test_too_many_say_when_to_come_again(server: Any, way: OverHttp) -> None:
    server.answer = (429, {"Retry-After": "3"}, b'{"detail": "more than 200 a second"}')
    with pytest.raises(TooManyRequests, match="more than 200") as error:
        way.call(ONLINE, GIVEN, "")
    assert error.value.retry_after == 3


def test_an_answer_that_never_comes_says_that_nobody_knows(server: Any, way: OverHttp) -> None:
    server.answer = (0, {}, b"")
    with pytest.raises(GatewayUnavailable) as error:
        way.call(ONLINE, GIVEN, ULID)
    assert (error.value.outcome, error.value.id) == ("unknown", ULID)
    server.answer = (200, {}, b'{"result": true}')
    assert way.call(ONLINE, GIVEN, "") is True, "the next one is not harmed"
    assert len(server.asked) == 2, "and nothing was sent twice"


def test_one_that_is_too_slow_is_given_up(
    server: Any, way: OverHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_http, "MARGIN", -4.8)  # of the 5 s that it may take
    server.delay = 1.0
    with pytest.raises(GatewayUnavailable) as error:
        way.call(ONLINE, GIVEN, "")
    assert error.value.outcome == "unknown"
    server.delay = 0.0
    server.answer = (200, {}, b'{"result": false}')
    assert way.call(ONLINE, GIVEN, "") is False, "not the answer to the one before"


def test_nobody_there_says_what_to_do() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    way = OverHttp(f"http://127.0.0.1:{port}/api/v1/", "a secret", "start it so")
    with pytest.raises(GatewayUnavailable, match="start it so") as error:
        way.call(ONLINE, GIVEN, ULID)
    assert (error.value.outcome, error.value.id) == ("nothing", ULID)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"result": "yes"}', b'{"error": 5}'])
def test_an_answer_that_is_none_is_told(server: Any, way: OverHttp, body: bytes) -> None:
    server.answer = (200, {}, body)
    with pytest.raises(GatewayError, match="cannot be read"):
        way.call(ONLINE, GIVEN, "")
