"""Which page may connect: exact scheme, host and port, and nothing that looks like it."""

from __future__ import annotations

import pytest

from sockets.auth.origins import normalise, origin_allowed
from sockets.conf import Conf
from tests.unit.doubles import scope_of

OWN = ("wss://gw.example.com/",)
CONF = Conf(
    environment="production",
    client_origins=(
        "https://app.example.com",
        "http://dev.example.com:8080",
        "https://[2001:db8::1]",
    ),
)


def allowed(*origins: str, conf: Conf = CONF, own: tuple[str, ...] = OWN) -> bool:
    headers = [(b"origin", origin.encode("latin-1")) for origin in origins]
    return origin_allowed(scope_of(headers=headers), conf, own)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com:443", True),
        ("HTTPS://APP.example.COM", True),
        ("https://app.example.com/", True),
        ("http://app.example.com", False),  # scheme
        ("https://app.example.com:8443", False),  # port
        ("https://app.example.com:80", False),
        ("http://dev.example.com:8080", True),
        ("http://dev.example.com", False),
        ("https://dev.example.com:8080", False),
        ("https://[2001:db8::1]", True),
        ("https://[2001:DB8::1]:443", True),
        ("https://[2001:db8::2]", False),
        ("https://2001:db8::1", False),
        ("https://gw.example.com", True),  # our own pages
        ("http://gw.example.com", False),
        ("null", False),
        ("", False),
        ("https://", False),
        ("app.example.com", False),
        ("//app.example.com", False),
        ("https:app.example.com", False),
        ("file://", False),
        ("wss://app.example.com", False),
        ("chrome-extension://app.example.com", False),
        ("https://app.example.com.evil.test", False),
        ("https://evil-app.example.com", False),
        ("https://evilapp.example.com", False),
        ("https://sub.app.example.com", False),
        ("https://example.com", False),
        ("https://app.example.com.", False),
        ("https://app.example.com@evil.test", False),
        ("https://evil.test@app.example.com", False),
        ("https://:x@app.example.com", False),
        ("https://evil.test/https://app.example.com", False),
        ("https://app.example.com/path", False),
        ("https://app.example.com?x", False),
        ("https://app.example.com#x", False),
        ("https://evil.test\\.app.example.com", False),
        ("https://app.example.com:x", False),
        ("https://app.example.com:99999", False),
        ("https://app.example.com, https://app.example.com", False),
        ("*", False),
        ("https://*.example.com", False),
        ("https://localhost", False),
        ("https://\xe4pp.example.com", False),
        ("https://[app.example.com", False),
    ],
)
def test_an_origin_is_the_same_or_it_is_not(origin: str, expected: bool) -> None:
    assert allowed(origin) is expected


def test_programs_have_no_origin() -> None:
    assert allowed()


@pytest.mark.parametrize("pair", [("https://app.example.com",) * 2, ("https://evil.test", "null")])
def test_two_origins_are_none(pair: tuple[str, str]) -> None:
    assert not allowed(*pair)
    assert not allowed(*pair, conf=Conf(client_origins=("*",)))


@pytest.mark.parametrize("origin", ["https://any.test", "null", "", "garbage"])
def test_the_wildcard_takes_any_single_origin(origin: str) -> None:
    assert allowed(origin, conf=Conf(client_origins=("*",)))


def test_a_wildcard_inside_a_host_is_no_wildcard() -> None:
    conf = Conf(client_origins=("https://*.example.com",))
    assert not allowed("https://app.example.com", conf=conf)


LOOPBACKS = ["http://localhost:4000", "http://127.0.0.1:4000", "http://[::1]:4000"]


@pytest.mark.parametrize("origin", LOOPBACKS)
@pytest.mark.parametrize("own", ["ws://localhost:4000", "ws://127.0.0.1:4000", "ws://[::1]:4000"])
def test_in_development_the_names_of_this_machine_are_one(origin: str, own: str) -> None:
    assert allowed(origin, conf=Conf(), own=(own,))
    production = Conf(environment="production")
    assert allowed(origin, conf=production, own=(own,)) is (own == origin.replace("http", "ws"))


@pytest.mark.parametrize(
    "origin", ["http://localhost:4001", "https://localhost:4000", "http://localhost"]
)
def test_another_port_of_this_machine_is_another_place(origin: str) -> None:
    """Cookies know no ports; origins do (ARCHITECTURE rule 11)."""
    assert not allowed(origin, conf=Conf(), own=("ws://localhost:4000",))


def test_a_setting_that_is_no_origin_allows_nothing() -> None:
    conf = Conf(environment="production", client_origins=("null", "app.example.com", ""))
    for origin in ("null", "", "app.example.com", "https://app.example.com"):
        assert not allowed(origin, conf=conf, own=())


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://a", ("http", "a", 80)),
        ("https://a", ("https", "a", 443)),
        ("https://a:0", ("https", "a", 0)),
        ("http://[::1]:80", ("http", "[::1]", 80)),
        ("ws://a", None),
    ],
)
def test_the_parts_of_an_origin(origin: str, expected: tuple[str, str, int] | None) -> None:
    assert normalise(origin) == expected
