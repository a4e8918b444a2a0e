"""Which handshakes are read once, and what they ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.web.http_headers import Headers

from sockets.server.upgrade import Upgrade, ordinary

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
USUAL = {
    "Host": "gateway.example.com:4000",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(uri: str = "/", method: str = "GET", **more: str | list[str] | None) -> Any:
    """A request of Twisted's; `more`: headers, None takes one away."""
    given = USUAL | {name.replace("_", "-"): value for name, value in more.items()}
    headers = Headers()
    for name, values in given.items():
        for value in [values] if isinstance(values, str) else values or ():
            headers.addRawHeader(name.encode(), value.encode("latin-1"))
    return SimpleNamespace(
        method=method.encode(), uri=uri.encode("latin-1"), requestHeaders=headers
    )


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
        {"uri": "//evil/a"},
        {"uri": "http://other/"},
        {"uri": "*"},
        {"uri": "/a;b"},
        {"uri": "/a#b"},
        {"uri": "/a?b#c"},
        {"uri": "/\xe9"},
        {"uri": "/a?\xe9"},
        {"uri": "/a\x7f"},
        {"Upgrade": "websocket, h2c"},
        {"Upgrade": "h2c"},
        {"Upgrade": ["websocket", "websocket"]},
        {"Connection": "close"},
        {"Connection": "notupgrade"},
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


def test_a_name_with_an_underscore_is_not_ordinary() -> None:
    """daphne drops it: it could be taken for the one with a hyphen."""
    one = request()
    one.requestHeaders.addRawHeader(b"X_User", b"42")
    assert ordinary(one) is None
