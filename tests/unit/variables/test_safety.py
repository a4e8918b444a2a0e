"""What production refuses: each unsafe setting by its variable, and secrets that are no secret."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.conf import WrongSettings
from sockets.types import Surface
from sockets.variables.reader import Variables
from sockets.variables.safety import unsafe, weak

GOOD = "7f3a9c0e51d24b86a0f7c93e18d5b2640f9e"
SAFE: dict[str, Any] = {
    "jwt_jwks_url": "https://id.example/keys",
    "auth": ("jwt",),
    "client_origins": ("https://example.com",),
    "surface": Surface.PUBLIC,
    "demo": False,
}


def wrong(given: dict[str, str], *also: str) -> list[str]:
    """What is wrong with secrets, in words."""
    texts: list[str] = []
    for found in weak(Variables(given), also):
        faults = found.faults if isinstance(found, WrongSettings) else [found]
        texts += [fault.text for fault in faults]
    return texts


def test_what_is_safe() -> None:
    assert list(unsafe(SAFE)) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"jwt_jwks_url": "http://id.example/keys"}, "JWT_JWKS_URL"),
        ({"auth": ("jwt", "insecure")}, "AUTH"),
        ({"client_origins": ("https://example.com", "*")}, "CLIENT_ORIGIN"),
        ({"surface": Surface.BOTH}, "SURFACE"),
        ({"demo": True}, "DEMO"),
    ],
)
def test_what_must_not_face_the_world(change: dict[str, Any], name: str) -> None:
    (one,) = unsafe(SAFE | change)
    assert [fault.names for fault in one.faults] == [(name,)]


def test_good_secrets_are_taken_also_with_the_two_uses_of_a_rotation() -> None:
    given = {"JWT_SECRET": GOOD, "JWT_SECRETS": f"now:{GOOD}, old:{GOOD}x", "API_KEYS": "no key"}
    assert wrong(given) == []


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        (GOOD[:31], "it has 31 of the 32 bytes it needs"),
        ("한" * 10, "it has 30 of the 32 bytes"),
        ("abcdefg" * 9, "it can be guessed"),
        ("CHANGE-ME" + GOOD, "it can be guessed"),
    ],
)
def test_a_secret_that_is_none(secret: str, fault: str) -> None:
    (text,) = wrong({"WEBHOOK_SECRET": secret})
    assert text.startswith(f"WEBHOOK_SECRET: {fault}") and "openssl rand -hex 32" in text
    assert secret not in text


def test_who_has_one_has_both() -> None:
    (text,) = wrong({"WORKER_KEYS": f"a:{GOOD}", "API_KEYS": f"b: {GOOD}"})
    assert text.startswith("API_KEYS: the secret of 'b' is that of WORKER_KEY:")


def test_secrets_of_the_project_are_looked_at_too() -> None:
    given = {"SECRET_KEY": GOOD, "JWT_SECRET": GOOD}
    assert wrong(given) == []
    (text,) = wrong(given, "SECRET_KEY")
    assert text.startswith("JWT_SECRET: it is that of SECRET_KEY")


def test_a_short_secret_may_be_the_fault_of_another_variable_and_a_guessable_one_may_not() -> None:
    """The reader of the variable tells, too, that one is short; what is certain has no name that
    would keep it back."""
    short, guessable = weak(Variables({"JWT_SECRET": "x", "WEBHOOK_SECRET": "x" * 40}))
    assert isinstance(short, WrongSettings) and short.faults[0].names == ("JWT_SECRET",)
    assert not isinstance(guessable, WrongSettings) and guessable.names == ()
