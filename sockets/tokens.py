"""Tokens for the socket of a page, made by the project whose users they are for.

    token = issue_token(request)                    # of whoever is signed in, and of this login
    path("gateway-token/", token_view)              # in a URLconf: POST gives {"token": ...}

A JWT (RFC 7519), signed with JWT_SECRET by HS256: the gateway takes it as it takes any token of an
issuer's (docs/authentication.md). Needs nothing but the plain installation.
"""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from typing import Any, Final, TypeAlias

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.utils.functional import LazyObject
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from sockets.api.data import as_data, unwrapped
from sockets.api.users import UserId, as_user
from sockets.auth.claims import MAX_TOKEN, check_info, proof_id_in
from sockets.auth.logins import sid_of
from sockets.conf import Conf, Fault, WrongSettings, get_conf
from sockets.exceptions import InvalidMessage, Unauthorized
from sockets.protocol.codec import from_json

__all__ = ["issue_token", "token_view"]

Whose: TypeAlias = UserId | HttpRequest
"""A user, or a request of theirs; one of djangorestframework too."""

_OURS: Final = ("sub", "iat", "exp")
_AT_LEAST: Final = 32  # bytes of the secret; RFC 7518 section 3.2


def issue_token(user: Whose, /, ttl: float = 300, **claims: Any) -> str:
    """Return a token that proves to the gateway who this is, for `ttl` seconds from now.

    `user`: as in `sockets.api`; or a request: then it is who is signed in there, and the `sid` is
    that of the login, so that a logout closes what the token opens. `claims`: `sid`, `jti`, `info`,
    `meta`, and what else the token shall say; `aud` and `iss` are the first of JWT_AUDIENCE and
    JWT_ISSUER unless given. Whoever has the token is that user until it ends: keep it short, the
    page asks for a new one.

    Raises InvalidMessage for what the gateway would refuse, and for a request of nobody;
    WrongSettings without JWT_SECRET.
    """
    conf = get_conf()
    secret = _secret(conf)
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 1 <= ttl < 2**31:
        raise InvalidMessage("ttl is how many seconds the token counts: 1 or more")
    if taken := [name for name in _OURS if name in claims]:
        raise InvalidMessage(f"{' and '.join(taken)} of a token are not given: user and ttl say so")
    now = int(time.time())  # whole seconds, as revocations take the date of a token
    body = {
        **_whose(user),
        "iat": now,
        "exp": now + int(ttl),
        **({"aud": conf.jwt_audience[0]} if conf.jwt_audience else {}),
        **({"iss": conf.jwt_issuer[0]} if conf.jwt_issuer else {}),
    }
    written = bytes(as_data(body | claims))
    _require_acceptable(from_json(written))
    token = _signed(written, secret)
    if len(token) > MAX_TOKEN:
        raise InvalidMessage(f"a token has at most {MAX_TOKEN} characters: give it fewer claims")
    return token


@login_not_required  # by a middleware, which would send a script to a page of the site
@never_cache
@require_POST
def token_view(request: HttpRequest) -> JsonResponse:
    """Answer `{"token": ...}` to who is signed in, and 401 to nobody; not to be stored anywhere.

    By POST alone, so that no other page can embed it; Django's CSRF protection applies.
    """
    if not request.user.is_authenticated:
        return JsonResponse({"error": "nobody is signed in"}, status=401)
    return JsonResponse({"token": issue_token(request)})


def _whose(user: Whose) -> dict[str, str]:
    """Return the claims that say who it is; all else of a token is the same for everybody."""
    return _of_request(user) if _is_request(user) else {"sub": as_user(user)}


def _is_request(given: Any) -> bool:
    if issubclass(type(given), LazyObject):
        return False
    return isinstance(given, HttpRequest) or isinstance(
        getattr(given, "_request", None), HttpRequest
    )


def _of_request(request: Any) -> dict[str, str]:
    user = unwrapped(getattr(request, "user", None))
    if not getattr(user, "is_authenticated", False):
        raise InvalidMessage(
            "nobody is signed in with this request: put @login_required before the view, and "
            "Django's SessionMiddleware and AuthenticationMiddleware before all of them"
        )
    claims = {"sub": as_user(user)}
    session = getattr(request, "session", None)
    # Who proved it by something else may have a session too, of nobody or somebody else.
    if session is None or session.get(SESSION_KEY) != user._meta.pk.value_to_string(user):
        return claims
    sid = sid_of(session, session.session_key)
    return claims | {"sid": sid} if sid else claims


def _secret(conf: Conf) -> bytes:
    secret = conf.jwt_secret.encode()
    if len(secret) < _AT_LEAST:
        fault = f"has fewer than {_AT_LEAST} bytes" if secret else "is not set"
        text = (
            f"JWT_SECRET: issue_token signs with it, and it {fault}; set it, or "
            "GATEWAY['jwt_secret'], here and at the gateway, to: openssl rand -hex 32"
        )
        raise WrongSettings(Fault(("JWT_SECRET",), text))
    return secret


def _require_acceptable(claims: dict[str, Any]) -> None:
    """Refuse what the gateway would refuse, to whoever can mend it."""
    try:
        check_info(claims.get("info"), "token")
        proof_id_in(claims, "sid")
        proof_id_in(claims, "jti")
    except Unauthorized as error:
        raise InvalidMessage(str(error)) from None


def _signed(body: bytes, secret: bytes) -> str:
    signed = _base64(b'{"alg":"HS256","typ":"JWT"}') + b"." + _base64(body)
    return (signed + b"." + _base64(hmac.digest(secret, signed, "sha256"))).decode()


def _base64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
