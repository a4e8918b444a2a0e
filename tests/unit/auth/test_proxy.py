"""Authentication by proxy, against a real HTTP server that does all an API server may do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sockets.auth import breaker, proxy
from sockets.auth.handshake import Handshake, parse
from sockets.conf import Conf
from sockets.exceptions import TryAgainLater, Unauthorized
from tests.support.api_server import Answer, ApiServer, api_server, drip, hang_up, silence, status
from tests.support.doubles import MovedClock, scope_of, until

OWN = "http://localhost:4000"


def hand(
    cookie: str | None = "sessionid=s",
    origin: str | None = OWN,
    address: str = "192.0.2.7",
    **more: str,
) -> Handshake:
    given = {"host": "localhost:4000", "cookie": cookie, "origin": origin, **more}
    headers = [(k.encode(), v.encode("latin-1")) for k, v in given.items() if v is not None]
    return parse(scope_of("", headers=headers, client=[address, 50_000]))


def says(**told: Any) -> Answer:
    return status(200, body=json.dumps(told).encode())


@asynccontextmanager
async def asked(
    server: ApiServer, clock: MovedClock | None = None, **conf: Any
) -> AsyncIterator[proxy.ApiServer]:
    given: dict[str, Any] = {
        "auth": ("proxy",),
        "api_server_url": f"http://127.0.0.1:{server.port}",
        "auth_proxy_timeout": 1.0,
    }
    made = proxy.ApiServer(Conf(**given | conf), clock=clock or MovedClock())
    try:
        yield made
    finally:
        await made.close()


async def test_it_says_who_this_is() -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = says(user="42", info={"name": "Kim"}, meta=[1], sid="s1", expires_in=60)
        found = await auth.ask(hand(**{"x-other": "o"}), "t0k3n")
        assert found is not None
        assert (found.subject, found.method, found.info) == ("42", "proxy", {"name": "Kim"})
        assert (found.meta, found.sid) == ([1], "s1")
        assert found.issued_at is not None and abs(found.issued_at - time.time()) < 60
        assert found.expires_at == found.issued_at + 60
        (request,) = server.requests
        assert request.line.startswith("GET /gateway/auth ")
        assert request.headers["cookie"] == "sessionid=s"
        assert request.headers["authorization"] == "Bearer t0k3n"
        assert "x-other" not in request.headers and "x-forwarded-for" in request.headers


async def test_names_of_headers_have_no_case() -> None:
    async with api_server() as server, asked(server, auth_proxy_headers=("Cookie",)) as auth:
        server.answer = says(user="42")
        assert await auth.ask(hand(), None) is not None
        assert server.requests[0].headers["cookie"] == "sessionid=s"


async def test_nothing_to_show_is_no_question() -> None:
    async with api_server() as server, asked(server) as auth:
        assert await auth.ask(hand(None), None) is None
        assert server.requests == []


@pytest.mark.parametrize(
    "origin", [None, "null", "http://localhost:3000", "https://localhost:4000", "http://evil.test"]
)
async def test_a_cookie_counts_only_on_pages_of_this_very_origin(origin: str | None) -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = says(user="42")
        with pytest.raises(Unauthorized, match="pages of this origin"):
            await auth.ask(hand(origin=origin), None)
        assert server.requests == []
        assert await auth.ask(hand(origin=origin), "token") is not None
        assert "cookie" not in server.requests[0].headers


async def test_the_cookie_of_a_named_page_is_shown() -> None:
    """Rule 3: as with AUTH=session."""
    listed: dict[str, Any] = {
        "client_origins": ("https://shop.example", "https://*.shop.example", "*")
    }
    async with api_server() as server, asked(server, **listed) as auth:
        server.answer = says(user="42")
        assert await auth.ask(hand(origin="https://shop.example"), None) is not None
        with pytest.raises(Unauthorized, match="https ones of CLIENT_ORIGIN"):
            await auth.ask(hand(origin="https://www.shop.example"), None)
        (asked_once,) = server.requests
        assert asked_once.headers["cookie"] == "sessionid=s"


@pytest.mark.parametrize("code", [204, 400, 401, 403, 413, 414, 431])
async def test_nobody(code: int) -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = status(code)
        for n in range(3 * breaker.FAILURES):  # a hostile header is no API server that fails
            with pytest.raises(Unauthorized):
                await auth.ask(hand(f"s={n}"), None)


@pytest.mark.parametrize("value", ["é", "a\r\nX-Evil: 1", "\x00"])
async def test_what_no_header_may_have(value: str) -> None:
    async with api_server() as server, asked(server) as auth:
        with pytest.raises(Unauthorized, match="no header"):
            await auth.ask(hand(value), None)
        assert server.requests == []


@pytest.mark.parametrize(
    "told",
    [
        {"user": ""},
        {"user": "x" * 1_025},
        {"user": "42", "sid": "x" * 256},
        {"user": "42", "info": "x" * 1_100},
    ],
)
async def test_somebody_who_is_none(told: dict[str, Any]) -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = says(**told)
        with pytest.raises(Unauthorized):
            await auth.ask(hand(), None)


async def test_nobody_is_signed_in() -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = says(user=None)
        with pytest.raises(Unauthorized, match="does not know you"):
            await auth.ask(hand(), None)
        server.answer = says(user="42")
        assert await auth.ask(hand(), None) is not None, "that it was nobody is not kept"


ANSWERS = {
    "404": status(404),
    "429": status(429, "Retry-After: 60"),
    "418": status(418),
    "500": status(500),
    "501": status(501),
    "505": status(505),
    "201": status(201, body=b'{"user": "42"}'),
    "a redirect": status(302, "Location: /login"),
    "another": status(307, "Location: /login"),
    "a page": status(200, body=b"<html>"),
    "no body": status(200),
    "a list": status(200, body=b"[]"),
    "no UTF-8": status(200, body=b'{"user": "\xff"}'),
    "no user": says(name="Kim"),
    "user a fraction": says(user=4.5),
    "user 42 as a float": status(200, body=b'{"user": 42.0}'),
    "user an exponent": status(200, body=b'{"user": 1e2}'),
    "user a boolean": says(user=True),
    "an end that was": says(user="42", expires_in=-1),
    "deep": status(200, body=b"[" * 10_000),
    "large": status(200, body=b" " * 70_000),
    "hangs up": hang_up,
    "no HTTP": drip(b"what is this\r\n\r\n"),
}
"""That say nothing of who it is. The server works."""

SILENCES = {
    "silence": silence,
    "a drip": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
}


async def refused(auth: proxy.ApiServer, handshake: Handshake) -> None:
    with pytest.raises(TryAgainLater):
        await auth.ask(handshake, None)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_what_one_client_is_answered_is_its_own(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    async with api_server() as server, asked(server, auth_proxy_timeout=0.5) as auth:
        server.answer = answer
        for n in range(3 * breaker.FAILURES):
            await refused(auth, hand("sessionid=secret", address=f"192.0.2.{n}"))
        assert len(server.requests) == 3 * breaker.FAILURES
        (line,) = caplog.messages
        assert "try again (1013)" in line and "secret" not in line
        server.answer = says(user="42")
        assert await auth.ask(hand("sessionid=another"), None) is not None


@pytest.mark.parametrize("answer", SILENCES.values(), ids=SILENCES)
async def test_a_silence_that_one_address_sees_is_its_own(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    async with api_server() as server, asked(server, auth_proxy_timeout=0.1) as auth:
        server.answer = answer
        for n in range(2 * breaker.FAILURES):
            await refused(auth, hand(f"sessionid=secret{n}", address=f"2001:db8::{n}"))
        assert "left alone" not in caplog.text and len(caplog.messages) == 1
        # Several addresses: now it is the server.
        for n in range(breaker.SEVERAL):
            await refused(auth, hand(address=f"192.0.2.{n}"))
        assert "left alone" in caplog.text and "secret" not in caplog.text
        count = len(server.requests)
        await refused(auth, hand(address="192.0.2.99"))
        assert len(server.requests) == count


@pytest.mark.parametrize("code", [502, 503, 504])
async def test_a_server_that_fails_is_left_alone(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = status(code)
        for _ in range(breaker.FAILURES):
            await refused(auth, hand("sessionid=secret"))
        assert "left alone" in caplog.text and "secret" not in caplog.text
        count = len(server.requests)
        await refused(auth, hand(address="192.0.2.99"))
        assert len(server.requests) == count


async def test_an_answer_to_anybody_shows_that_it_works() -> None:
    async with api_server() as server, asked(server) as auth:
        for code in (401, 302, 404, 500):
            server.answer = status(503)
            for _ in range(breaker.FAILURES - 1):
                await refused(auth, hand())
            server.answer = status(code)
            with pytest.raises((TryAgainLater, Unauthorized)):
                await auth.ask(hand(address="192.0.2.99"), None)
        assert len(server.requests) == 4 * breaker.FAILURES, "each was asked"


async def test_it_is_asked_again_when_it_was_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sockets")
    clock = MovedClock()
    async with api_server() as server, asked(server, clock) as auth:
        await server.stop()
        for _ in range(breaker.FAILURES):
            await refused(auth, hand())
        await server.start()
        server.answer = says(user="42")
        await refused(auth, hand())
        clock.advance(breaker.MIN_PAUSE)
        assert await auth.ask(hand(), None) is not None
        assert await auth.ask(hand("another"), None) is not None
        assert "says again who clients are" in caplog.text


async def test_one_stranger_whose_questions_fail_keeps_nobody_out() -> None:
    """The server was away, and is back for all but the stranger, who comes first each time."""
    clock = MovedClock()
    async with api_server() as server, asked(server, clock, auth_proxy_timeout=0.1) as auth:
        server.answer = status(503)
        for _ in range(breaker.FAILURES):
            await refused(auth, hand())
        server.answer = silence
        clock.advance(breaker.MIN_PAUSE)
        count = len(server.requests)
        await refused(auth, hand("hostile", address="198.51.100.1"))
        server.answer = says(user="42")
        clock.advance(breaker.MIN_PAUSE)
        await refused(auth, hand("hostile", address="198.51.100.1"))
        assert len(server.requests) == count + 1, "its own pause is longer now"
        assert await auth.ask(hand(), None) is not None


async def test_one_address_has_a_share_of_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "ASKED_SHARE", 2)
    monkeypatch.setattr(proxy, "WAITING_SHARE", 4)
    gate = asyncio.Event()

    async def late(request: Any, writer: asyncio.StreamWriter) -> None:
        if "hostile" in request.headers["cookie"]:
            await gate.wait()
        await says(user="42")(request, writer)

    async with api_server() as server, asked(server, auth_proxy_timeout=20.0) as auth:
        server.answer = late
        slow = [
            asyncio.ensure_future(auth.ask(hand(f"hostile={n}", address=f"2001:db8::{n}"), None))
            for n in range(4)
        ]
        await until(lambda: len(server.requests) == 2)
        await refused(auth, hand("hostile", address="2001:db8::ffff"))
        assert await auth.ask(hand(), None) is not None, "another one has places"
        assert len(server.requests) == 3, "the rest of the first one's wait for their turn"
        gate.set()
        found = await asyncio.gather(*slow)
        assert all(found) and auth._waiting.taken == 0 and not auth._turns._own


async def test_who_got_no_turn_is_no_failure_of_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(proxy, "MAX_ASKED", 1)
    async with api_server() as server, asked(server, auth_proxy_timeout=0.2) as auth:
        server.answer = silence
        crowd = [auth.ask(hand(address=f"192.0.2.{n}", cookie=f"s={n}"), None) for n in range(20)]
        found = await asyncio.gather(*crowd, return_exceptions=True)
        assert all(isinstance(one, TryAgainLater) for one in found)
        assert len(server.requests) <= 2 and "left alone" not in caplog.text


async def test_many_tabs_are_one_question() -> None:
    clock = MovedClock()
    async with api_server() as server, asked(server, clock) as auth:
        server.answer = says(user="42")
        found = await asyncio.gather(*(auth.ask(hand(), None) for _ in range(50)))
        assert {one.subject for one in found if one} == {"42"} and len(server.requests) == 1
        await auth.ask(hand(), None)
        assert len(server.requests) == 1
        await auth.ask(hand("sessionid=other"), None)
        assert len(server.requests) == 2, "another cookie is another question"
        clock.advance(5)
        server.answer = status(401)
        with pytest.raises(Unauthorized):
            await auth.ask(hand(), None)
        assert len(server.requests) == 3


async def test_a_socket_that_goes_away_ends_nobody_elses_question() -> None:
    async with api_server() as server, asked(server) as auth:
        gate = asyncio.Event()

        async def late(request: Any, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            await says(user="42")(request, writer)

        server.answer = late
        first = asyncio.ensure_future(auth.ask(hand(), None))
        second = asyncio.ensure_future(auth.ask(hand(), None))
        await until(lambda: bool(server.requests))
        first.cancel()
        gate.set()
        found = await second
        assert found is not None and found.subject == "42"
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "MAX_KEPT", 3)
    clock = MovedClock()
    async with api_server() as server, asked(server, clock) as auth:
        server.answer = says(user="42")
        for n in range(10):
            await auth.ask(hand(f"s={n}"), None)
        assert len(auth._kept) == 3
        clock.advance(auth._ttl)
        await auth.ask(hand("s=new"), None)
        assert len(auth._kept) == 1, "what is over is not kept"
        assert all(b"s=" not in key for key in auth._kept), "no cookie in memory"


async def test_an_answer_is_dated_by_the_store_before_the_question() -> None:
    """Whatever is revoked while the API server thinks hits it."""
    times = [1_000.0]
    async with api_server() as server:

        async def now() -> float:
            answered.append(len(server.requests))
            return times[-1]

        answered: list[int] = []
        server.answer = says(user="42")
        given = {"auth": ("proxy",), "api_server_url": f"http://127.0.0.1:{server.port}"}
        auth = proxy.ApiServer(Conf(**given), now=now)  # type: ignore[arg-type]
        first = await auth.ask(hand(), "one")
        times.append(2_000.0)
        kept, second = await auth.ask(hand(), "one"), await auth.ask(hand(), "two")
        await auth.close()
    assert first is not None and kept is not None and second is not None
    assert (first.issued_at, kept.issued_at, second.issued_at) == (1_000.0, 1_000.0, 2_000.0)
    assert answered == [0, 1], "read before it is asked"


async def test_a_user_may_be_a_number() -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = says(user=42)
        found = await auth.ask(hand(), None)
        assert found is not None and found.subject == "42"


@pytest.mark.parametrize("user", ["", "x" * 1_025, 10**1_024], ids=["empty", "long", "digits"])
async def test_a_user_that_is_none_is_nobody(user: object) -> None:
    async with api_server() as server, asked(server) as auth:
        server.answer = says(user=user)
        with pytest.raises(Unauthorized, match="a user that is none"):
            await auth.ask(hand(), None)
