"""Keys of tokens: which may have signed one, and that none is taken for another."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from jwt.algorithms import HMACAlgorithm

from sockets.auth.tokens import FAR, Tokens, check_token, keys_of, public_key, secret_key
from sockets.conf import Conf
from sockets.exceptions import Unauthorized

SECRET = "s" * 64
OLD = "o" * 32
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
PRIVATE: dict[str, Any] = {
    "RS256": RSA,
    "RS512": RSA,
    "PS384": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}

ENDS = int(time.time()) + 3_600


def pem(private: Any) -> str:
    text: bytes = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return text.decode()


def signed(key: Any, algorithm: str, *, kid: str | None = None, **claims: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(
        {"sub": "42", "exp": ENDS} | claims, key, algorithm=algorithm, headers=headers
    )


def refused(token: str, conf: Conf, reason: str = "not valid") -> None:
    with pytest.raises(Unauthorized, match=f"token: {reason}"):
        check_token(token, conf)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_an_issuer_with_keys_of_its_own(algorithm: str) -> None:
    conf = Conf(jwt_public_keys=(("", pem(PRIVATE[algorithm])),))
    token = signed(PRIVATE[algorithm], algorithm)
    assert check_token(token, conf).subject == "42"
    refused(f"{token[:-8]}AAAAAAAA", conf)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_another_ones_key_of_the_same_kind(algorithm: str) -> None:
    other = {
        "RS": rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
        "PS": rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "ES512": ec.generate_private_key(ec.SECP521R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    key = other.get(algorithm) or other[algorithm[:2]]
    conf = Conf(jwt_public_keys=(("", pem(PRIVATE[algorithm])),))
    refused(signed(key, algorithm), conf)


def test_a_public_key_is_never_a_secret() -> None:
    """The classic swap: HS256 with the public key's text, which everybody knows."""
    text = pem(RSA)
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256"}, {"sub": "42"})
    ]
    mac = hmac.new(text.encode(), b".".join(parts), hashlib.sha256).digest()
    token = b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
    refused(token, Conf(jwt_public_keys=(("", text),)))
    refused(token, Conf(jwt_public_keys=(("", text),), jwt_secret=SECRET))


def test_an_unsigned_token_has_no_key() -> None:
    token = jwt.encode({"sub": "42"}, "", algorithm="none")
    refused(token, Conf(jwt_public_keys=(("", pem(RSA)),), jwt_secret=SECRET))


def test_without_keys_nothing_is_valid() -> None:
    refused(signed(SECRET, "HS256"), Conf())


@pytest.mark.filterwarnings("ignore:The HMAC key is:jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(("size", "algorithms"), [(32, 1), (47, 1), (48, 2), (63, 2), (64, 3)])
def test_a_hash_needs_a_secret_of_its_length(size: int, algorithms: int) -> None:
    names = ["HS256", "HS384", "HS512"]
    assert list(secret_key("x" * size).algorithms) == names[:algorithms]
    conf = Conf(jwt_secret="x" * size)
    for number, name in enumerate(names):
        token = signed("x" * size, name)
        if number < algorithms:
            assert check_token(token, conf).subject == "42"
        else:
            refused(token, conf)


def test_a_short_secret_is_none() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        secret_key("x" * 31)


# --- rotation


def test_old_and_new_secrets_by_kid() -> None:
    conf = Conf(jwt_secrets=(("2025", OLD), ("2026", SECRET)))
    assert check_token(signed(OLD, "HS256", kid="2025"), conf).subject == "42"
    assert check_token(signed(SECRET, "HS256", kid="2026"), conf).subject == "42"
    refused(signed(OLD, "HS256", kid="2026"), conf)
    refused(signed(OLD, "HS256", kid="2024"), conf)
    assert check_token(signed(OLD, "HS256"), conf).subject == "42", "without kid any may fit"
    assert keys_of(conf) is keys_of(conf), "made once"


def test_a_key_without_a_name_is_good_for_any_kid() -> None:
    conf = Conf(jwt_secret=SECRET)
    assert check_token(signed(SECRET, "HS256", kid="whatever"), conf).subject == "42"
    named = Conf(jwt_secret=SECRET, jwt_secrets=(("a", OLD),))
    refused(signed(SECRET, "HS256", kid="a"), named)


def test_an_expired_token_of_the_second_key_is_told_as_expired() -> None:
    conf = Conf(jwt_secret=SECRET, jwt_secrets=(("a", OLD),))
    refused(signed(OLD, "HS256", exp=1), conf, "expired")


# --- claims


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "gateway", "iss": "https://id"}, ""),
        ({"aud": ["x", "second"], "iss": "https://id"}, ""),
        ({"aud": "other", "iss": "https://id"}, "for another audience"),
        ({"iss": "https://id"}, "claim 'aud' is missing"),
        ({"aud": "gateway"}, "claim 'iss' is missing"),
        ({"aud": "gateway", "iss": "https://evil"}, "of another issuer"),
        ({"aud": {"a": 1}, "iss": "https://id"}, "for another audience|not valid"),
        ({"aud": "gateway", "iss": ["https://id"]}, "of another issuer|not valid"),
    ],
)
def test_for_whom_and_by_whom(claims: dict[str, Any], reason: str) -> None:
    conf = Conf(jwt_secret=SECRET, jwt_audience=("gateway", "second"), jwt_issuer=("https://id",))
    token = jwt.api_jws.encode(
        json.dumps({"sub": "42", "exp": ENDS} | claims).encode(), SECRET, "HS256"
    )
    if reason:
        refused(token, conf, reason)
    else:
        assert check_token(token, conf).subject == "42"


def test_the_leeway_is_a_setting() -> None:
    token = signed(SECRET, "HS256", exp=int(time.time()) - 30)
    assert check_token(token, Conf(jwt_secret=SECRET, jwt_leeway=60)).subject == "42"
    refused(token, Conf(jwt_secret=SECRET, jwt_leeway=1), "expired")


# --- files that are no keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (pem(rsa.generate_private_key(public_exponent=65_537, key_size=1_024)), "2048 bits"),
        (pem(dsa.generate_private_key(1_024)), "keys are RSA"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "keys are RSA"),
    ],
)
def test_what_is_no_key_says_why(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        public_key(text)


def test_a_private_key_is_not_taken_and_not_quoted() -> None:
    text = RSA.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    with pytest.raises(ValueError, match="not a public key") as caught:
        public_key(text)
    assert text[40:80] not in str(caught.value)


def test_other_kinds() -> None:
    assert public_key(pem(ed448.Ed448PrivateKey.generate())).algorithms == ("EdDSA",)
    assert SECRET not in repr(secret_key(SECRET))


async def test_a_token_without_an_end_is_refused_and_the_log_says_once_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    conf = Conf(jwt_secret=SECRET)
    endless = jwt.encode({"sub": "42"}, SECRET, algorithm="HS256")
    forged = jwt.encode({"sub": "42"}, OLD, algorithm="HS256")
    tokens = Tokens(conf)
    with pytest.raises(Unauthorized, match="token: not valid"):
        await tokens.check(forged)
    assert not caplog.messages, "a stranger cannot bring it about"
    for _ in range(3):
        with pytest.raises(Unauthorized, match="claim 'exp' is missing"):
            await tokens.check(endless)
    (line,) = caplog.messages
    assert "JWT_REQUIRE_EXP" in line and endless not in line
    lax = Tokens(replace(conf, jwt_require_exp=False))
    assert (await lax.check(endless)).expires_at is None
    with pytest.raises(Unauthorized, match="not valid"):
        await lax.check(forged)
    assert len(caplog.messages) == 1


async def test_a_token_that_ends_in_a_far_future_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = Tokens(Conf(jwt_secret=SECRET))
    now = time.time()
    await tokens.check(signed(SECRET, "HS256", exp=int(now + FAR - 60)))
    assert not caplog.messages
    for days in (31, 365, 10_000):
        assert (await tokens.check(signed(SECRET, "HS256", exp=now + days * 86_400))).subject
    (line,) = caplog.messages
    assert "30 days" in line


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"exp": 1}, "42"),
        ({"exp": 1, "sub": 7}, "7"),
        ({"exp": 1, "sub": ["42"]}, ""),
        ({"nbf": ENDS}, "42"),
        ({"aud": "another"}, "42"),
    ],
)
def test_whose_a_refused_token_was_is_known_of_those_that_are_well_signed(
    claims: dict[str, Any], user: str
) -> None:
    payload = json.dumps({"sub": "42", "exp": ENDS, "aud": "gateway"} | claims).encode()
    conf = Conf(jwt_secret=SECRET, jwt_audience=("gateway",))
    for secret, whose in ((SECRET, user), (OLD, "")):
        with pytest.raises(Unauthorized) as caught:
            check_token(jwt.api_jws.encode(payload, secret, "HS256"), conf)
        assert caught.value.user == whose


def test_a_secret_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []

    def is_der_key(secret: bytes) -> bool:
        looked.append(secret)
        return False

    monkeypatch.setattr(HMACAlgorithm, "_is_der_key", staticmethod(is_der_key))
    secret = "only-for-this-test-and-32-bytes-long"
    conf = Conf(jwt_secrets=(("", secret),))
    for user in ("42", "43"):
        token = signed(secret, "HS256", sub=user)
        looked.clear()
        assert check_token(token, conf).subject == user
    assert looked == []
    assert type(jwt.PyJWS().get_algorithm_by_name("HS256")) is HMACAlgorithm  # the project's own
