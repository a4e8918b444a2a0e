"""Which login a Django session is of: the `sid` of its sockets and tokens.

A session's key changes while the login lasts: with a new password (`cycle_key`), and where the
cookie holds the whole session with each change of it. So whoever logs in gets a random value into
the session, which lives as long as that.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Any, Final

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.utils.crypto import salted_hmac

LOGIN: Final = "_gateway_login"
"""Where it is in the session."""


def login_id(session_key: str, secret: str | None = None) -> str:
    """Return the `sid` of a Django session, for tokens: a hash of the key, which is a secret.

    `secret`: the SECRET_KEY of the project that has the session; None: this one's.
    """
    made = salted_hmac("sockets.login_id", session_key, secret=secret, algorithm="sha256")
    return made.hexdigest()[:32]


def sid_of(session: Any, session_key: str | None, secret: str | None = None) -> str:
    """Return the `sid` of the login that a session holds: a hash of its random value, or of its key
    where the login is from before there was one; "" for a session without a key.

    `session`: has `get`. `secret`: as of `login_id`. The first of them needs none, so that it is
    the same for every project that reads the session, and under every SECRET_KEY.
    """
    made = session.get(LOGIN)
    if isinstance(made, str) and made:
        return blake2b(made.encode(), digest_size=16, person=b"gateway login").hexdigest()
    return login_id(session_key, secret) if session_key else ""


def connect() -> None:
    """Have each login get its value from now on. May be called again."""
    user_logged_in.connect(_logged_in, dispatch_uid=LOGIN)


def disconnect() -> None:
    """The opposite."""
    user_logged_in.disconnect(dispatch_uid=LOGIN)


def _logged_in(sender: Any, *, request: Any = None, **_: Any) -> None:
    """`login` has written into the session and nobody has saved it: it is saved once for both."""
    session = getattr(request, "session", None)
    # Who signs in by a token of another library may have a session too, which nobody saves.
    if session is None or SESSION_KEY not in session:
        return
    if LOGIN not in session:  # the same user, again: sockets of this login are to end with it
        session[LOGIN] = secrets.token_urlsafe(16)
