"""Authentication of browsers: the methods of `AUTH`, asked in order.

A method returns Credentials, None when the handshake does not use it, and raises Unauthorized
when it does and is wrong: a bad token is never given a second chance by a weaker method.
"""

from __future__ import annotations

from collections.abc import Callable

from sockets.auth.handshake import Handshake
from sockets.auth.tokens import check_token
from sockets.conf import Conf
from sockets.exceptions import Unauthorized
from sockets.types import Credentials


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
