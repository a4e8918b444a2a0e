"""What production refuses: settings that must not face the world, and secrets that are weak."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

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
_KEYS = ("WORKER_KEYS", "API_KEYS")
_LISTS = ("JWT_SECRETS", *_KEYS)


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


def note_weak(variables: Variables, also: Collection[str] = ()) -> None:
    """Note what is wrong with secrets that are short, guessable, or have two uses.

    `also`: variables of the project's own that hold a secret. Keys are looked at as they were
    given: what is kept of them is a hash.
    """
    used: dict[str, str] = {}
    for name, whose, secret in _given(variables, also):
        use = name.removesuffix("S")  # JWT_SECRET and JWT_SECRETS are one
        other = used.setdefault(secret, use)
        if (size := len(secret.encode())) < _AT_LEAST:
            short = f"{whose} has {size} of the {_AT_LEAST} bytes it needs"
            # Of the others their readers have said so.
            variables.note(Wrong(name, short, _REMEDY), certain=name in _KEYS)
        elif len(set(secret)) < _DIFFERENT or _PLACEHOLDER.search(secret):
            variables.note(Wrong(name, f"{whose} can be guessed", _REMEDY), certain=True)
        elif other != use:
            both = f"{whose} is that of {other}: who has one has both"
            variables.note(Wrong(name, both, _REMEDY), certain=True)


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
