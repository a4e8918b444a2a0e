"""Which handshakes are read once, and what they ask for."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.server.upgrade import Upgrade, ordinary

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
USUAL = {
    "Host": "gateway.example.com:4000",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(target: str = "/", method: str = "GET", **more: str | list[str] | None) -> bytes:
    """A request as it comes; `more`: headers, None takes one away."""
    given = USUAL | {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"{method} {target} HTTP/1.1"]
    for name, values in given.items():
        lines += [f"{name}: {v}" for v in ([values] if isinstance(values, str) else values or ())]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def test_what_a_browser_sends_is_ordinary() -> None:
    found = ordinary(
        request(
            "/ws/%C3%A9?client_id=01J&x=a%20b",
            Connection="keep-alive, Upgrade",
            Origin="https://app.example.com",
            Cookie="sessionid=a; csrftoken=b",
            Sec_WebSocket_Protocol="gateway.v1, gateway.bearer.a.b-c_d",
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits",
        )
    )
    assert found == Upgrade(
        "/ws/%C3%A9",
        b"client_id=01J&x=a%20b",
        [
            (b"host", b"gateway.example.com:4000"),
            (b"upgrade", b"websocket"),
            (b"connection", b"keep-alive, Upgrade"),
            (b"sec-websocket-key", KEY.encode()),
            (b"sec-websocket-version", b"13"),
            (b"origin", b"https://app.example.com"),
            (b"cookie", b"sessionid=a; csrftoken=b"),
            (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"),
        ],
        ["gateway.v1", "gateway.bearer.a.b-c_d"],
        KEY,
    )


@pytest.mark.parametrize(
    "more",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "upgrade"},
        {"Connection": "keep-alive , Upgrade"},
        {"Connection": "keep-alive , Upgrade,close"},
        {"Host": "127.0.0.1"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec_WebSocket_Extensions": "permessage-deflate"},
    ],
)
def test_ordinary(more: dict[str, str]) -> None:
    assert ordinary(request(**more)) is not None


@pytest.mark.parametrize(
    "odd",
    [
        {"method": "POST"},
        {"target": "//evil/a"},
        {"target": "http://other/"},
        {"target": "*"},
        {"target": "/a;b"},
        {"target": "/a#b"},
        {"target": "/a?b#c"},
        {"target": "/\xe9"},
        {"target": "/a?\xe9"},
        {"target": "/a\x7f"},
        {"Upgrade": "websocket, h2c"},
        {"Upgrade": "h2c"},
        {"Upgrade": ["websocket", "websocket"]},
        {"Connection": "close"},
        {"Connection": "notupgrade"},
        {"Connection": "Up grade"},
        {"Connection": "keep-alive, Up grade"},
        {"Connection": None},
        {"Host": None},
        {"Host": ["a", "b"]},
        {"Host": "a:b"},
        {"Host": "[::1]"},
        {"Sec_WebSocket_Version": "8"},
        {"Sec_WebSocket_Version": "013"},
        {"Sec_WebSocket_Version": None},
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": KEY[:-1]},
        {"Sec_WebSocket_Key": f"{KEY[:21]}!=="},
        {"Sec_WebSocket_Key": [KEY, KEY]},
        {"Sec_WebSocket_Protocol": ""},
        {"Sec_WebSocket_Protocol": "a,a"},
        {"Sec_WebSocket_Protocol": "a,,b"},
        {"Sec_WebSocket_Protocol": ["a", "b"]},
        {"Sec_WebSocket_Extensions": "permessage-deflate; server_max_window_bits=99"},
        {"Sec_WebSocket_Extensions": "x-other"},
        {"Origin": "https://a:70000"},
        {"Origin": "https://a b"},
        {"Origin": "ftp://a"},
        {"Origin": ["https://a", "https://b"]},
        {"Cookie": ["a=b", "c=d"]},
        {"X_Odd": "a\tb"},
        {"X_Odd": "\xe9"},
        {"X!Odd": "a"},
    ],
)
def test_odd(odd: dict[str, Any]) -> None:
    """Daphne and autobahn look at these, and say what is wrong with them."""
    assert ordinary(request(**odd)) is None


@pytest.mark.parametrize(
    "data",
    [
        request()[:-1],
        request() + b"\x81\x80abcd",
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request().replace(b"\r\n", b"\n"),
        request().replace(b"Host:", b"Host :"),
        request().replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n"),
        request().replace(b"\r\n\r\n", b"\r\nX_User: 42\r\n\r\n"),
        request(Content_Length="0"),
        request(Transfer_Encoding="chunked"),
        request(Expect="100-continue"),
        request(Daphne_Root_Path="/evil"),
        request(**{f"X-{n}": "a" for n in range(100)}),
    ],
)
def test_neither_is_this(data: bytes) -> None:
    assert ordinary(data) is None
