"""Authentication of browsers: the methods of `AUTH`, asked in order.

A method returns Credentials, None when the handshake does not use it, and raises Unauthorized
when it does and is wrong: a bad token is never given a second chance by a weaker method.
"""

from __future__ import annotations

from collections.abc import Callable

import jwt

from sockets.auth.handshake import Handshake
from sockets.conf import Conf
from sockets.exceptions import Unauthorized
from sockets.ids import is_user_id
from sockets.types import Credentials

LEEWAY = 10
"""Seconds that two clocks may differ."""

MAX_TOKEN = 8_192
"""Characters."""


def authenticate(handshake: Handshake, conf: Conf) -> Credentials:
    """Who this client is. Raises Unauthorized with a reason for people, or BadRequest."""
    claimed = handshake.user_id()
    # Insecure last, whatever the order: else a user_id would spare a bad token its refusal.
    for name in sorted(conf.auth, key=lambda name: name == "insecure"):
        credentials = METHODS[name](handshake, conf)
        if credentials is None:
            continue
        if claimed is not None and claimed != credentials.subject:
            raise Unauthorized("user_id is not the authenticated user; leave it out")
        return credentials
    wanted = "user_id or a token" if "insecure" in conf.auth else "a token"
    raise Unauthorized(f"no credentials: give {wanted}")


def check_token(token: str, conf: Conf) -> Credentials:
    """The Credentials in a JWT. Raises Unauthorized; the reason never quotes the token."""
    if len(token) > MAX_TOKEN:
        raise Unauthorized("token: too long")
    try:
        # The algorithm is ours to choose, never the token's: HS256 and nothing else.
        claims = jwt.decode(
            token,
            conf.jwt_secret,
            algorithms=["HS256"],
            leeway=LEEWAY,
            options={"require": ["sub"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError:
        raise Unauthorized("token: expired") from None
    except jwt.ImmatureSignatureError:
        raise Unauthorized("token: not valid yet") from None
    except jwt.MissingRequiredClaimError as error:
        raise Unauthorized(f"token: claim {error.claim!r} is missing") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unauthorized("token: not valid") from None
    subject = claims["sub"]
    if not is_user_id(subject):
        raise Unauthorized("token: sub must be 1 to 1,024 bytes of UTF-8")
    try:
        expires_at = None if "exp" not in claims else float(claims["exp"]) + LEEWAY
    except OverflowError:
        raise Unauthorized("token: exp is out of range") from None
    return Credentials(subject, "jwt", expires_at)


def _jwt(handshake: Handshake, conf: Conf) -> Credentials | None:
    token = handshake.token(allow_query=conf.query_token)
    return None if token is None else check_token(token, conf)


def _insecure(handshake: Handshake, conf: Conf) -> Credentials | None:
    """Development: whoever says so is that user."""
    user = handshake.user_id()
    return None if user is None else Credentials(user, "insecure")


METHODS: dict[str, Callable[[Handshake, Conf], Credentials | None]] = {
    "jwt": _jwt,
    "insecure": _insecure,
}
