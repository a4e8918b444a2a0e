"""Keys of workers and backends: shared secrets, of which only the hash is kept.

Those of the environment (WORKER_KEYS, API_KEYS) last as long as the process. Those of the database
are made by `manage.py create_key` or in the admin, and end while the gateway runs; their secret is
`gw_<id>_<43 characters>`, a form that scanners of repositories find.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final

from sockets.auth.scopes import ALL, WORKERS
from sockets.conf import Conf

_FORM: Final = re.compile(r"gw_([a-z2-7]{8})_[A-Za-z0-9_-]{43}")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"


class Use(StrEnum):
    """Where a key is used."""

    WORKER = "worker"
    API = "api"


@dataclass(frozen=True, slots=True)
class Key:
    """`id` "": of the environment. `hash`: SHA-256 of the secret in hex. `expires_at`: seconds
    since the epoch, None: never."""

    name: str
    scopes: frozenset[str]
    id: str = ""
    hash: str = field(default="", repr=False)
    expires_at: float | None = None


def make_secret() -> tuple[str, str]:
    """Return a new key's id and its secret."""
    id = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return id, f"gw_{id}_{secrets.token_urlsafe(32)}"


def id_in(secret: str) -> str | None:
    """Return which key of the database a secret claims to be; None: it does not have that form."""
    found = _FORM.fullmatch(secret)
    return found and found[1]


def hash_of(secret: str) -> str:
    """Return what is kept of a secret. It is 256 random bits, so that nothing slower protects it
    more."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def environment_key(secret: str, use: Use, conf: Conf) -> Key | None:
    """Return the key of the settings with this secret."""
    if use is Use.WORKER:
        hashes, scopes = conf.worker_keys, WORKERS
    else:
        hashes, scopes = conf.api_keys, ALL
    name = _find(secret, hashes)
    return None if name is None else Key(name, scopes)


def _find(secret: str, hashes: Mapping[str, str]) -> str | None:
    """Return the name of the key with this secret. Every key is compared, in constant time."""
    given = hash_of(secret)
    found = None
    for name, known in hashes.items():
        if hmac.compare_digest(given, known):
            found = name
    return found
