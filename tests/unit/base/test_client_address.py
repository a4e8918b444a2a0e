"""Who is behind the proxies; headers may be forged by anybody who is not one of them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockets.base import client_address
from sockets.base.client_address import MAX_HOPS, Address, Trusted, client_of, parse_trusted, plain

PEER = ("10.0.0.9", 555)
ONE, TWO = parse_trusted(["1"]), parse_trusted(["2"])
INSIDE = parse_trusted(["10.0.0.0/8", "::1"])


def seen(text: str, trusted: Trusted, peer: Address | None = PEER) -> Address | None:
    return client_of(peer, [(b"x-forwarded-for", text.encode("latin-1"))], trusted)


@pytest.mark.parametrize("trusted", [Trusted(), ONE, INSIDE])
def test_an_ipv4_address_in_the_form_of_ipv6_is_that_address(trusted: Trusted) -> None:
    """As a socket sees it that listens for both."""
    assert client_of(("::ffff:192.0.2.7", 555), [], trusted) == ("192.0.2.7", 555)
    assert client_of(("2001:db8::7", 555), [], trusted) == ("2001:db8::7", 555)
    assert client_of(("testclient", 555), [], trusted) == ("testclient", 555)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::FFFF:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:56", "1.2.3.4:56"),
        ("[::ffff:1.2.3.4]", "1.2.3.4"),
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:56", "1.2.3.4:56"),
        ("2001:db8::ffff:1", "2001:db8::ffff:1"),
        ("[2001:DB8::1]:56", "[2001:DB8::1]:56"),
        ("::ffff:0:1.2.3.4", "::ffff:0:1.2.3.4"),  # translated (RFC 2765), not mapped
        ("::1.2.3.4", "::1.2.3.4"),
        ("::ffff:1.2.3", "::ffff:1.2.3"),
        ("::ffff:1.2.3.4:56", "::ffff:1.2.3.4:56"),
        ("::ffff:nonsense", "::ffff:nonsense"),
        ("", ""),
        ("/run/gateway.sock", "/run/gateway.sock"),
    ],
)
def test_the_plain_form(address: str, expected: str) -> None:
    assert plain(address) == expected


@pytest.mark.parametrize(
    ("text", "trusted", "expected"),
    [
        ("1.2.3.4", Trusted(), PEER),
        ("1.2.3.4", ONE, ("1.2.3.4", 0)),
        ("6.6.6.6, 1.2.3.4", ONE, ("1.2.3.4", 0)),
        ("6.6.6.6, 1.2.3.4, 10.0.0.1", TWO, ("1.2.3.4", 0)),
        ("1.2.3.4", TWO, PEER),
        ("", ONE, PEER),
        ("6.6.6.6, 1.2.3.4, 10.1.1.1, 10.2.2.2", INSIDE, ("1.2.3.4", 0)),
        ("10.1.1.1, 10.2.2.2", INSIDE, ("10.1.1.1", 0)),
        ("1.2.3.4, unknown, 10.1.1.1", INSIDE, ("10.1.1.1", 0)),
        ("unknown", INSIDE, PEER),
        ("::ffff:1.2.3.4", ONE, ("1.2.3.4", 0)),
        ("1.2.3.4:56", ONE, ("1.2.3.4", 56)),
        ("2001:DB8::1", ONE, ("2001:db8::1", 0)),
        ("[2001:db8::1]", ONE, ("2001:db8::1", 0)),
        ("[2001:db8::1]:56", ONE, ("2001:db8::1", 56)),
        ("fe80::1%eth0", ONE, PEER),
        ("[2001:db8::1", ONE, PEER),
        ("[2001:db8::1]56", ONE, PEER),
        ("1.2.3.4:99999", ONE, PEER),
        ("1.2.3.4:x", ONE, PEER),
        ("1.2.3", ONE, PEER),
        ("evil.test", ONE, PEER),
        ("1.2.3.4\t", ONE, ("1.2.3.4", 0)),
        (", ".join(["6.6.6.6"] * 100 + ["1.2.3.4"]), ONE, ("1.2.3.4", 0)),
        (", ".join(["10.0.0.1"] * 10_000), INSIDE, ("10.0.0.1", 0)),
    ],
)
def test_who_it_is(text: str, trusted: Trusted, expected: Address) -> None:
    assert seen(text, trusted) == expected


def test_nobody_else_is_believed() -> None:
    assert seen("1.2.3.4", INSIDE, ("192.0.2.1", 5)) == ("192.0.2.1", 5)
    assert seen("1.2.3.4", INSIDE, None) is None
    assert seen("1.2.3.4", ONE, None) == ("1.2.3.4", 0), "a Unix socket is trusted by count"
    assert seen("1.2.3.4", INSIDE, ("::ffff:10.0.0.1", 5)) == ("1.2.3.4", 0)


def test_several_lines_are_one() -> None:
    lines = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4")]
    assert client_of(PEER, lines, ONE) == ("1.2.3.4", 0)
    others = [(b"forwarded", b"for=6.6.6.6"), (b"x-real-ip", b"6.6.6.6")]
    assert client_of(PEER, others, ONE) == PEER


@pytest.mark.parametrize("text", ["0", "", "x", "10.0.0.1/8", "10.0.0.0/99", str(MAX_HOPS + 1)])
def test_settings_that_trust_nobody_or_are_wrong(text: str) -> None:
    if text == "0":
        assert not parse_trusted([text])
        return
    with pytest.raises(ValueError):
        parse_trusted([text])


@given(st.text(), st.sampled_from([ONE, TWO, INSIDE]))
def test_whatever_comes_is_an_address(text: str, trusted: Trusted) -> None:
    host, port = seen(text.encode("utf-8", "replace").decode("latin-1"), trusted) or PEER
    ip_address(host)
    assert 0 <= port < 65_536


def test_a_long_entry_is_no_address_and_is_not_kept() -> None:
    longest = "0000:0000:0000:0000:0000:ffff:255.255.255.255"
    assert seen(longest, ONE) == ("255.255.255.255", 0)
    client_address._canonical.cache_clear()
    assert seen("1" * 5_000, ONE) == PEER
    assert client_address._canonical.cache_info().currsize == 0
