"""Whose pages' cookies count."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.auth.cookies import cookie_counts, own_origin
from sockets.conf import Conf
from sockets.types import Surface
from tests.support.doubles import scope_of

HTTPS = {"client_socket_url": "wss://gw.example.com", "worker_socket_url": "wss://in.example.com"}


class TestOwnOrigin:
    """architecture.md, rule 9: what a cookie opens, only the same scheme, host and port may."""

    @pytest.fixture(autouse=True)
    def names(self, settings: Any) -> None:
        settings.ALLOWED_HOSTS = ["gw.example.com", ".below.test", "localhost", "[::1]"]

    def own(
        self,
        hosts: tuple[str, ...],
        origins: tuple[str, ...],
        conf: dict[str, Any],
        **given: Any,
    ) -> bool:
        headers = [(b"host", host.encode("latin-1")) for host in hosts]
        headers += [(b"origin", origin.encode("latin-1")) for origin in origins]
        return own_origin(scope_of(headers=headers, **{"scheme": "ws", **given}), Conf(**conf))

    @pytest.mark.parametrize(
        ("host", "origin", "conf", "expected"),
        [
            ("gw.example.com", "https://gw.example.com", HTTPS, True),
            ("GW.example.com:443", "https://gw.example.com", HTTPS, True),
            ("gw.example.com:8443", "https://gw.example.com:8443", HTTPS, True),
            ("gw.example.com", "http://gw.example.com", HTTPS, False),
            ("gw.example.com", "https://gw.example.com:8443", HTTPS, False),
            ("gw.example.com:8443", "https://gw.example.com", HTTPS, False),
            ("gw.example.com", "https://www.gw.example.com", HTTPS, False),
            ("gw.example.com", "https://evil.test", HTTPS, False),
            ("gw.example.com", "null", HTTPS, False),
            ("gw.example.com", "", HTTPS, False),
            ("localhost:4000", "http://localhost:4000", {}, True),
            ("localhost:4000", "http://localhost:4001", {}, False),  # the other port of the host
            ("localhost:4000", "http://127.0.0.1:4000", {}, False),  # cookies tell these apart
            ("[::1]:4000", "http://[::1]:4000", {}, True),
            ("a.below.test", "http://a.below.test", {}, True),
            ("a.below.test", "http://b.below.test", {}, False),
            ("rebound.test", "http://rebound.test", {}, False),  # not one of our names
            ("", "http://", {}, False),
            ("localhost/", "http://localhost", {}, False),
            ("user@localhost", "http://localhost", {}, False),
        ],
    )
    def test_it_equals_what_was_asked(
        self,
        host: str,
        origin: str,
        conf: dict[str, Any],
        expected: bool,
    ) -> None:
        assert self.own((host,), (origin,), conf) is expected

    @pytest.mark.parametrize("origins", [(), ("http://localhost",) * 2])
    @pytest.mark.parametrize("hosts", [("localhost",), (), ("localhost",) * 2])
    def test_exactly_one_of_each(self, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        assert not self.own(hosts, origins, {})
        assert self.own(hosts, ("http://localhost",), {}) is (hosts == ("localhost",))

    def test_the_surface_decides_whose_tls(self) -> None:
        conf = {"client_socket_url": "wss://gw.example.com", "worker_socket_url": "ws://localhost"}
        for surface, secure in ((Surface.PUBLIC, True), (Surface.PRIVATE, False)):
            given = {"gateway.surface": surface}
            https, http = ("https://localhost",), ("http://localhost",)
            assert self.own(("localhost",), https, conf, **given) is secure
            assert self.own(("localhost",), http, conf, **given) is not secure

    def test_without_a_url_it_is_what_the_connection_is(self) -> None:
        https = ("https://localhost",)
        assert self.own(("localhost",), https, {}, scheme="wss")
        assert not self.own(("localhost",), https, {}, scheme="ws")

    @pytest.mark.parametrize(
        ("host", "origin", "debug", "expected"),
        [
            ("localhost:4000", "http://localhost:4000", True, True),
            ("shop.localhost:4000", "http://shop.localhost:4000", True, True),
            ("127.0.0.1:4000", "http://127.0.0.1:4000", True, True),
            ("[::1]:4000", "http://[::1]:4000", True, True),
            ("127.0.0.2:4000", "http://127.0.0.2:4000", True, False),
            ("rebound.test", "http://rebound.test", True, False),
            ("localhost:4000", "http://localhost:4000", False, False),
        ],
    )
    def test_no_allowed_hosts_mean_what_they_mean_in_django(
        self, settings: Any, host: str, origin: str, debug: bool, expected: bool
    ) -> None:
        """Rule 6."""
        settings.ALLOWED_HOSTS, settings.DEBUG = [], debug
        assert self.own((host,), (origin,), {}) is expected


LISTED = (
    "https://shop.example",
    "https://app.example:8443",
    "http://plain.example",
    "https://*.below.example",
    "capacitor://localhost",
)


def counts(
    *origins: str,
    listed: tuple[str, ...] = LISTED,
    environment: str = "production",
    host: str = "gw.example.com",
    peer: str | None = "192.0.2.7",
    **conf: Any,
) -> bool:
    headers = [(b"host", host.encode()), (b"cookie", b"sessionid=x")]
    headers += [(b"origin", origin.encode("latin-1")) for origin in origins]
    scope = scope_of(headers=headers, scheme="ws", client=peer and [peer, 50_000])
    made = Conf(environment=environment, client_origins=listed, **conf)
    return cookie_counts(scope, made)


@pytest.mark.parametrize("environment", ["production", "test", "development"])
@pytest.mark.parametrize("origin", ["https://shop.example", "https://app.example:8443"])
def test_a_page_that_is_named_by_https(origin: str, environment: str) -> None:
    """Rule 3: naming it is the consent, whatever the host of the socket."""
    assert counts(origin, environment=environment)
    assert not counts(origin, environment=environment, listed=())


@pytest.mark.parametrize("environment", ["production", "test", "development"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://shop.example",
        "https://shop.example:8443",
        "https://app.example",
        "https://www.shop.example",
        "https://shop.example.evil.test",
        "https://evilshop.example",
        "https://shop.example@evil.test",
        "https://evil.test#https://shop.example",
        "https://evil.test/https://shop.example",
        "https://shop.example, https://shop.example",
        "https://shop.example.",
        " https://shop.example",
        "https://a.below.example",
        "https://*.below.example",
        "https://below.example",
        "capacitor://localhost",
        "tauri://localhost",
        "wss://shop.example",
        "null",
        "NULL",
        "file://",
        "*",
        "",
        "https://sh\xf6p.example",
        "https://localhost:4000",
        "http://localhost:5173",
    ],
)
def test_pages_whose_cookies_do_not_count(origin: str, environment: str) -> None:
    """Rule 3, each spelling. The pages of this machine are not, because the socket is elsewhere."""
    assert not counts(origin, environment=environment)
    assert not counts(origin, environment=environment, listed=("*",))
    assert not counts(origin, environment=environment, listed=(*LISTED, "*"))


def test_without_an_origin_or_with_two_no_cookie_counts() -> None:
    """Rule 3."""
    assert not counts() and not counts(listed=("*",))
    assert not counts("https://shop.example", "https://shop.example")
    assert not counts("https://shop.example", "https://evil.test")


def test_a_page_that_is_named_by_http_counts_in_development_only() -> None:
    """Rule 3."""
    page = "http://plain.example"
    assert counts(page, environment="development")
    assert not counts(page, environment="production") and not counts(page, environment="test")


@pytest.mark.parametrize(
    ("origin", "host", "peer", "expected"),
    [
        ("http://localhost:5173", "localhost:4000", "127.0.0.1", True),
        ("http://127.0.0.1:5173", "localhost:4000", "127.0.0.1", True),
        ("https://shop.localhost:5173", "[::1]:4000", "::1", True),
        ("http://[::1]:5173", "127.0.0.1:4000", "::ffff:127.0.0.1", True),
        ("http://localhost:5173", "shop.localhost:4000", "127.0.0.1", True),
        ("http://localhost:5173", "gw.example.com", "127.0.0.1", False),
        ("http://localhost:5173", "localhost.evil.test", "127.0.0.1", False),
        ("http://localhost:5173", "localhost@evil.test", "127.0.0.1", False),
        ("http://localhost:5173", "localhost:4000", "192.0.2.7", False),
        ("http://localhost:5173", "localhost:4000", "::ffff:192.0.2.7", False),
        ("http://localhost:5173", "localhost:4000", None, False),
        ("http://localhost:5173", "localhost:4000", "localhost", False),
        ("http://evil.test", "localhost:4000", "127.0.0.1", False),
        ("http://localhost.evil.test", "localhost:4000", "127.0.0.1", False),
        ("capacitor://localhost", "localhost:4000", "127.0.0.1", False),
        ("null", "localhost:4000", "127.0.0.1", False),
    ],
)
def test_pages_of_this_machine(origin: str, host: str, peer: str | None, expected: bool) -> None:
    """Rule 3: in development, where the socket's Host and its peer are of this machine too."""
    assert counts(origin, host=host, peer=peer, environment="development") is expected
    for environment in ("production", "test"):
        assert not counts(origin, host=host, peer=peer, environment=environment)
