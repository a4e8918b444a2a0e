"""What a caller says of users: one rule, and an error that names what it was given."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from sockets.base.arguments import name_of, require_many, require_user_id, require_user_ids
from sockets.exceptions import InvalidMessage

SOME = UUID("12345678123456781234567812345678")


def test_user_ids_are_strings() -> None:
    assert [require_user_id(one) for one in ("42", 42, SOME)] == ["42", "42", str(SOME)]
    assert require_user_ids(iter([1, "b"])) == ["1", "b"]


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ("", "a string that is empty, too long or not UTF-8"),
        ("secret" * 999, "a string that is"),
        (10**5_000, "an int with too many digits"),
        (True, "of the type bool"),
        (None, "None"),
        (4.2, "of the type float"),
    ],
    ids=lambda value: str(value)[:10] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_user_id_is_named_and_not_repeated(wrong: Any, name: str) -> None:
    with pytest.raises(InvalidMessage, match=f"; this is {name}") as caught:
        require_user_id(wrong)
    assert "secret" not in str(caught.value) and name_of(wrong).startswith(name)


@pytest.mark.parametrize("one", ["42", b"42", 42, None])
def test_one_id_is_no_list_of_ids(one: Any) -> None:
    """Its letters would pass for ids."""
    with pytest.raises(InvalidMessage, match="a list of user ids"):
        require_many(one)
    with pytest.raises(InvalidMessage, match="a list of user ids"):
        require_user_ids(one)


def test_nobody_gets_anything_if_one_of_many_is_wrong() -> None:
    with pytest.raises(InvalidMessage, match="a string that is empty"):
        require_user_ids(["42", ""])
