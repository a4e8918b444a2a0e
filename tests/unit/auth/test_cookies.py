"""Whose pages' cookies count."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.auth.cookies import own_origin
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
        monkeypatch: pytest.MonkeyPatch,
        hosts: tuple[str, ...],
        origins: tuple[str, ...],
        conf: dict[str, Any],
        **given: Any,
    ) -> bool:
        monkeypatch.setattr("sockets.auth.cookies.get_conf", lambda: Conf(**conf))
        headers = [(b"host", host.encode("latin-1")) for host in hosts]
        headers += [(b"origin", origin.encode("latin-1")) for origin in origins]
        return own_origin(scope_of(headers=headers, **{"scheme": "ws", **given}))

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
        monkeypatch: pytest.MonkeyPatch,
        host: str,
        origin: str,
        conf: dict[str, Any],
        expected: bool,
    ) -> None:
        assert self.own(monkeypatch, (host,), (origin,), conf) is expected

    @pytest.mark.parametrize("origins", [(), ("http://localhost",) * 2])
    @pytest.mark.parametrize("hosts", [("localhost",), (), ("localhost",) * 2])
    def test_exactly_one_of_each(
        self, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...], origins: tuple[str, ...]
    ) -> None:
        assert not self.own(monkeypatch, hosts, origins, {})
        assert self.own(monkeypatch, hosts, ("http://localhost",), {}) is (hosts == ("localhost",))

    def test_the_surface_decides_whose_tls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        conf = {"client_socket_url": "wss://gw.example.com", "worker_socket_url": "ws://localhost"}
        for surface, secure in ((Surface.PUBLIC, True), (Surface.PRIVATE, False)):
            given = {"gateway.surface": surface}
            https, http = ("https://localhost",), ("http://localhost",)
            assert self.own(monkeypatch, ("localhost",), https, conf, **given) is secure
            assert self.own(monkeypatch, ("localhost",), http, conf, **given) is not secure

    def test_without_a_url_it_is_what_the_connection_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        https = ("https://localhost",)
        assert self.own(monkeypatch, ("localhost",), https, {}, scheme="wss")
        assert not self.own(monkeypatch, ("localhost",), https, {}, scheme="ws")
