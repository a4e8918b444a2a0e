"""Keys that an issuer publishes, fetched from a real HTTP server that does all it may do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sockets.auth import jwks
from sockets.auth.jwks import PublishedKeys
from sockets.auth.tokens import Tokens
from sockets.conf import Conf
from sockets.exceptions import TryAgainLater, Unauthorized
from tests.support.api_server import Answer, ApiServer, api_server, drip, hang_up, silence, status
from tests.support.doubles import MovedClock, until

RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
WEAK = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
ENDS = int(time.time()) + 3_600
CONF = Conf(auth=("jwt",), jwt_jwks_url="http://127.0.0.1")


def published(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    kinds: dict[type, Any] = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
    }
    maker: Any = next((made for kind, made in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    found: dict[str, Any] = maker.to_jwk(key.public_key(), as_dict=True)
    found.pop("key_ops", None)
    return found | ({} if kid is None else {"kid": kid}) | more


def keys(*entries: Any) -> Answer:
    return status(200, body=json.dumps({"keys": entries}).encode())


def token(key: Any, algorithm: str, kid: str | None = None) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode({"sub": "42", "exp": ENDS}, key, algorithm=algorithm, headers=headers)


@asynccontextmanager
async def fetched(server: ApiServer, clock: MovedClock, conf: Conf = CONF) -> AsyncIterator[Tokens]:
    made = PublishedKeys(f"http://127.0.0.1:{server.port}/keys", ttl=600, clock=clock)
    try:
        yield Tokens(conf, made)
    finally:
        await made.close()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.mark.parametrize("kid", [None, "k"])
@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (ED, "EdDSA")]
)
async def test_what_is_published_signs(
    clock: MovedClock, key: Any, algorithm: str, kid: str | None
) -> None:
    async with api_server() as server, fetched(server, clock) as tokens:
        server.answer = keys(published(WEAK, "weak"), published(key, kid), {"kty": "?"}, 7)
        assert (await tokens.check(token(key, algorithm, kid))).subject == "42"
        for _ in range(5):
            await tokens.check(token(key, algorithm, kid))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "entry",
    [
        published(RSA, "k", use="enc"),
        published(RSA, "k", alg="RS512"),
        published(WEAK, "k"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "HS256"},
        published(RSA, "k", n=7),
        published(RSA, "k", e="!"),
    ],
)
async def test_a_key_that_is_not_for_this(clock: MovedClock, entry: dict[str, Any]) -> None:
    async with api_server() as server, fetched(server, clock) as tokens:
        server.answer = keys(published(EC, "other"), entry)
        for signed in (token(RSA, "RS256", "k"), token("secret" * 8, "HS256", "k")):
            with pytest.raises(Unauthorized, match="not valid"):
                await tokens.check(signed)


async def test_the_swap_of_a_public_key_for_a_secret(clock: MovedClock) -> None:
    entry = published(RSA, "k", alg="HS256")
    async with api_server() as server, fetched(server, clock) as tokens:
        server.answer = keys(entry, published(EC, "e"))
        with pytest.raises(Unauthorized, match="not valid"):
            await tokens.check(token(entry["n"], "HS256", "k"))


async def test_a_new_key_is_found_and_invented_names_cost_the_issuer_nothing(
    clock: MovedClock,
) -> None:
    async with api_server() as server, fetched(server, clock) as tokens:
        server.answer = keys(published(RSA, "old"))
        await tokens.check(token(RSA, "RS256", "old"))
        clock.advance(jwks.ADDRESS_INTERVAL)
        server.answer = keys(published(RSA, "old"), published(EC, "new"))
        found = await asyncio.gather(*(tokens.check(token(EC, "ES256", "new")) for _ in range(50)))
        assert len(found) == 50 and len(server.requests) == 2
        for n in range(100):
            with pytest.raises(Unauthorized):
                await tokens.check(token(EC, "ES256", f"invented {n}"))
        clock.advance(jwks.MIN_INTERVAL)
        for n in range(100):
            with pytest.raises(TryAgainLater, match="not known yet"):
                await tokens.check(token(EC, "ES256", f"invented {n}"))
        assert len(server.requests) == 2
        clock.advance(jwks.ADDRESS_INTERVAL)
        with pytest.raises(Unauthorized):
            await tokens.check(token(EC, "ES256", "invented"))
        assert len(server.requests) == 3


async def test_a_stranger_who_invents_names_keeps_nobody_from_a_new_key(clock: MovedClock) -> None:
    async with api_server() as server, fetched(server, clock) as tokens:
        server.answer = keys(published(RSA, "old"))
        await tokens.check(token(RSA, "RS256", "old"))
        for n in range(200):  # a hundred seconds of it
            clock.advance(0.5)
            with pytest.raises((TryAgainLater, Unauthorized)):
                await tokens.check(token(EC, "ES256", f"invented {n}"), "198.51.100.1")
        assert len(server.requests) == 11, "one in ten seconds"
        server.answer = keys(published(RSA, "old"), published(EC, "new"))
        clock.advance(jwks.MIN_INTERVAL)
        assert (await tokens.check(token(EC, "ES256", "new"), "192.0.2.7")).subject == "42"
        for n in range(100):  # and many strangers cost the issuer one fetch a second
            clock.advance(0.001)
            with pytest.raises(TryAgainLater):
                await tokens.check(token(EC, "ES256", "invented"), f"192.0.2.{n}")
        assert len(server.requests) == 12


async def test_keys_of_the_settings_wait_for_no_issuer(clock: MovedClock) -> None:
    conf = replace(CONF, jwt_secret="s" * 32, jwt_secrets=(("own", "t" * 32),))
    async with api_server() as server, fetched(server, clock, conf) as tokens:
        server.answer = keys(published(RSA, "old"))
        await tokens.check(token(RSA, "RS256", "old"))
        clock.advance(0.1)
        assert (await tokens.check(token("s" * 32, "HS256", "any name"))).subject == "42"
        assert (await tokens.check(token("t" * 32, "HS256", "own"))).subject == "42"
        with pytest.raises(Unauthorized):
            await tokens.check(token("x" * 32, "HS256", "own"))
        assert len(server.requests) == 1


async def test_nobody_is_told_no_for_a_fetch_that_began_before_or_failed(clock: MovedClock) -> None:
    async with api_server() as server, fetched(server, clock) as tokens:
        server.answer = keys(published(RSA, "old"))
        await tokens.check(token(RSA, "RS256", "old"))
        clock.advance(jwks.ADDRESS_INTERVAL)
        gate = asyncio.Event()

        async def late(request: Any, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            await keys(published(RSA, "old"))(request, writer)

        server.answer = late
        first = asyncio.ensure_future(tokens.check(token(EC, "ES256", "x"), "198.51.100.1"))
        await until(lambda: len(server.requests) == 2)
        clock.advance(0.1)
        second = asyncio.ensure_future(tokens.check(token(EC, "ES256", "new"), "192.0.2.7"))
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(Unauthorized, match="not valid"):
            await first
        with pytest.raises(TryAgainLater):
            await second
        server.answer = status(500)
        clock.advance(jwks.ADDRESS_INTERVAL)
        with pytest.raises(TryAgainLater):
            await tokens.check(token(EC, "ES256", "new"), "192.0.2.7")


AWAY = {
    "500": status(500),
    "gone": None,
    "silence": silence,
    "hangs up": hang_up,
    "a drip": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    "a page": status(200, body=b"<html>"),
    "a list": status(200, body=b"[]"),
    "no keys": keys(),
    "large": status(200, body=b" " * 70_000),
}


@pytest.mark.parametrize("answer", AWAY.values(), ids=AWAY)
async def test_an_issuer_that_is_away(
    clock: MovedClock, answer: Answer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT", 0.1)
    async with api_server() as server, fetched(server, clock) as tokens:
        if answer is None:
            await server.stop()
        else:
            server.answer = answer
        for _ in range(3):
            with pytest.raises(TryAgainLater):
                await tokens.check(token(RSA, "RS256", "k"))
        assert len(server.requests) <= 1, "asked again after a moment only"
        clock.advance(jwks.RETRY)
        monkeypatch.setattr(jwks, "TIMEOUT", 10.0)  # who answers may be as slow as the machine
        if answer is None:
            await server.start()
        server.answer = keys(published(RSA, "k"))
        assert (await tokens.check(token(RSA, "RS256", "k"))).subject == "42"
        # Away again: what is known serves, for a day.
        server.answer = status(500)
        clock.advance(jwks.STALE - 1)
        assert (await tokens.check(token(RSA, "RS256", "k"))).subject == "42"
        clock.advance(2)
        with pytest.raises(TryAgainLater):
            await tokens.check(token(RSA, "RS256", "k"))


async def test_it_is_fetched_before_anybody_asks(clock: MovedClock) -> None:
    async with api_server() as server:
        server.answers = [status(500)]
        server.answer = keys(published(RSA, "k"))
        made = PublishedKeys(f"http://127.0.0.1:{server.port}/", ttl=0.02, clock=clock)
        running = asyncio.ensure_future(made.run())
        try:
            await until(lambda: len(server.requests) >= 4)
            assert [key.id for key in (await made.keys(""))[0]] == ["k"]
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await made.close()


async def test_a_socket_that_goes_away_ends_no_fetch(clock: MovedClock) -> None:
    async with api_server() as server, fetched(server, clock) as tokens:
        gate = asyncio.Event()

        async def late(request: Any, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            await keys(published(RSA, "k"))(request, writer)

        server.answer = late
        first = asyncio.ensure_future(tokens.check(token(RSA, "RS256", "k")))
        clock.advance(0.1)
        second = asyncio.ensure_future(tokens.check(token(RSA, "RS256", "k")))
        await until(lambda: bool(server.requests))
        first.cancel()
        gate.set()
        assert (await second).subject == "42" and len(server.requests) == 1
