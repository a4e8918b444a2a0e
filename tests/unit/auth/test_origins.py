"""Which page may connect: exact scheme, host and port, and nothing that looks like it."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from sockets import metrics
from sockets.auth.origins import (
    MAX_ORIGIN,
    admits,
    normalise,
    origin_allowed,
    own_origin,
    parse_rule,
)
from sockets.conf import Conf
from sockets.types import Surface
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
        ("https://app.exa\tmple.com", False),  # urlsplit() would leave the tab out
        (" https://app.example.com", False),
        ("https://app.example.com\n", False),
        ("https://app..example.com", False),
        ("https://app.example.com//", False),
        ("https://app.example.com:", False),
        ("https://app.example.com:0443", True),
        ("https://app.example.com:٤٤٣".encode().decode("latin-1"), False),
        ("https://[2001:db8:0:0::1]", True),
        ("https://[2001:db8::1%25eth0]", False),
        ("https://" + "a" * 65_536, False),
        ("https://app.example.com" + "/" * 65_536, False),
    ],
    ids=lambda value: ascii(value)[:60],
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


@pytest.mark.parametrize(
    ("rule", "origin", "expected"),
    [
        ("https://*.example.com", "https://app.example.com", True),
        ("https://*.example.com", "https://a.b.c.example.com", True),
        ("https://*.example.com", "https://APP.Example.Com:443", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://app.evilexample.com", False),
        ("https://*.example.com", "https://app.example.com.evil.test", False),
        ("https://*.example.com", "https://evil.test/.example.com", False),
        ("https://*.example.com", "https://evil.test?.example.com", False),
        ("https://*.example.com", "https://evil.test#.example.com", False),
        ("https://*.example.com", "https://evil.test\\.example.com", False),
        ("https://*.example.com", "https://evil.test:443.example.com", False),
        ("https://*.example.com", "https://evil.test@app.example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://..example.com", False),
        ("https://*.example.com", "https://*.example.com", False),
        ("https://*.example.com", "https://app.example.com.", False),
        ("https://*.example.com", "http://app.example.com", False),
        ("https://*.example.com", "http://app.example.com:443", False),
        ("https://*.example.com", "https://app.example.com:8443", False),
        ("https://*.example.com:8443", "https://app.example.com:8443", True),
        ("https://*.example.com:8443", "https://app.example.com", False),
        ("http://*.example.com", "https://app.example.com", False),
        ("https://*.app.example.com", "https://app.example.com", False),
        ("https://*.app.example.com", "https://x.app.example.com", True),
        ("https://*.bücher.example", "https://kasse.xn--bcher-kva.example", True),
        ("https://*.bücher.example", "https://xn--bcher-kva.example", False),
        ("https://bücher.example", "https://xn--bcher-kva.example", True),
        ("https://BÜCHER.example", "https://xn--bcher-kva.example", True),
        ("https://bücher.example", "https://bucher.example", False),
        # What browsers make of it since 2023; Python's own codec says strasse.
        ("https://straße.example", "https://xn--strae-oqa.example", True),
        ("https://straße.example", "https://strasse.example", False),
        ("https://한국.example", "https://xn--3e0b707e.example", True),
        ("https://한국。example", "https://xn--3e0b707e.example", True),
        ("https://XN--BCHER-KVA.example", "https://xn--bcher-kva.example", True),
        ("https://аpp.example.com", "https://app.example.com", False),  # a Cyrillic а
    ],
)
def test_what_a_rule_takes(rule: str, origin: str, expected: bool) -> None:
    conf = Conf(environment="production", client_origins=(rule, "https://other.test"))
    assert allowed(origin, conf=conf, own=()) is expected
    kept = Conf(environment="production", client_origins=(str(parse_rule(rule)),))
    assert allowed(origin, conf=kept, own=()) is expected, "as gateway.env hands it on"


@pytest.mark.parametrize(
    "text",
    [
        "https://*.com",
        "https://*.localhost",
        "https://*",
        "https://*.",
        "https://*.*.example.com",
        "https://a.*.example.com",
        "https://*example.com",
        "https://app*.example.com",
        "https://*.example.com.",
        "https://*.127.0.0.1",
        "https://*.0.1",
        "https://*.[::1]",
        "https://*.example.com:*",
        "https://*.example.com:0",
        "https://*.example.com:",
        "https://*.example.com/",
        "*://app.example.com",
        "*.example.com",
        "wss://app.example.com",
        "https://app.example.com.",
        "https://app.example.com:65536",
        "https://app.example.com?",
        "https://app.example.com#",
        "https://user@app.example.com",
        "https://app .example.com",
        "https://app_\u0000.example.com",
        "https://\u2603\ufe0f.example",  # not in IDNA: its A-label can be given
        "https://" + "ä" * 64 + ".example",
        "https://[::1",
        "https://[g::1]",
        "null",
        "",
        "https://",
        "https://" + "a" * MAX_ORIGIN,
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it"):
        parse_rule(text)


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
        ("https://\u212aim.example", None),  # lower() makes a k of it
        ("https://" + "a." * 145 + "b", ("https", "a." * 145 + "b", 443)),
        ("https://" + "a." * 146 + "b", None),
    ],
)
def test_the_parts_of_an_origin(origin: str, expected: tuple[str, str, int] | None) -> None:
    assert normalise(origin) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://user:secret@a.example", "it holds a user or a password"),
        ("https://a.*.example", "its * is not the whole first label"),
        ("https://*.com", "its * covers a whole top-level domain, or an address"),
        ("https://a.example/", "it has more than scheme, host and port"),
        ("a.example", "it does not begin with https:// or http://"),
    ],
)
def test_a_refusal_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(why) + "$"):
        parse_rule(text)


async def test_a_refused_origin_is_audited_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    count = metrics.REFUSALS.labels("403")._value
    before = count.get()
    scope = scope_of(headers=[(b"origin", b"https://evil.test/" + b"x" * 65_536)])
    assert not admits(scope, CONF, OWN)
    (line,) = caplog.records
    found: dict[str, Any] = line.audit  # type: ignore[attr-defined]
    assert (line.getMessage(), found["code"], found["surface"]) == ("refused", 403, "public")
    assert found["origin"] == ("https://evil.test/" + "x" * 200)[:200]
    assert found["address"] == "192.0.2.7:50000"
    assert count.get() == before + 1
    assert admits(scope_of(headers=[(b"origin", b"https://app.example.com")]), CONF, OWN)
    assert len(caplog.records) == 1


HTTPS = {"client_socket_url": "wss://gw.example.com", "worker_socket_url": "wss://in.example.com"}


class TestOwnOrigin:
    """ARCHITECTURE rule 11: what a cookie opens, only the very same scheme, host and port may."""

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
        monkeypatch.setattr("sockets.auth.origins.get_conf", lambda: Conf(**conf))
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
