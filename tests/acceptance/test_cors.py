"""CORS of the HTTP API on a real server: what a browser asks, and what it is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.support.gateway import API_KEY, Gateway, running

PAGE = "https://office.example.com"
KEY = {"Authorization": f"Bearer {API_KEY}"}
ASKED = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}
MESSAGE = {"event": "order.paid", "data": 1}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("cors")
    with running(folder, API_ORIGIN=f"{PAGE},https://*.staff.example.com") as gateway:
        yield gateway
    assert "Traceback" not in gateway.log()


def ask(gateway: Gateway, method: str, path: str, origin: str, **more: object) -> httpx.Response:
    headers = {"Origin": origin, **more.pop("headers", {})}  # type: ignore[dict-item]
    url = gateway.http(path, private=True)
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.request(method, url, headers=headers, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("origin", [PAGE, "https://a.b.staff.example.com"])
def test_a_listed_page_may(opened: Gateway, origin: str) -> None:
    path = "/api/v1/users/cors/messages"
    preflight = ask(opened, "OPTIONS", path, origin, headers=ASKED)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-max-age"] == "600"
    answer = ask(opened, "POST", path, origin, headers=KEY, json=MESSAGE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]
    for response in (preflight, answer):
        assert "access-control-allow-credentials" not in response.headers
    without = ask(opened, "POST", path, origin, json=MESSAGE)
    assert without.status_code == 401, "the origin opens nothing by itself"


@pytest.mark.parametrize("origin", ["https://staff.example.com", "https://evil.test", "null"])
def test_another_page_may_not(opened: Gateway, origin: str) -> None:
    preflight = ask(opened, "OPTIONS", "/api/v1/nodes", origin, headers=ASKED)
    assert preflight.status_code == 403
    answer = ask(opened, "GET", "/api/v1/nodes", origin, headers=KEY)
    for response in (preflight, answer):
        assert not [name for name in response.headers if name.startswith("access-control-")]


def test_two_origins_are_none(opened: Gateway) -> None:
    """Sent by hand: clients of HTTP join what comes twice."""
    head = (
        f"OPTIONS /api/v1/nodes HTTP/1.1\r\nHost: localhost\r\nOrigin: {PAGE}\r\n"
        f"Origin: {PAGE}\r\nAccess-Control-Request-Method: GET\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", opened.worker_port), timeout=10) as peer:
        peer.sendall(head.encode())
        assert b" 403 " in peer.recv(4096).split(b"\r\n")[0]


def test_the_public_port_has_none_of_it(opened: Gateway) -> None:
    with httpx.Client(trust_env=False, timeout=20) as http:
        headers = {"Origin": PAGE, **ASKED}
        answer = http.options(opened.http("/api/v1/nodes"), headers=headers)
    assert answer.status_code == 404
    assert not [name for name in answer.headers if name.startswith("access-control-")]
