"""The visitor's way into the gateway: a token of five minutes, good for one user's socket.

This is all that a platform's API server has to do: it knows who is asking, and signs that.
"""

from __future__ import annotations

import time

import jwt

from sockets.conf import get_conf

LIFETIME = 300.0
"""Seconds. The gateway closes the socket when they are over, and the page comes with a new one."""


def token_for(visitor: str, now: float | None = None) -> str:
    """A JWT whose `sub` is the visitor. `now`: epoch seconds."""
    now = time.time() if now is None else now
    conf = get_conf()
    claims: dict[str, str | int] = {
        "sub": visitor,
        "iat": int(now),
        "exp": int(now + LIFETIME),
    }
    if conf.jwt_audience:
        claims["aud"] = conf.jwt_audience[0]
    if conf.jwt_issuer:
        claims["iss"] = conf.jwt_issuer[0]
    return jwt.encode(claims, conf.jwt_secret, algorithm="HS256")
