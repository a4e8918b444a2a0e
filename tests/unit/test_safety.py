"""Rule 1: what a node refuses, judged on the finished settings, however they were written."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from sockets.conf import Conf
from sockets.safety import exposed, lacking, refusals, unsafe
from sockets.types import Surface

GOOD = "7f3a9c0e51d24b86a0f7c93e18d5b2640f9e"
SAFE = Conf(
    environment="production",
    auth=("jwt",),
    jwt_secret=GOOD,
    client_origins=("https://example.com",),
    worker_keys={"w": sha256(b"w").hexdigest()},
    api_keys={"a": sha256(b"a").hexdigest()},
)


def named(faults: Any) -> list[str]:
    return [fault.names[0] for fault in faults]


def test_what_is_safe() -> None:
    assert list(refusals(SAFE, GOOD[::-1])) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"jwt_jwks_url": "http://id.example/keys"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": "HTTP://id.example/keys"}, "JWT_JWKS_URL"),
        ({"jwt_jwks_url": " http://id.example/keys"}, "JWT_JWKS_URL"),
        ({"auth": ("jwt", "insecure")}, "AUTH"),
        ({"client_origins": ("https://example.com", "*")}, "CLIENT_ORIGIN"),
        ({"api_origins": ("*",)}, "API_ORIGIN"),
        ({"surface": Surface.BOTH}, "SURFACE"),
        ({"demo": True}, "DEMO"),
    ],
)
def test_what_must_not_face_the_world(change: dict[str, Any], name: str) -> None:
    assert named(exposed(replace(SAFE, **change))) == [name]
    developed = list(exposed(replace(SAFE, environment="test", **change)))
    assert named(developed) == (["API_ORIGIN"] if name == "API_ORIGIN" else [])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"auth": ()}, ["AUTH"]),
        ({"jwt_secret": ""}, ["JWT_SECRET"]),
        ({"jwt_secret": "", "jwt_jwks_url": "https://id.example/keys"}, []),
        ({"jwt_secret": "", "jwt_secrets": (("k", GOOD),)}, []),
        ({"jwt_secret": "", "jwt_public_keys": (("k", "a key"),)}, []),
        ({"jwt_secret": "short"}, ["JWT_SECRET"]),
        ({"jwt_secrets": (("k", "short"),)}, ["JWT_SECRETS"]),
        ({"auth": ("proxy",)}, ["AUTH"]),
        ({"auth": ("session",), "jwt_secret": ""}, []),
        ({"webhooks": ("user_online",)}, ["API_SERVER_URL", "WEBHOOK_SECRET"]),
        (
            {"webhooks": ("user_online",), "api_server_url": "http://h", "webhook_secret": GOOD},
            [],
        ),
    ],
)
@pytest.mark.parametrize("environment", ["development", "production"])
def test_what_a_node_needs(change: dict[str, Any], names: list[str], environment: str) -> None:
    assert named(lacking(replace(SAFE, environment=environment, **change))) == names


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jwt_secret": "abcdefg" * 9}, "JWT_SECRET: it can be guessed"),
        ({"jwt_secrets": (("k", f"changeme{GOOD}"),)}, "JWT_SECRETS: the secret of 'k' can be"),
        ({"webhook_secret": "short"}, "WEBHOOK_SECRET: it has 5 of the 32 bytes it needs"),
        ({"webhook_secret": GOOD}, "WEBHOOK_SECRET: it is that of JWT_SECRET"),
        ({"api_keys": {"a": sha256(b"w").hexdigest()}}, "API_KEYS: the secret of 'a' is that of"),
        (
            {"worker_keys": {"w": sha256(GOOD.encode()).hexdigest()}},
            "WORKER_KEYS: the secret of 'w' is that of JWT_SECRET",
        ),
        ({"weak_keys": ("API_KEYS: the secret of 'a' can be guessed; x",)}, "API_KEYS: the secret"),
    ],
)
def test_weak_secrets_are_refused_in_production(change: dict[str, Any], said: str) -> None:
    (fault,) = unsafe(replace(SAFE, **change))
    assert fault.text.startswith(said) and GOOD not in fault.text
    assert list(unsafe(replace(SAFE, environment="development", **change))) == []


def test_a_short_secret_of_tokens_is_told_once() -> None:
    assert named(refusals(replace(SAFE, jwt_secret="short"))) == ["JWT_SECRET"]


def test_the_secret_key_has_no_second_use_and_is_not_judged() -> None:
    (fault,) = refusals(SAFE, GOOD)
    assert fault.text.startswith("JWT_SECRET: it is that of SECRET_KEY")
    assert list(refusals(SAFE, "django-insecure-short")) == []


def test_an_environment_by_oversight_is_told_in_words_for_it() -> None:
    (production,) = lacking(replace(SAFE, auth=()))
    (development,) = lacking(replace(SAFE, auth=(), environment="development"))
    assert "production has no default" in production.text
    assert "for development, insecure" in development.text
