"""Who a browser is: tokens good and bad, and the order in which methods are asked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sockets.auth.clients import ClientAuth
from sockets.auth.handshake import Handshake, parse
from sockets.auth.tokens import check_token
from sockets.conf import Conf, WrongSettings
from sockets.exceptions import BadRequest, Unauthorized
from sockets.types import Credentials
from tests.support.doubles import JWT_SECRET, NOON, scope_of

CONF = Conf(auth=("jwt",), jwt_secret=JWT_SECRET)
FREE = replace(CONF, jwt_require_exp=False)
NOW = int(time.time())


def token(secret: str = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    body = {"sub": "42", "exp": NOW + 3_600} | claims
    body = {name: value for name, value in body.items() if name != "exp" or value is not None}
    return jwt.encode(body, secret, algorithm=algorithm)


def by_hand(payload: str, header: str = '{"alg":"HS256","typ":"JWT"}') -> str:
    """A well-signed token round a payload that no library would write."""

    def part(raw: bytes) -> bytes:
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    signed = part(header.encode()) + b"." + part(payload.encode())
    signature = hmac.new(JWT_SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(signature)).decode()


def hand(query: str = "", given: str | None = None) -> Handshake:
    headers = [] if given is None else [(b"authorization", f"Bearer {given}".encode())]
    return parse(scope_of(query, headers=headers))


# --- keys


def test_a_public_key_that_cannot_be_used_stops_the_node() -> None:
    """Rule 10: reading one needs cryptography, so it is not judged where settings are read."""
    small = rsa.generate_private_key(65537, 1024).public_key()
    pem = small.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    conf = Conf(auth=("jwt",), jwt_public_keys=(("old", "no key"), ("", pem.decode())))
    with pytest.raises(WrongSettings) as refused:
        ClientAuth(conf)
    assert [fault.text for fault in refused.value.faults] == [
        "JWT_PUBLIC_KEYS: the one of 'old': it is not a public key in PEM; "
        "name a file with a PUBLIC KEY",
        "JWT_PUBLIC_KEYS: an RSA key has at least 2048 bits; name a file with a PUBLIC KEY",
    ]


# --- tokens


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, Credentials("42", "jwt")),
        ({"nbf": NOW - 60, "iat": NOW}, Credentials("42", "jwt", issued_at=NOW)),
        ({"sid": "s", "jti": "j"}, Credentials("42", "jwt", sid="s", jti="j")),
        ({"info": {"a": [1]}, "meta": 7}, Credentials("42", "jwt", info={"a": [1]}, meta=7)),
        ({"aud": "another service", "iss": "anybody"}, Credentials("42", "jwt")),
        ({"sub": "한/" + "x" * 100}, Credentials("한/" + "x" * 100, "jwt")),
    ],
)
def test_a_good_token(claims: dict[str, Any], expected: Credentials) -> None:
    assert check_token(token(exp=None, **claims), FREE) == expected
    ends = NOW + 3_600 + CONF.jwt_leeway
    assert check_token(token(**claims), CONF) == replace(expected, expires_at=ends)


def test_a_token_ends_when_it_says_give_or_take_the_leeway() -> None:
    ends = int(time.time()) + 3_600
    expires_at = check_token(token(exp=ends), CONF).expires_at
    assert expires_at is not None and ends <= expires_at <= ends + CONF.jwt_leeway


def test_two_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    assert check_token(token(nbf=now + CONF.jwt_leeway - 2), CONF).subject == "42"
    assert check_token(token(exp=now - 2), CONF).subject == "42"


def test_what_the_leeway_let_in_stays_as_long_as_the_leeway() -> None:
    """Else its socket is welcomed, and closed (4003) at the next tick."""
    expires_at = check_token(token(exp=int(time.time()) - 2), CONF).expires_at
    assert expires_at is not None and expires_at > time.time()


def test_an_end_beyond_all_time_is_no_bug_of_ours() -> None:
    """JSON's numbers have no end, and floats do."""
    with suppress(Unauthorized):
        check_token(by_hand('{"sub":"42","exp":%s}' % ("9" * 400)), CONF)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - CONF.jwt_leeway - 5}, "expired"),
        ({"exp": 0}, "expired"),
        ({"nbf": NOW + CONF.jwt_leeway + 3_600}, "not valid yet"),
        ({"iat": NOW + CONF.jwt_leeway + 3_600}, "not valid yet"),
        ({"sub": ""}, "sub must be"),
        ({"sub": "x" * 1_025}, "sub must be"),
        ({"sub": None}, "claim 'sub' is missing"),
        ({"exp": "soon"}, "not valid"),
        ({"exp": None}, "claim 'exp' is missing"),
    ],
)
def test_a_token_that_is_refused(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unauthorized, match=f"token: {reason}"):
        check_token(token(**claims), CONF)


def test_a_token_needs_a_subject() -> None:
    bare = jwt.encode({"user": "42"}, JWT_SECRET)
    with pytest.raises(Unauthorized, match="claim 'sub' is missing"):
        check_token(bare, CONF)


def rsa_signed() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return jwt.encode({"sub": "42"}, key, algorithm="RS256")


def public_key_as_secret() -> tuple[str, str]:
    """The classic swap: HS256 with the public key's text as its secret."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256"}, {"sub": "42"})
    )
    signature = hmac.new(public, header + b"." + payload, hashlib.sha256).digest()
    mac = base64.urlsafe_b64encode(signature).rstrip(b"=")
    return (header + b"." + payload + b"." + mac).decode(), public.decode()


def unsigned() -> str:
    return jwt.encode({"sub": "42"}, "", algorithm="none")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(token("another secret, also long enough for it"), id="wrong secret"),
        pytest.param(unsigned(), id="alg none"),
        pytest.param(unsigned() + token().rsplit(".", 1)[1], id="alg none, signed"),
        pytest.param(rsa_signed(), id="RS256"),
        pytest.param(public_key_as_secret()[0], id="HS256 with a public key"),
        pytest.param(token()[:-2], id="cut"),
        pytest.param(".".join([*token().split(".")[:2], ""]), id="no signature"),
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="not base64"),
        pytest.param("é.é.é", id="not ASCII"),
        pytest.param("\ud800", id="a surrogate"),
        pytest.param(by_hand("[]"), id="payload no object"),
        pytest.param(by_hand('{"sub":42.0}'), id="sub a fraction"),
        pytest.param(by_hand('{"sub":1e2}'), id="sub an exponent"),
        pytest.param(by_hand('{"sub":1%s}' % ("0" * 1_024)), id="sub with too many digits"),
        pytest.param(by_hand('{"sub":["42"]}'), id="sub a list"),
        pytest.param(by_hand('{"sub":{"a":1}}'), id="sub an object"),
        pytest.param(by_hand('{"sub":true}'), id="sub a boolean"),
        pytest.param(by_hand('{"sub":"\\ud800"}'), id="sub a surrogate"),
        pytest.param(by_hand('{"sub":"42","exp":null}'), id="exp null"),
        pytest.param(by_hand('{"sub":"42","exp":1e999}'), id="exp infinite"),
        pytest.param(by_hand('{"sub":"42","exp":NaN}'), id="exp not a number"),
        pytest.param(by_hand('{"sub":"42"}', '{"alg":"HS256","crit":["x"]}'), id="crit"),
        pytest.param(by_hand('{"sub":"42"}', '{"alg":["HS256"]}'), id="alg a list"),
        pytest.param(by_hand('{"sub":"42"}', "{}"), id="no alg"),
        pytest.param(by_hand("[" * 4_000), id="deep"),
        pytest.param("x" * 102_400, id="100 KB"),
        pytest.param(token(more="x" * 102_400), id="100 KB, well signed"),
    ],
)
def test_a_token_that_is_none_is_refused_and_not_quoted(given: str) -> None:
    with pytest.raises(Unauthorized, match="token: ") as caught:
        check_token(given, FREE)
    assert len(str(caught.value)) < 80
    assert not given or given not in str(caught.value)


# --- methods


async def authenticate(handshake: Handshake, conf: Conf) -> Credentials:
    auth = ClientAuth(conf)
    try:
        return await auth.authenticate(handshake)
    finally:
        await auth.close()


async def test_the_first_method_that_is_used_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockets.auth.clients.time.time", lambda: NOON)
    conf = Conf(auth=("jwt", "insecure"), jwt_secret=JWT_SECRET)
    assert (await authenticate(hand("user_id=42", token()), conf)).method == "jwt"
    assert await authenticate(hand("", token()), conf) == Credentials(
        "42", "jwt", NOW + 3_600 + conf.jwt_leeway
    )
    assert await authenticate(hand("user_id=7"), conf) == Credentials(
        "7", "insecure", issued_at=NOON
    )


ORDERS = [("jwt", "insecure"), ("insecure", "jwt")]


@pytest.mark.parametrize("auth", ORDERS)
async def test_insecure_is_asked_last_whatever_the_order(auth: tuple[str, ...]) -> None:
    conf = Conf(auth=auth, jwt_secret=JWT_SECRET)
    assert (await authenticate(hand("user_id=42", token()), conf)).method == "jwt"
    assert (await authenticate(hand("user_id=42"), conf)).method == "insecure"


@pytest.mark.parametrize("auth", ORDERS)
async def test_a_bad_token_gets_no_second_chance_by_a_weaker_method(auth: tuple[str, ...]) -> None:
    conf = Conf(auth=auth, jwt_secret=JWT_SECRET)
    with pytest.raises(Unauthorized, match="token: expired"):
        await authenticate(hand("user_id=42", token(exp=1)), conf)


@pytest.mark.parametrize("query", ["user_id=7", "userId=7"])
async def test_another_user_than_the_token_says(query: str) -> None:
    with pytest.raises(Unauthorized, match="user_id is not the authenticated user"):
        await authenticate(hand(query, token()), CONF)


async def test_the_same_user_as_the_token_says() -> None:
    assert (await authenticate(hand("userId=42", token()), CONF)).subject == "42"


@pytest.mark.parametrize(
    ("auth", "wanted"),
    [
        (("jwt",), "give a token"),
        (("jwt", "session"), "give a token"),
        (("jwt", "insecure"), "give user_id or a token"),
        (("session",), "no signed-in user's session came; .* SESSION_COOKIE_DOMAIN"),
    ],
)
async def test_nobody_in_particular(auth: tuple[str, ...], wanted: str) -> None:
    with pytest.raises(Unauthorized, match=wanted):
        await authenticate(hand(), Conf(auth=auth, jwt_secret=JWT_SECRET))


async def test_saying_who_one_is_does_not_do_where_tokens_are_asked_for() -> None:
    with pytest.raises(Unauthorized, match="no credentials"):
        await authenticate(hand("user_id=42"), CONF)


async def test_a_user_id_of_a_wrong_form_is_a_bad_request_whatever_the_token() -> None:
    with pytest.raises(BadRequest):
        await authenticate(hand("user_id=", token()), CONF)


async def test_a_token_in_the_query_only_if_the_setting_allows_it() -> None:
    allowed = Conf(auth=("jwt",), jwt_secret=JWT_SECRET, query_token=True)
    assert (await authenticate(hand(f"token={token()}"), allowed)).subject == "42"
    with pytest.raises(Unauthorized, match="no credentials"):
        await authenticate(hand(f"token={token()}"), CONF)


async def test_every_method_that_the_settings_accept_is_there() -> None:
    known = ("jwt", "session", "proxy", "insecure")
    conf = Conf(auth=known, jwt_secret=JWT_SECRET, api_server_url="http://127.0.0.1:9")
    assert (await authenticate(hand("user_id=7"), conf)).method == "insecure"
