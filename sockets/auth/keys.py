"""Authentication of workers and backends: a shared key, of which only the hash is kept."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from sockets.auth.handshake import Handshake
from sockets.conf import Conf
from sockets.exceptions import Forbidden, Unauthorized
from sockets.types import Credentials


def authenticate_worker(handshake: Handshake, conf: Conf) -> Credentials:
    """Which worker key this is. Raises Unauthorized or Forbidden.

    A worker is a program: a request with an Origin comes from a browser and is refused, so that
    no page can use what a browser happens to know (ARCHITECTURE rule 11). Never a key in a query.
    """
    if "origin" in handshake.headers:
        raise Forbidden("the worker socket is not for browsers")
    if not conf.worker_keys:
        raise Unauthorized("no worker key is configured: set WORKER_KEYS")
    token = handshake.token(allow_query=False)
    if token is None:
        raise Unauthorized("no key: send Authorization: Bearer <worker key>")
    name = find_key(token, conf.worker_keys)
    if name is None:
        raise Unauthorized("this worker key is not known")
    return Credentials(name, "key")


def find_key(secret: str, hashes: Mapping[str, str]) -> str | None:
    """The name of the key with this secret. Every key is compared, in constant time."""
    given = sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
    found = None
    for name, known in hashes.items():
        if hmac.compare_digest(given, known):
            found = name
    return found
