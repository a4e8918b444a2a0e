"""`issue_token`: what a project gives its pages, and the gateway's own check of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import jwt
import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.cache import SessionStore
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe

from sockets.auth.clients import ClientAuth
from sockets.auth.handshake import parse
from sockets.auth.logins import LOGIN, login_id, sid_of
from sockets.auth.tokens import check_token
from sockets.conf import WrongSettings, get_conf
from sockets.exceptions import InvalidMessage, Unauthorized
from sockets.tokens import issue_token, token_view
from sockets.types import Credentials
from tests.support.doubles import JWT_SECRET, scope_of
from tests.support.gateway import ROOT

Settings = Any


@pytest.fixture(autouse=True)
def settings_(settings: Settings) -> Settings:
    settings.GATEWAY = {"auth": ("jwt",), "jwt_secret": JWT_SECRET}
    return settings


def read(token: str) -> dict[str, Any]:
    """As anybody's library reads it."""
    found: dict[str, Any] = jwt.decode(
        token, JWT_SECRET, algorithms=["HS256"], options={"verify_aud": False}
    )
    return found


async def test_the_gateway_knows_whose_it_is() -> None:
    """Rule 7: by the walk of a socket that opens."""
    auth = ClientAuth(get_conf())
    header = [(b"authorization", f"Bearer {issue_token(42)}".encode())]
    credentials = await auth.authenticate(parse(scope_of(headers=header)))
    assert (credentials.subject, credentials.method) == ("42", "jwt")
    await auth.close()


def test_what_it_says() -> None:
    """Rule 7: sub, iat and exp."""
    before = int(time.time())
    found = read(issue_token("kim", ttl=60))
    assert set(found) == {"sub", "iat", "exp"}
    assert found["sub"] == "kim" and before <= found["iat"] <= time.time()
    assert found["exp"] - found["iat"] == 60
    assert jwt.get_unverified_header(issue_token("kim")) == {"alg": "HS256", "typ": "JWT"}
    found = read(issue_token("kim"))
    assert found["exp"] - found["iat"] == 300


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("kim", "kim"),
        (7, "7"),
        (UUID(int=7), str(UUID(int=7))),
        (User(pk=7), None),
        (SimpleLazyObject(lambda: "kim"), "kim"),
    ],
)
def test_users_are_those_of_the_api(user: Any, subject: str | None) -> None:
    if isinstance(user, User):
        user._state.adding = False
        subject = "7"
    assert check_token(issue_token(user), get_conf()).subject == subject


@pytest.mark.parametrize("user", [None, "", True, b"x", User(), AnonymousUser(), 1.5])
def test_nobody_gets_none(user: Any) -> None:
    with pytest.raises(InvalidMessage, match="a user id is"):
        issue_token(user)


def test_the_configured_audience_and_issuer(settings_: Settings) -> None:
    """Rule 7: the first of each; the gateway takes all of them."""
    settings_.GATEWAY |= {"jwt_audience": ("gw", "b"), "jwt_issuer": ("shop",)}
    settings_.GATEWAY = dict(settings_.GATEWAY)
    token = issue_token(1)
    assert (read(token)["aud"], read(token)["iss"]) == ("gw", "shop")
    assert check_token(token, get_conf()).subject == "1"
    assert check_token(issue_token(1, aud="b"), get_conf()).subject == "1"
    with pytest.raises(Unauthorized, match="audience"):
        check_token(issue_token(1, aud="c"), get_conf())


def test_more_claims() -> None:
    info = {"name": mark_safe("<b>"), "n": [1, "ü"]}
    token = issue_token(1, sid="login-7", jti="t", info=info, meta={"shop": 3}, own=None)
    found = check_token(token, get_conf())
    assert found == Credentials(
        "1",
        "jwt",
        found.expires_at,
        found.issued_at,
        sid="login-7",
        jti="t",
        info={"name": "<b>", "n": [1, "ü"]},
        meta={"shop": 3},
    )
    assert read(token)["own"] is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"sub": "2"}, "sub of a token"),
        ({"exp": 1, "iat": 1}, "iat and exp of a token"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": True}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": "300"}, "ttl"),
        ({"ttl": 1e12}, "ttl"),
        ({"info": "x" * 1_023}, "info has more than"),
        ({"info": float("inf")}, "JSON"),
        ({"meta": object()}, "JSON"),
        ({"sid": "x" * 256}, "sid must be"),
        ({"jti": 7}, "jti must be"),
        ({"meta": "x" * 6_500}, "at most 8192 characters"),
    ],
)
def test_what_the_gateway_would_refuse_is_not_issued(given: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidMessage, match=why):
        issue_token(1, **given)


# --- of a request


def request_of(user: User, **session: Any) -> HttpRequest:
    request = HttpRequest()
    request.user, request.session = user, SessionStore()
    request.session.update({SESSION_KEY: str(user.pk)} | session)
    return request


@pytest.fixture
def kim() -> User:
    kim = User(pk=7)
    kim._state.adding = False
    return kim


def test_a_request_says_whose_and_of_which_login(kim: User, settings_: Settings) -> None:
    """Rule 7: sub, sid, iat, exp, and the configured aud and iss."""
    settings_.GATEWAY = dict(settings_.GATEWAY) | {"jwt_audience": ("gw",), "jwt_issuer": ("shop",)}
    request = request_of(kim, **{LOGIN: "value"})
    found = read(issue_token(request))
    assert set(found) == {"sub", "sid", "iat", "exp", "aud", "iss"}
    sid = sid_of(request.session, None)
    assert (found["sub"], found["sid"], found["exp"] - found["iat"]) == ("7", sid, 300)
    assert check_token(issue_token(request, ttl=60), get_conf()).sid == sid
    assert read(issue_token(request, sid="mine"))["sid"] == "mine"


def test_a_login_from_before_there_was_a_value(kim: User) -> None:
    request = request_of(kim)
    request.session._session_key = "k" * 32
    assert read(issue_token(request))["sid"] == login_id("k" * 32)


def test_a_session_of_another_or_of_none_says_nothing_of_the_login(kim: User) -> None:
    """Who proves it by a token of another library may have a session all the same."""
    other, without, unsaved = (request_of(kim, **{LOGIN: "value"}) for _ in range(3))
    other.session[SESSION_KEY] = "8"
    del without.session
    del unsaved.session[LOGIN]
    for request in (other, without, unsaved):
        assert set(read(issue_token(request))) == {"sub", "iat", "exp"}


def test_a_request_of_another_framework(kim: User) -> None:
    """One of djangorestframework holds Django's, and knows the user better."""
    theirs = SimpleNamespace(_request=HttpRequest(), user=kim, session=None)
    assert read(issue_token(theirs))["sub"] == "7"  # type: ignore[arg-type]


@pytest.mark.parametrize("user", [AnonymousUser(), None, SimpleLazyObject(AnonymousUser)])
def test_a_request_of_nobody_gets_none(user: Any) -> None:
    """Rule 7: with the remedy."""
    request = HttpRequest()
    request.user = user
    with pytest.raises(InvalidMessage, match=r"nobody is signed in .*login_required"):
        issue_token(request)
    with pytest.raises(InvalidMessage, match=r"nobody is signed in .*AuthenticationMiddleware"):
        issue_token(HttpRequest())


def test_the_view(kim: User) -> None:
    """Rule 7: POST, for who is signed in, `no-store`; one line of a URLconf."""
    request = request_of(kim)
    request.method = "GET"
    assert token_view(request).status_code == 405
    request.method = "POST"
    answer = token_view(request)
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    assert "private" in answer["Cache-Control"]
    assert check_token(json.loads(answer.content)["token"], get_conf()).subject == "7"
    request.user = AnonymousUser()
    answer = token_view(request)
    assert answer.status_code == 401 and "no-store" in answer["Cache-Control"]
    assert not getattr(token_view, "csrf_exempt", False)


def test_a_site_that_wants_a_login_everywhere_sends_no_script_to_its_page(kim: User) -> None:
    """LoginRequiredMiddleware answers with a redirect to who may not call a view."""
    request = HttpRequest()
    request.method, request.user = "POST", AnonymousUser()
    middleware = LoginRequiredMiddleware(token_view)
    assert middleware.process_view(request, token_view, (), {}) is None
    assert token_view(request).status_code == 401


@pytest.mark.parametrize(("secret", "fault"), [("", "is not set"), ("short", "fewer than 32")])
def test_without_a_secret_it_names_the_remedy(settings_: Settings, secret: str, fault: str) -> None:
    settings_.GATEWAY = {"auth": ("jwt",), "jwt_secret": secret}
    with pytest.raises(WrongSettings, match=f"JWT_SECRET: .*{fault}.*openssl rand -hex 32"):
        issue_token(1)


def test_it_needs_no_library_of_a_server() -> None:
    """Rule 10."""
    check = "import sockets.tokens, sys; sys.exit('jwt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0
