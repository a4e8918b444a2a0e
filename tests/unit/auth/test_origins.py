"""Which page may connect: exact scheme, host and port, and nothing that looks like it."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from sockets.auth.origins import (
    MAX_ORIGIN,
    admits,
    how_to_admit,
    normalise,
    origin_allowed,
    parse_rule,
)
from sockets.base import metrics
from sockets.conf import Conf
from sockets.types import Surface
from tests.support.doubles import scope_of

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


@pytest.mark.parametrize("origin", ["https://any.test", "capacitor://localhost", "", "garbage"])
def test_the_wildcard_takes_any_single_origin(origin: str) -> None:
    assert allowed(origin, conf=Conf(client_origins=("*",)))


@pytest.mark.parametrize(
    "origin",
    ["null", "NULL", " null", "null, null", "https://any.test, null", "file://", "FILE:///x"],
)
@pytest.mark.parametrize("listed", [("*",), ("null",), ("https://any.test", "null"), ()])
def test_null_is_never_let_in(origin: str, listed: tuple[str, ...]) -> None:
    for environment in ("development", "test", "production"):
        assert not allowed(origin, conf=Conf(environment=environment, client_origins=listed))


def test_a_host_may_be_called_null() -> None:
    for origin in ("https://null", "https://null.example", "null-app://localhost"):
        assert allowed(origin, conf=Conf(client_origins=("*",)))
        assert allowed(origin, conf=Conf(client_origins=(origin,)))


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
    assert allowed(origin, conf=kept, own=()) is expected, "as the reader hands it on"


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
        "NULL",
        "null://localhost",
        "",
        "https://",
        "https://" + "a" * MAX_ORIGIN,
        "capacitor://",
        "capacitor://localhost/",
        "capacitor://localhost:0",
        "capacitor://localhost:65536",
        "capacitor://*",
        "capacitor://*.localhost",
        "capacitor://*.example.com",
        "chrome-extension://*",
        "chrome-extension://abc/index.html",
        "tauri://user@localhost",
        "tauri://b\xfccher.example",
        "1app://localhost",
        "a_b://localhost",
        "https//app.example.com",
        "htps://app.example.com",
        "htttps://app.example.com",
        "httpss://app.example.com",
        "file://",
        "file://localhost",
        "data://localhost",
        "ws://app.example.com",
        "app" * 30 + "://localhost",
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it"):
        parse_rule(text)


APP_ORIGINS = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://6f3b0c9e-0b6e-4a55-9d0a-0f7f6f0d9b11",
    "safari-web-extension://E9D5B5C6-3C54-4F4B-8F0C-1D5A2B8C7E9F",
    "app://obsidian.md",
    "vscode-webview://0k8qf2" + "a" * 46,
    "capacitor://localhost:8080",
    "tauri://[::1]",
]


@pytest.mark.parametrize("listed", APP_ORIGINS)
def test_an_app_has_an_origin_of_its_own_scheme(listed: str) -> None:
    conf = Conf(environment="production", client_origins=(listed, "https://*.example.com"))
    for origin in APP_ORIGINS:
        assert allowed(origin, conf=conf, own=()) is (origin == listed)
    assert allowed(listed.upper(), conf=conf, own=()), "schemes and hosts know no case"
    assert allowed(f"{listed}/", conf=conf, own=()), "as with https"
    assert str(parse_rule(listed)) == listed.lower()
    assert not allowed(listed, own=()), "and not unless it is listed"


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost:80",  # no scheme but http and https has a port to be guessed
        "capacitor://localhost:443",
        "capacitor://localhost:0",
        "capacitor://localhost:",
        "capacitor://localhost/path",
        "capacitor://localhost?x",
        "capacitor://localhost#x",
        "capacitor://x@localhost",
        "capacitor://app.localhost",
        "capacitor://localhost.evil.test",
        "capacitor://evil-localhost",
        "capacitor://localhost.",
        "capacitor://",
        "capacitor:///",
        "capacitor:localhost",
        "capacitor:/localhost",
        "//localhost",
        "xcapacitor://localhost",
        "http://localhost",
        "https://localhost",
        "http-capacitor://localhost",
        "capacitor://localhost capacitor://localhost",
        "capacitor://localhost\n",
    ],
)
def test_what_an_apps_origin_does_not_take(origin: str) -> None:
    conf = Conf(environment="production", client_origins=("capacitor://localhost",))
    assert not allowed(origin, conf=conf, own=())


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
    """Cookies know no ports; origins do (architecture.md, rule 9)."""
    for environment in ("test", "production"):
        conf = Conf(environment=environment)
        assert not allowed(origin, conf=conf, own=("ws://localhost:4000",))


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost", True),
        ("http://localhost:5173", True),
        ("https://localhost:3000", True),
        ("HTTP://LOCALHOST:3000/", True),
        ("http://app.localhost:3000", True),
        ("http://a.b.localhost", True),
        ("http://127.0.0.1:8000", True),
        ("http://127.1.2.3", True),
        ("https://[::1]:8443", True),
        ("http://[0:0:0:0:0:0:0:1]", True),
        ("http://localhost.evil.test", False),
        ("http://evil-localhost", False),
        ("http://evillocalhost:3000", False),
        ("http://localhost.", False),
        ("http://.localhost", False),
        ("http://127.0.0.1.evil.test", False),
        ("http://128.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://127.1", False),
        ("http://[::]", False),
        ("http://[::2]", False),
        ("http://192.168.0.1:3000", False),
        ("http://localhost@evil.test", False),
        ("http://localhost:99999", False),
        ("http://localhost/path", False),
        ("ws://localhost:3000", False),
        ("file://localhost", False),
        ("app://localhost", False),
        ("null", False),
        ("", False),
    ],
)
def test_in_development_any_page_of_this_machine_is_let_in(origin: str, expected: bool) -> None:
    listed = ("https://app.example.com",)
    assert allowed(origin, conf=Conf(client_origins=listed), own=()) is expected
    for environment in ("test", "production"):
        conf = Conf(environment=environment, client_origins=listed)
        assert not allowed(origin, conf=conf, own=())


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
        ("file://", "it is what pages without an origin send, and they are never let in"),
        ("null", "it is what pages without an origin send, and they are never let in"),
        ("htps://a.example", "its scheme is a letter away from http or https"),
        ("ionic://*.a.example", "its * stands for subdomains, and only http and https have them"),
        ("ionic://\xe4.example", "its name is not ASCII, and only http and https have such names"),
        ("ionic://", "it has no proper host or port"),
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
    (line,) = [record for record in caplog.records if record.name == "gateway.audit"]
    found: dict[str, Any] = line.audit  # type: ignore[attr-defined]
    assert (line.getMessage(), found["code"], found["surface"]) == ("refused", 403, "public")
    assert found["origin"] == ("https://evil.test/" + "x" * 200)[:200]
    assert found["address"] == "192.0.2.7:50000"
    assert count.get() == before + 1
    caplog.clear()
    assert admits(scope_of(headers=[(b"origin", b"https://app.example.com")]), CONF, OWN)
    assert not caplog.records


def advice(*origins: str, surface: Surface = Surface.PUBLIC, conf: Conf = CONF) -> str:
    headers = [(b"origin", origin.encode("latin-1")) for origin in origins]
    return how_to_admit(scope_of(headers=headers), surface, conf)


def test_a_refusal_says_what_to_set() -> None:
    conf = Conf(client_origins=("https://a.example",), api_origins=())
    assert "set CLIENT_ORIGIN=https://a.example,https://b.example and" in advice(
        "HTTPS://B.example:443/", conf=conf
    )
    assert "set API_ORIGIN=ionic://localhost and" in advice(
        "ionic://localhost", surface=Surface.PRIVATE, conf=conf
    )
    many = Conf(client_origins=tuple(f"https://{number}.example" for number in range(50)))
    assert "add https://b.example to CLIENT_ORIGIN and" in advice("https://b.example", conf=many)


@pytest.mark.parametrize(
    ("auth", "environment", "origin", "told"),
    [
        ("session", "production", "http://b.example", "serve it by https"),
        ("session,jwt", "production", "http://b.example", "https, or let it bring a token"),
        ("proxy", "production", "http://b.example", "https, or let it bring a token"),
        ("jwt", "production", "http://b.example", ""),
        ("session", "development", "http://b.example", ""),
        ("session", "production", "https://b.example", ""),
        ("session", "production", "ionic://localhost", ""),
    ],
)
def test_a_page_whose_cookie_would_not_count_is_told_so_too(
    auth: str, environment: str, origin: str, told: str
) -> None:
    conf = Conf(auth=tuple(auth.split(",")), environment=environment, client_origins=())
    found = advice(origin, conf=conf)
    assert f"set CLIENT_ORIGIN={origin} and start the gateway again" in found
    assert found.endswith(told or "again")
    assert ("does not count by http" in found) is bool(told)


@pytest.mark.parametrize("origin", ["null", "file://", "file:///home/me/page.html", "null, null"])
def test_a_page_without_an_origin_is_sent_to_a_web_server(origin: str) -> None:
    found = advice(origin)
    assert "http.server" in found and "CLIENT_ORIGIN=" not in found


@pytest.mark.parametrize(
    "origins",
    [
        (),
        ("https://evil.test/\x1b[2J<script>",),
        ("https://evil.test\r\nSet-Cookie: a=b",),
        ("https://evil.test', 'set': 'x",),
        ("\xff\x9b31m",),
        ("https://" + "a" * 9_000,),
        ("https://evil.test", "https://a.example"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_a_stranger_wrote_is_not_repeated(origins: tuple[str, ...]) -> None:
    found = advice(*origins)
    assert found.isascii() and found.isprintable() and "<" not in found
    assert "evil" not in found and "aaaa" not in found
    assert "scheme://host" in found
