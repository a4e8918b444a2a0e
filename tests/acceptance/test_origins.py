"""Origins on a real server: apps, pages of this machine, and what a refused page is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.gateway import Gateway, plain_daphne, running, uvicorn, wait_for
from tests.support.peers import upgrade

APP, PAGE = "capacitor://localhost", "https://app.example.com"
ALLOWED = f"{PAGE},{APP},chrome-extension://abcdefghijklmnopabcdefghijklmnop"


@pytest.fixture(scope="module")
def developed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("origins")
    with running(folder, ENVIRONMENT="development", CLIENT_ORIGIN=ALLOWED) as gateway:
        yield gateway
    assert "Traceback" not in gateway.log()


def answer(port: int, *lines: str) -> tuple[str, str]:
    """Head and body of the answer to a handshake with these header lines, up to its end."""
    head = [
        "GET /?user_id=u HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        *lines,
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        found = b"".join(iter(lambda: peer.recv(4_096), b"")).decode("latin-1")
    top, _, body = found.partition("\r\n\r\n")
    return top, body


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (PAGE, 101),
        (APP, 101),
        ("chrome-extension://abcdefghijklmnopabcdefghijklmnop", 101),
        ("http://localhost:5173", 101),
        ("https://app.localhost:8443", 101),
        ("http://127.0.0.1", 101),
        ("http://[::1]:3000", 101),
        ("capacitor://localhost:80", 403),
        ("chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba", 403),
        ("tauri://localhost", 403),
        ("http://localhost.evil.test:5173", 403),
        ("null", 403),
        ("file://", 403),
    ],
)
def test_who_is_let_in_in_development(developed: Gateway, origin: str, status: int) -> None:
    assert upgrade(developed.client_port, header=f"Origin: {origin}").status == status


def test_a_refusal_says_what_to_set(developed: Gateway) -> None:
    top, body = answer(developed.client_port, "Origin: https://NEW.example:443")
    assert top.startswith("HTTP/1.1 403 ")
    assert "content-type: text/plain; charset=utf-8" in top.lower()
    assert f"content-length: {len(body)}\r\n" in f"{top}\r\n".lower()
    change = f"set CLIENT_ORIGIN={ALLOWED},https://new.example and start the gateway again"
    assert body.endswith(f"{change}\n")
    wait_for(lambda: change in developed.log(), "the log to say it too")
    for _ in range(5):
        answer(developed.client_port, "Origin: https://new.example")
    assert developed.log().count(change) == 1


def test_a_page_from_a_file_is_told_to_be_served(developed: Gateway) -> None:
    _, body = answer(developed.client_port, "Origin: null")
    assert "python -m http.server 8000 --bind localhost" in body


@pytest.mark.parametrize(
    "origin",
    ["https://evil.test/<script>alert(1)</script>", "https://evil.test\x1b[2J", "\xff\xfe"],
)
def test_a_stranger_writes_neither_into_the_log_nor_into_the_answer(
    developed: Gateway, origin: str
) -> None:
    _, body = answer(developed.client_port, f"Origin: {origin}")
    assert "<script" not in body and "evil" not in body and "\x1b" not in body
    assert "\x1b" not in developed.log()
    said = [line for line in developed.log().splitlines() if "refused_pages" in line]
    assert not any("evil.test/" in line or "\x1b" in line for line in said)


def test_outside_development_the_answer_says_nothing_and_the_log_all(
    shared_gateway: Gateway,
) -> None:
    _, body = answer(shared_gateway.client_port, "Origin: http://localhost:5199")
    assert "CLIENT_ORIGIN" not in body
    said = "set CLIENT_ORIGIN=http://localhost:5199 and"
    wait_for(lambda: said in shared_gateway.log(), "the log to say it")


@pytest.mark.parametrize("serving", [uvicorn, plain_daphne])
def test_other_servers_refuse_as_well(
    serving: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    with serving(folder, ENVIRONMENT="development", CLIENT_ORIGIN=APP) as gateway:  # type: ignore[operator]
        for origin, status in ((APP, 101), ("http://localhost:1", 101), ("null", 403), (PAGE, 403)):
            assert upgrade(gateway.client_port, header=f"Origin: {origin}").status == status
        wait_for(lambda: f"CLIENT_ORIGIN={APP},{PAGE}" in gateway.log(), "the log to say it")
