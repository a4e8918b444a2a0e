"""Identifiers: what is one, what is not, and in which form it goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from sockets.base.ids import is_pool, is_user_id, new_id, parse_ulid

GOOD = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, GOOD),
        (GOOD.lower(), GOOD),
        ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        ("00000000000000000000000000", "00000000000000000000000000"),
        ("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", None),  # above 128 bits
        (GOOD[:-1], None),
        (GOOD + "V", None),
        (GOOD + "\n", None),
        ("\n" + GOOD, None),
        (GOOD.replace("A", "I", 1), None),
        (GOOD.replace("A", "L", 1), None),
        (GOOD.replace("A", "O", 1), None),
        (GOOD.replace("A", "U", 1), None),
        (GOOD.replace("A", "-", 1), None),
        (GOOD.replace("1", "١", 1), None),  # a digit, but not an ASCII one
        ("", None),
        ("ﬆ" + GOOD[2:], None),  # becomes two letters in upper case
        ("550e8400-e29b-41d4-a716-446655440000", None),
    ],
    ids=ascii,
)
def test_what_is_a_ulid(text: str, expected: str | None) -> None:
    assert parse_ulid(text) == expected


def test_new_ids_are_ulids_and_differ() -> None:
    ids = [new_id() for _ in range(1_000)]
    assert len(set(ids)) == len(ids)
    assert all(parse_ulid(id) == id for id in ids)


@given(st.binary(min_size=16, max_size=16))
def test_every_ulid_of_the_library_is_one_of_ours(raw: bytes) -> None:
    assert parse_ulid(str(ULID(raw))) == str(ULID(raw))


@given(st.text(max_size=30))
def test_what_is_accepted_is_canonical(text: str) -> None:
    parsed = parse_ulid(text)
    if parsed is not None:
        assert str(ULID.from_str(parsed)) == parsed == text.upper()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("42", True),
        (" ", True),
        ("kim@example.com", True),
        ("a/b\x00\n", True),
        ("한국어", True),
        ("x" * 1024, True),
        ("x" * 1025, False),
        ("한" * 341, True),  # 1,023 bytes
        ("한" * 342, False),  # 1,026 bytes
        ("", False),
        ("\ud800", False),
        (42, False),
        (None, False),
        (b"42", False),
        (True, False),
    ],
    ids=lambda v: ascii(v)[:24],
)
def test_what_is_a_user_id(value: object, expected: bool) -> None:
    assert is_user_id(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("image.convert", True),
        ("A-Z_0.9", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("a b", False),
        ("a,b", False),
        ("a/b", False),
        ("a\n", False),
        ("\na", False),
        ("한", False),
        ("١", False),
        (5, False),
        (None, False),
        (b"a", False),
    ],
    ids=lambda v: ascii(v)[:24],
)
def test_what_is_a_pool(value: object, expected: bool) -> None:
    assert is_pool(value) is expected
