"""What production refuses: settings that must not face the world, and secrets that are weak."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sockets.conf import Fault
from sockets.types import Surface
from sockets.variables.faults import Wrong
from sockets.variables.reader import Variables

_AT_LEAST = 32  # bytes
_DIFFERENT = 8  # characters; 32 random hexadecimal digits have more
_PLACEHOLDER = re.compile(
    r"(?i)change.?me|replace.?me|insecure|passw|your.?(secret|key)|example|a-long-random"
)
_REMEDY = "make one: openssl rand -hex 32"
_SINGLE = ("JWT_SECRET", "WEBHOOK_SECRET")
_LISTS = ("JWT_SECRETS", "WORKER_KEYS", "API_KEYS")


def unsafe(gateway: Mapping[str, Any]) -> Iterator[Wrong]:
    """Yield what is wrong with settings of the gateway that must not face the world."""
    if gateway["jwt_jwks_url"].startswith("http:"):
        yield Wrong("JWT_JWKS_URL", "keys that came without TLS are anybody's", "use https")
    if "insecure" in gateway["auth"]:
        yield Wrong("AUTH", "insecure lets everybody be anybody", "use AUTH=jwt in production")
    if "*" in gateway["client_origins"]:
        yield Wrong("CLIENT_ORIGIN", "* lets every page connect", "list the pages' origins")
    if gateway["surface"] is Surface.BOTH:
        yield Wrong("SURFACE", "both shows the admin to the world", "choose public or private")
    if gateway["demo"]:
        yield Wrong("DEMO", "the demo hands out identities", "unset it in production")


def weak(variables: Variables, also: Collection[str] = ()) -> Iterator[Wrong | Fault]:
    """Yield what is wrong with secrets that are short, guessable, or have two uses.

    `also`: variables of the project's own that hold a secret. Keys are looked at as they were
    given: what is kept of them is a hash.
    """
    used: dict[str, str] = {}
    for name, whose, secret in _given(variables, also):
        use = name.removesuffix("S")  # JWT_SECRET and JWT_SECRETS are one
        other = used.setdefault(secret, use)
        if (size := len(secret.encode())) < _AT_LEAST:
            yield Wrong(name, f"{whose} has {size} of the {_AT_LEAST} bytes it needs", _REMEDY)
        elif len(set(secret)) < _DIFFERENT or _PLACEHOLDER.search(secret):
            yield _certain(Wrong(name, f"{whose} can be guessed", _REMEDY))
        elif other != use:
            both = f"{whose} is that of {other}: who has one has both"
            yield _certain(Wrong(name, both, _REMEDY))


def _certain(wrong: Wrong) -> Fault:
    """Return a fault that is noted whatever else is wrong with the variable: no reader looks for
    this."""
    return replace(wrong.faults[0], names=())


def _given(variables: Variables, also: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (variable, whose secret it is, the secret) of all that are set."""
    for name in (*also, *_SINGLE):
        if secret := variables.given(name):
            yield name, "it", secret
    for name in _LISTS:
        for item in (variables.given(name) or "").split(","):
            label, colon, secret = (part.strip() for part in item.partition(":"))
            if colon:
                yield name, f"the secret of {label!r}", secret
