"""What is revoked for whom, and until when; both backends are held to it in tests/contracts."""

from __future__ import annotations

import pytest

from sockets.exceptions import Revoked, TokenExpired
from sockets.presence.revocation import (
    MAX_REVOKED,
    REVOKED_TTL,
    USER,
    Revocations,
    login,
    names_of,
    token,
)
from tests.support.doubles import info

NOW = 1_000_000.0


def refusal(
    known: Revocations, issued: float | None, now: float = NOW, **given: str
) -> type | None:
    found = known.refusal(info("42", issued_at=issued, **given), now)
    return None if found is None else type(found)


def test_a_session_may_be_revoked_by_each_name_that_it_has() -> None:
    assert list(names_of(info("42"))) == [USER]
    assert list(names_of(info("42", sid="s", jti="j"))) == [USER, login("s"), token("j")]


@pytest.mark.parametrize(
    ("issued", "expected"),
    [
        (None, Revoked),
        (NOW - 1, Revoked),
        (NOW, TokenExpired),  # a whole second: before or after
        (NOW + 0.25, Revoked),
        (NOW + 0.5, None),
        (NOW + 1, None),
    ],
)
def test_what_was_proved_before_counts_no_more(issued: float | None, expected: type | None) -> None:
    known = Revocations()
    known.add(USER, NOW + 0.5, NOW)
    assert refusal(known, issued) is expected


def test_one_login_is_revoked_and_no_other() -> None:
    known = Revocations()
    known.add(login("phone"), NOW, NOW)
    assert refusal(known, NOW - 1, sid="phone") is Revoked
    assert refusal(known, NOW - 1, sid="tab") is None
    assert refusal(known, NOW - 1, jti="phone") is None


def test_a_revocation_of_the_past_takes_nothing_back() -> None:
    known = Revocations()
    known.add(USER, NOW, NOW)
    known.add(USER, NOW - 100, NOW + 1)
    assert refusal(known, NOW - 1) is Revoked


def test_it_is_remembered_for_so_long_and_no_longer() -> None:
    known = Revocations()
    known.add(USER, NOW, NOW)
    last = NOW + REVOKED_TTL - 1
    assert refusal(known, NOW - 1, last) is Revoked and not known.over(last)
    assert refusal(known, NOW - 1, last + 1) is None and known.over(last + 1)


def test_beyond_the_bound_all_that_is_older_is_revoked() -> None:
    known = Revocations()
    for n in range(MAX_REVOKED + 1):
        known.add(token(f"j{n}"), NOW + n, NOW)
    newest = NOW + MAX_REVOKED - 1
    assert refusal(known, newest - 1, jti="never revoked") is Revoked
    assert refusal(known, newest + 1, jti="never revoked") is None
    assert refusal(known, NOW + MAX_REVOKED - 1, jti=f"j{MAX_REVOKED}") is Revoked
