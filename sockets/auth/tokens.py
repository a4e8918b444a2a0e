"""JSON Web Tokens: which keys may have signed one, and what it must say (RFC 7519, RFC 8725).

The algorithm is never the token's choice: a key knows the algorithms that it is for, and a token
is tried only with keys of its algorithm. So a public key is never taken for a shared secret.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import HMACAlgorithm

from sockets.auth.claims import MAX_TOKEN, check_info, check_meta, proof_id_in
from sockets.base.ids import user_id_of
from sockets.conf import Conf, Fault
from sockets.exceptions import TryAgainLater, Unauthorized
from sockets.types import Credentials

logger = logging.getLogger(__name__)

REMEMBERED: Final = 64
"""Secrets of which is known that they are none of another kind's keys."""

FAR: Final = 30 * 86_400.0
"""Seconds until a token's end above which the log warns: as long as a revocation is kept."""

_ENDLESS: Final = (
    "a token without exp was refused: have the issuer say when its tokens end; "
    "JWT_REQUIRE_EXP=false takes tokens that never end"
)
_LONG: Final = (
    "a token ends more than 30 days from now, and revocations are kept for 30 days: have the "
    "issuer make tokens that end sooner"
)

_RSA_BITS: Final = 2_048
# RFC 7518 section 3.2: a key at least as long as the hash.
_HMAC: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_HASHES: Final = {
    "HS256": HMACAlgorithm.SHA256,
    "HS384": HMACAlgorithm.SHA384,
    "HS512": HMACAlgorithm.SHA512,
}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key that may have signed a token. `id`: its `kid`, "" for any."""

    id: str
    algorithms: tuple[str, ...]
    key: Any = field(repr=False)


class KeySet(Protocol):
    """Keys that an issuer publishes."""

    async def keys(self, id: str, address: str = "") -> tuple[tuple[TokenKey, ...], bool]:
        """Those that are known, and whether one called `id` would be among them if there is one.
        Raises TryAgainLater: none are known.

        `address`: whose token asks, as `neighbourhood` has it; "" is not known.
        """


def secret_key(secret: str, id: str = "") -> TokenKey:
    """Return the key for a shared secret, for the longer hashes only if it is as long. Raises
    ValueError."""
    size = len(secret.encode())
    algorithms = tuple(name for name, least in _HMAC.items() if size >= least)
    if not algorithms:
        raise ValueError("a secret has at least 32 bytes")
    return TokenKey(id, algorithms, secret)


def public_key(pem: str, id: str = "") -> TokenKey:
    """Read a public key in PEM. Raises ValueError, which says what is wrong with it."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is not a public key in PEM") from None
    return token_key(key, id)


def token_key(key: Any, id: str = "") -> TokenKey:
    """Return the key for a public key of `cryptography`. Raises ValueError, which says what is
    wrong with it."""
    match key:
        case rsa.RSAPublicKey():
            if key.key_size < _RSA_BITS:
                raise ValueError(f"an RSA key has at least {_RSA_BITS} bits")
            return TokenKey(id, _RSA, key)
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return TokenKey(id, (_CURVES[key.curve.name],), key)
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return TokenKey(id, ("EdDSA",), key)
    raise ValueError("keys are RSA, P-256, P-384, P-521, Ed25519 or Ed448")


def unusable_keys(conf: Conf) -> Iterator[Fault]:
    """Yield what is wrong with the public keys of the settings, a fault for each such key.

    Only who has cryptography installed can read them, so this is asked where a node starts.
    """
    for label, pem in conf.jwt_public_keys:
        try:
            public_key(pem)
        except ValueError as error:
            whose = f"the one of {label!r}: " if label else ""
            text = f"JWT_PUBLIC_KEYS: {whose}{error}; name a file with a PUBLIC KEY"
            yield Fault(("JWT_PUBLIC_KEYS",), text)


@lru_cache(maxsize=4)
def _keys(
    secret: str, secrets: tuple[tuple[str, str], ...], public: tuple[tuple[str, str], ...]
) -> tuple[TokenKey, ...]:
    found = [secret_key(secret)] if secret else []
    found += [secret_key(one, id) for id, one in secrets]
    found += [public_key(pem, id) for id, pem in public]
    return tuple(found)


def keys_of(conf: Conf) -> tuple[TokenKey, ...]:
    """Return all keys of the settings. Raises ValueError."""
    return _keys(conf.jwt_secret, conf.jwt_secrets, conf.jwt_public_keys)


class MissingClaim(Unauthorized):
    """A well-signed token lacks something that it must have. `claim`: its name."""

    def __init__(self, claim: str) -> None:
        super().__init__(f"token: claim {claim!r} is missing")
        self.claim = claim


class Tokens:
    """The keys of the settings, and those that the issuer publishes. Belongs to one event loop."""

    def __init__(self, conf: Conf, published: KeySet | None = None) -> None:
        self._conf = conf
        self._published = published
        self._warned: set[str] = set()

    async def check(self, token: str, address: str = "") -> Credentials:
        """As check_token. Raises TryAgainLater too: the issuer's keys are not known yet.

        `address`: who shows it, as `neighbourhood` has it.
        """
        try:
            credentials = await self._checked(token, address)
        except MissingClaim as error:
            if error.claim == "exp":
                self._warn_once(_ENDLESS)
            raise
        if credentials.expires_at is not None and credentials.expires_at > time.time() + FAR:
            self._warn_once(_LONG)
        return credentials

    async def _checked(self, token: str, address: str) -> Credentials:
        keys = keys_of(self._conf)
        if self._published is None or len(token) > MAX_TOKEN:
            return check_token(token, self._conf, keys)
        id = _key_id(token)
        own = any(key.id == id for key in keys)
        published, is_certain = await self._published.keys("" if own else id, address)
        try:
            return check_token(token, self._conf, keys + published)
        except MissingClaim:
            raise
        except Unauthorized:
            if is_certain:
                raise
            raise TryAgainLater("the key of this token is not known yet; try again") from None

    def _warn_once(self, text: str) -> None:
        """Warn once. Only for tokens that are well signed: a stranger cannot bring it about."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning(text)


def check_token(token: str, conf: Conf, keys: tuple[TokenKey, ...] | None = None) -> Credentials:
    """Return the Credentials in a JWT. Raises Unauthorized; the reason never quotes the token.

    `keys`: those that may have signed it; None: those of the settings.
    """
    if len(token) > MAX_TOKEN:
        raise Unauthorized("token: too long")
    claims = _claims(token, conf, keys_of(conf) if keys is None else keys)
    subject = user_id_of(claims["sub"])
    if subject is None:
        raise Unauthorized("token: sub must be 1 to 1,024 bytes of UTF-8, or an integer")
    try:
        expires_at = None if "exp" not in claims else float(claims["exp"]) + conf.jwt_leeway
        issued_at = None if "iat" not in claims else float(claims["iat"])
    except OverflowError:
        raise Unauthorized("token: exp or iat is out of range") from None
    return Credentials(
        subject,
        "jwt",
        expires_at,
        issued_at,
        sid=proof_id_in(claims, "sid"),
        jti=proof_id_in(claims, "jti"),
        info=check_info(claims.get("info"), "token"),
        meta=check_meta(claims.get("meta")),
    )


def _key_id(token: str) -> str:
    """Return the `kid`, unverified; "" if there is none that can be read."""
    try:
        found = jwt.get_unverified_header(token).get("kid", "")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def _claims(token: str, conf: Conf, keys: tuple[TokenKey, ...]) -> Mapping[str, Any]:
    try:
        for key in _candidates(token, keys):
            try:
                return _decoded(token, key, conf)
            except jwt.InvalidSignatureError:
                continue  # another one's: rotation has two keys of one kind for a while
    # Its signature is valid in each of these cases: PyJWT looks at it first.
    except jwt.ExpiredSignatureError:
        raise _of(token, Unauthorized("token: expired")) from None
    except jwt.ImmatureSignatureError:
        raise _of(token, Unauthorized("token: not valid yet")) from None
    except jwt.MissingRequiredClaimError as error:
        raise _of(token, MissingClaim(error.claim)) from None
    except jwt.InvalidAudienceError:
        text = "token: for another audience (JWT_AUDIENCE)"
        raise _of(token, Unauthorized(text)) from None
    except jwt.InvalidIssuerError:
        raise _of(token, Unauthorized("token: of another issuer (JWT_ISSUER)")) from None
    except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
        pass
    raise Unauthorized("token: not valid")


def _of(token: str, refused: Unauthorized) -> Unauthorized:
    """Return the error with the user whom a well-signed token names."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return refused
    refused.user = user_id_of(claims.get("sub")) or ""
    return refused


def _candidates(token: str, keys: tuple[TokenKey, ...]) -> list[TokenKey]:
    """Return the keys of the token's algorithm; if some of them have its `kid`, only those."""
    if len(keys) == 1 and not keys[0].id:
        return list(keys)  # whoever checks the signature refuses another algorithm
    header = jwt.get_unverified_header(token)
    algorithm, id = header.get("alg"), header.get("kid", "")
    fitting = [key for key in keys if algorithm in key.algorithms]
    named = [key for key in fitting if id and key.id == id]
    return named or [key for key in fitting if not id or not key.id]


class _Secret(HMACAlgorithm):
    """HMAC with secrets that were looked at before: PyJWT tries for each token whether a secret is
    a public key, which takes longer than all the rest."""

    def __init__(self, hash: Any) -> None:
        super().__init__(hash)
        self.prepare_key = lru_cache(REMEMBERED)(super().prepare_key)  # type: ignore[method-assign]


def _reader() -> jwt.PyJWT:
    """Return a reader of tokens with algorithms of its own: those of the module are the project's
    too."""
    reader = jwt.PyJWT()
    for name, hash in _HASHES.items():
        reader._jws.unregister_algorithm(name)
        reader._jws.register_algorithm(name, _Secret(hash))
    return reader


_tokens = _reader()


def _decoded(token: str, key: TokenKey, conf: Conf) -> Mapping[str, Any]:
    required = [
        "sub",
        *(["exp"] if conf.jwt_require_exp else []),
        *(["aud"] if conf.jwt_audience else []),
        *(["iss"] if conf.jwt_issuer else []),
    ]
    found: Mapping[str, Any] = _tokens.decode(
        token,
        key.key,
        algorithms=list(key.algorithms),
        leeway=conf.jwt_leeway,
        audience=list(conf.jwt_audience) or None,
        issuer=list(conf.jwt_issuer) or None,
        options={
            "require": required,
            "verify_sub": False,  # RFC 7519 wants a string; check_token takes an integer too
            "verify_aud": bool(conf.jwt_audience),
            "verify_iss": bool(conf.jwt_issuer),
        },
    )
    return found
