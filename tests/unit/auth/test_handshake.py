"""What a client said, taken from the scope: names and aliases, contradictions, forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockets.auth.handshake import Handshake, claims_in, parse, peer_address
from sockets.base.client_address import host_in
from sockets.base.ids import parse_ulid
from sockets.exceptions import BadRequest
from sockets.types import Position
from tests.support.doubles import scope_of

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def hand(query: str | bytes = "", *headers: tuple[str, str], **given: Any) -> Handshake:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return parse(scope_of(query, headers=raw, **given))


# --- the query string


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("user_id=42", "42"),
        ("userId=42", "42"),
        ("user_id=42&userId=42", "42"),
        ("user_id=a%2Fb%20c+d", "a/b c d"),
        ("user_id=%ED%95%9C", "한"),
        ("user_id=a&user_id=b", "b"),
        ("USER_ID=42", None),
    ],
)
def test_the_user_id(query: str, expected: str | None) -> None:
    assert hand(query).user_id() == expected


@pytest.mark.parametrize(
    "query", ["user_id=", "userId=", "user_id=1&userId=2", "user_id=" + "x" * 1_025]
)
def test_a_user_id_that_is_none(query: str) -> None:
    with pytest.raises(BadRequest, match="user_id"):
        hand(query).user_id()


@pytest.mark.parametrize(
    "query",
    [
        b"user_id=%ff",
        b"user_id=%ed%a0%80",  # a surrogate
        b"user_id=\xed\x95\x9c",  # not escaped
        b"&".join(b"a%d=1" % n for n in range(33)),
    ],
)
def test_a_query_that_cannot_be_read(query: bytes) -> None:
    with pytest.raises(BadRequest, match="query string"):
        hand(query)


@pytest.mark.parametrize("name", ["client_id", "clientId"])
@pytest.mark.parametrize("value", [ULID, ULID.lower()])
def test_the_client_id_in_its_canonical_form(name: str, value: str) -> None:
    assert hand(f"{name}={value}").client_id("client_id", "clientId") == ULID


def test_an_absent_client_id_is_made() -> None:
    one, two = (hand("worker_id=" + ULID).client_id("client_id", "clientId") for _ in range(2))
    assert parse_ulid(one) == one and one != two


@pytest.mark.parametrize(
    "query",
    ["client_id=", "client_id=1", f"client_id={ULID}X", f"client_id={ULID}&clientId=0{ULID[1:]}x"],
)
def test_a_client_id_that_is_none(query: str) -> None:
    with pytest.raises(BadRequest, match="client_id"):
        hand(query).client_id("client_id", "clientId")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("epoch=e&offset=0", Position("e", 0)),
        ("epoch=e&offset=007", Position("e", 7)),
        ("epoch=&offset=1", Position("", 1)),
        ("epoch=" + "e" * 64 + "&offset=" + "9" * 18, Position("e" * 64, 10**18 - 1)),
    ],
)
def test_the_position(query: str, expected: Position | None) -> None:
    assert hand(query).position() == expected


@pytest.mark.parametrize(
    "query",
    [
        "epoch=e",
        "offset=1",
        "epoch=e&offset=",
        "epoch=e&offset=-1",
        "epoch=e&offset=%2B1",
        "epoch=e&offset=1.0",
        "epoch=e&offset=1_0",
        "epoch=e&offset=%201",
        "epoch=e&offset=%D9%A1",  # a digit that is not ASCII
        "epoch=e&offset=" + "9" * 19,
        "epoch=" + "e" * 65 + "&offset=1",
    ],
)
def test_a_position_that_is_none(query: str) -> None:
    with pytest.raises(BadRequest, match="offset"):
        hand(query).position()


# --- headers


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
    ],
)
def test_the_token_in_a_header(header: str, expected: str | None) -> None:
    assert hand("", ("authorization", header)).token(allow_query=False) == expected


def test_the_token_in_a_subprotocol_goes_before_the_header() -> None:
    both = hand(
        "token=q", ("Authorization", "Bearer h"), subprotocols=("gateway.v1", "gateway.bearer.s.t")
    )
    assert both.token(allow_query=True) == "s.t"
    assert hand("token=q", ("Authorization", "Bearer h")).token(allow_query=True) == "h"


def test_the_token_in_the_query_only_where_it_is_allowed() -> None:
    assert hand("token=q").token(allow_query=True) == "q"
    assert hand("token=q").token(allow_query=False) is None
    assert hand("").token(allow_query=True) is None


def test_header_names_have_no_case_and_values_any_bytes() -> None:
    one = hand("", ("User-Agent", "caf\xe9 " + "x" * 300))
    assert one.agent == "caf\xe9 " + "x" * 251
    assert hand("").agent == "" and hand("").header("user-agent") is None


def test_of_two_headers_the_last_counts_and_an_empty_one_is_there() -> None:
    one = hand("", ("x-one", "1"), ("X-One", "2"), ("x-none", ""))
    assert (one.header("x-one"), one.header("x-none")) == ("2", "")
    assert one.header("x-한") is None, "a name that no header can have"


def test_headers_that_can_be_read_once_only_are_kept() -> None:
    scope = {"type": "websocket", "headers": iter([(b"user-agent", b"a"), (b"origin", b"o")])}
    one = parse(scope)
    assert [one.agent, one.header("origin"), one.agent] == ["a", "o", "a"]


@pytest.mark.parametrize(
    ("client", "expected"),
    [(["192.0.2.7", 5], "192.0.2.7:5"), (("::1", 5), "[::1]:5"), (None, "")],
)
def test_the_address(client: Any, expected: str) -> None:
    assert hand("", client=client).address == expected


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ((), False),
        (("gateway.v1",), True),
        (("gateway.bearer.x", "gateway.v1"), True),
        (("gateway.v2",), False),
        (("gateway.bearer.gateway.v1",), False),
    ],
)
def test_who_speaks_v1(offered: tuple[str, ...], expected: bool) -> None:
    assert hand("", subprotocols=offered).speaks_v1 is expected


def test_a_scope_may_lack_what_is_optional() -> None:
    empty = parse({"type": "websocket"})
    assert (empty.user_id(), empty.position(), empty.token(allow_query=True)) == (None, None, None)
    assert not empty.speaks_v1


def test_secrets_are_not_printed() -> None:
    shown = repr(
        hand("token=hidden", ("authorization", "hidden"), subprotocols=("gateway.bearer.hidden",))
    )
    assert "hidden" not in shown


@given(st.binary(max_size=60), st.lists(st.text(max_size=9), max_size=3))
def test_nothing_but_bad_request_is_raised(query: bytes, subprotocols: list[str]) -> None:
    try:
        one = parse(scope_of(query, subprotocols=tuple(subprotocols)))
        one.user_id(), one.position(), one.token(allow_query=True)
        one.client_id("client_id", "clientId")
    except BadRequest:
        pass


@pytest.mark.parametrize(
    ("client", "address", "host"),
    [
        (("192.0.2.7", 80), "192.0.2.7:80", "192.0.2.7"),
        (("192.0.2.7", 0), "192.0.2.7", "192.0.2.7"),
        (("2001:db8::1", 80), "[2001:db8::1]:80", "2001:db8::1"),
        (("2001:db8::1", 0), "2001:db8::1", "2001:db8::1"),
        (("::1", 5000), "[::1]:5000", "::1"),
        (None, "", ""),
    ],
)
def test_the_address_of_a_peer_says_its_host(client: Any, address: str, host: str) -> None:
    assert peer_address({"client": client}) == address
    assert host_in(address) == host


def test_a_peer_has_one_address() -> None:
    """A socket that listens for both sees IPv4 in the form of IPv6."""
    for client in (("::ffff:192.0.2.7", 55), ("::ffff:c000:207", 55), ("192.0.2.7", 55)):
        assert peer_address({"client": client}) == "192.0.2.7:55"
    assert peer_address({"client": ("::ffff:192.0.2.7", 0)}) == "192.0.2.7"


def test_what_a_peer_says_of_itself() -> None:
    headers = [(b"user-agent", b"Firefox"), (b"origin", b"https://shop.test")]
    assert claims_in(scope_of(f"user_id=kim&client_id={ULID.lower()}", headers=headers)) == {
        "client_id": ULID,
        "claimed": "kim",
        "agent": "Firefox",
        "origin": "https://shop.test",
    }
    said = claims_in(scope_of("userId=&clientId=none&token=hunter2"))
    assert said == {"client_id": "", "claimed": "", "agent": "", "origin": ""}
    assert claims_in(scope_of(b"\xff")) == {}
