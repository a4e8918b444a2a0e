"""Secrets as they were given in variables, whatever else is wrong with those."""

from __future__ import annotations

import pytest

from sockets.conf import WrongSettings
from sockets.variables.reader import Variables
from sockets.variables.safety import note_weak, weak_keys

GOOD = "7f3a9c0e51d24b86a0f7c93e18d5b2640f9e"


def wrong(given: dict[str, str], *also: str, unread: str = "") -> list[str]:
    """What is noted of secrets, in words. `unread`: a variable whose reader has refused it."""
    variables = Variables(given)
    variables.wrong.add(unread)
    note_weak(variables, also)
    try:
        variables.refuse()
    except WrongSettings as error:
        return [fault.text for fault in error.faults]
    return []


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


def test_what_a_reader_has_said_of_a_short_secret_is_not_said_again() -> None:
    assert wrong({"JWT_SECRET": "x"}, unread="JWT_SECRET") == []
    (text,) = wrong({"JWT_SECRET": "x" * 40}, unread="JWT_SECRET")
    assert "can be guessed" in text, "that it does not look for"
    (text,) = wrong({"API_KEYS": "a:x"}, unread="API_KEYS")
    assert "1 of the 32 bytes" in text, "nor for the length of a key, of which it keeps a hash"


def test_what_is_wrong_with_keys_is_kept_beside_their_hashes() -> None:
    """Rule 1: a node judges them when it starts, and the settings have hashes only."""
    given = {"API_KEYS": f"a:hunter2,b:{GOOD}", "WORKER_KEYS": f"w:{'0' * 40}", "JWT_SECRET": "x"}
    guessed, short = weak_keys(Variables(given))
    assert short.startswith("API_KEYS: the secret of 'a' has 7 of the 32 bytes")
    assert guessed.startswith("WORKER_KEYS: the secret of 'w' can be guessed")
    assert "hunter2" not in short
