"""Why a node must not start: what it lacks, and what of its settings must not face the world.

Judged on the finished settings, whether they were read from the environment or written by hand: by
`manage.py check`, and when a node starts. A process that only notifies needs none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from django.utils.module_loading import import_string

from sockets.conf import Conf, Fault
from sockets.types import Surface

AT_LEAST: Final = 32
"""Bytes of a secret; of those for tokens RFC 7518 section 3.2 says so."""

_DIFFERENT: Final = 8  # characters; 32 random hexadecimal digits have more
_PLACEHOLDER: Final = re.compile(
    r"(?i)change.?me|replace.?me|insecure|passw|your.?(secret|key)|example|a-long-random"
)
_KEYS: Final = ("JWT_SECRETS", "JWT_PUBLIC_KEYS", "JWT_JWKS_URL")
_MAKE_ONE: Final = "make one: openssl rand -hex 32"


class Secret(NamedTuple):
    """A secret that is judged. `whose`: "it", or "the secret of 'label'" in a list."""

    name: str
    whose: str
    text: str

    @property
    def key(self) -> Key:
        """Return what is kept of a key."""
        return Key(self.name, self.whose, sha256(self.text.encode()).hexdigest())


class Key(NamedTuple):
    """A secret of which nothing is known but its SHA-256, in hex."""

    name: str
    whose: str
    digest: str


def refusals(conf: Conf, secret_key: str = "") -> Iterator[Fault]:
    """Yield why a node must not start with these settings. `secret_key`: of the project."""
    yield from dict.fromkeys((*lacking(conf), *unsafe(conf, secret_key)))


def lacking(conf: Conf) -> Iterator[Fault]:
    """Yield what a node needs and has not. A process that holds no sockets works without."""
    if not conf.auth:
        if conf.environment == "production":
            fault, remedy = (
                "production has no default for it, and without DEBUG it is production",
                "set JWT_SECRET, or AUTH to session or proxy",
            )
        else:
            fault = "it is not set, and nobody could come in"
            remedy = "set JWT_SECRET, or AUTH to session, proxy or, for development, insecure"
        yield _fault("AUTH", fault, remedy)
    if "jwt" in conf.auth:
        if not any((conf.jwt_secret, conf.jwt_secrets, conf.jwt_public_keys, conf.jwt_jwks_url)):
            fault = "AUTH has jwt, and there is no secret"
            yield _fault("JWT_SECRET", fault, f"set it (>= {AT_LEAST} bytes)", *_KEYS)
        yield from short(_of_tokens(conf))
    if "proxy" in conf.auth and not conf.api_server_url:
        text = "proxy asks the API server, and API_SERVER_URL is not set"
        yield _fault("AUTH", text, "set it", "API_SERVER_URL")
    if conf.webhooks and not conf.api_server_url:
        text = "WEBHOOKS go there, and it is not set"
        yield _fault("API_SERVER_URL", text, "set it", "WEBHOOKS")
    if conf.webhooks and not conf.webhook_secret:
        text = "WEBHOOKS are signed with it, and it is not set"
        remedy = "set it, and at the API server as well, to: openssl rand -hex 32"
        yield _fault("WEBHOOK_SECRET", text, remedy, "WEBHOOKS")
    if conf.demo and not (conf.jwt_secret and "jwt" in conf.auth):
        remedy = "set JWT_SECRET (scripts/run does)"
        yield _fault("DEMO", "its page connects with tokens", remedy, "AUTH")


def unsafe(conf: Conf, secret_key: str = "") -> Iterator[Fault]:
    """Yield what must not face the world. `secret_key`: of the project; how good it is, Django's
    own checks say, and here that it has no second use."""
    yield from exposed(conf)
    if conf.environment != "production":
        return
    secrets = [*_of_tokens(conf), *_some("WEBHOOK_SECRET", conf.webhook_secret)]
    keys = [*_keys("WORKER_KEYS", conf.worker_keys), *_keys("API_KEYS", conf.api_keys)]
    yield from (Fault((text.partition(":")[0],), text) for text in conf.weak_keys)
    own = _some("SECRET_KEY", secret_key)
    yield from (one for one in weak([*own, *secrets], keys) if one.names != ("SECRET_KEY",))


def exposed(conf: Conf) -> Iterator[Fault]:
    """Yield the settings, secrets aside, that must not face the world."""
    if "*" in conf.api_origins:
        yield _fault("API_ORIGIN", "* would let every page read answers", "list the pages' origins")
    if conf.environment != "production":
        return
    if conf.jwt_jwks_url and not conf.jwt_jwks_url.lower().startswith("https://"):
        yield _fault("JWT_JWKS_URL", "keys that came without TLS are anybody's", "use https")
    if "insecure" in conf.auth:
        yield _fault(
            "AUTH", "insecure lets everybody be anybody", "use jwt, session or proxy in production"
        )
    if "*" in conf.client_origins:
        yield _fault("CLIENT_ORIGIN", "* lets every page connect", "list the pages' origins")
    if conf.surface is Surface.BOTH:
        yield _fault("SURFACE", "both shows the admin to the world", "choose public or private")
    if conf.demo:
        yield _fault("DEMO", "the demo hands out identities", "unset it in production")


def unusable_keys(conf: Conf) -> Iterator[Fault]:
    """Yield what is wrong with public keys, where what reads them is installed: a plain
    installation holds no sockets, and need not."""
    if "jwt" not in conf.auth or not conf.jwt_public_keys:
        return
    try:
        judged = import_string("sockets.auth.tokens.unusable_keys")
    except ImportError:
        return
    yield from judged(conf)


def short(secrets: Iterable[Secret]) -> Iterator[Fault]:
    """Yield what is wrong with those that have too few bytes."""
    for one in secrets:
        if (size := len(one.text.encode())) < AT_LEAST:
            fault = f"{one.whose} has {size} of the {AT_LEAST} bytes it needs"
            yield _fault(one.name, fault, _MAKE_ONE)


def weak(secrets: Iterable[Secret], keys: Iterable[Key] = ()) -> Iterator[Fault]:
    """Yield what is wrong with secrets that are short, guessable, or have two uses; of `keys`, of
    which there are hashes, the last alone."""
    used: dict[str, str] = {}
    for one in secrets:
        faults = [*short([one]), *_guessable(one), *_shared(one.key, used)]
        yield from faults[:1]
    for key in keys:
        yield from _shared(key, used)


def _guessable(one: Secret) -> Iterator[Fault]:
    if len(set(one.text)) < _DIFFERENT or _PLACEHOLDER.search(one.text):
        yield _fault(one.name, f"{one.whose} can be guessed", _MAKE_ONE)


def _shared(one: Key, used: dict[str, str]) -> Iterator[Fault]:
    use = one.name.removesuffix("S")  # JWT_SECRET and JWT_SECRETS are one
    if (other := used.setdefault(one.digest, use)) != use:
        text = f"{one.whose} is that of {other}: who has one has both"
        yield _fault(one.name, text, _MAKE_ONE)


def _of_tokens(conf: Conf) -> Iterator[Secret]:
    yield from _some("JWT_SECRET", conf.jwt_secret)
    for label, secret in conf.jwt_secrets:
        yield Secret("JWT_SECRETS", whose(label), secret)


def _some(name: str, text: str) -> Iterator[Secret]:
    if text:
        yield Secret(name, "it", text)


def _keys(name: str, given: dict[str, str]) -> Iterator[Key]:
    for label, digest in given.items():
        yield Key(name, whose(label), digest)


def whose(label: str) -> str:
    """Return how a secret of a list is called."""
    return f"the secret of {label!r}"


def _fault(name: str, fault: str, remedy: str, *also: str) -> Fault:
    return Fault((name, *also), f"{name}: {fault}; {remedy}")
