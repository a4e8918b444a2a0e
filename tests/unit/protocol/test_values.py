"""Python's values as JSON: subclasses as what they are made of, and never a number that is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from msgspec import Raw

from sockets.protocol.values import MAX_DEPTH, is_deep, plain, write

NAN, INFINITE = float("nan"), float("inf")


class Text(str):
    def __str__(self) -> str:
        return "not this"


class Color(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Float(float):
    pass


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Text("a"), '"a"'),
        (Color.RED, '"red"'),
        (Number.ONE, "1"),
        (Float(1.5), "1.5"),
        ({Text("a"): {Color.RED: [Text("b")]}}, '{"a":{"red":["b"]}}'),
        ({1: (2, 3)}, '{"1":[2,3]}'),
        (Decimal("1.50"), '"1.50"'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00Z"'),
        ([None, {"a": None}], '[null,{"a":null}]'),
        (["NaN", "inf", "Infinity", "nan"], '["NaN","inf","Infinity","nan"]'),
        (10**300, str(10**300)),
    ],
)
def test_what_can_be_written(value: Any, written: str) -> None:
    assert write(value).decode() == written


@pytest.mark.parametrize(
    "value",
    [
        NAN,
        -INFINITE,
        [1, {"a": [INFINITE]}],
        {NAN: 1},
        Float("nan"),
        Decimal("NaN"),
        [Decimal("-Infinity")],
        10**400,
        -(10**400),
        [None, Text("x"), NAN],
    ],
    ids=lambda value: repr(value)[:20],
)
def test_numbers_that_are_none_are_refused_wherever_they_are(value: Any) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        write(value)


class Tint(Enum):
    DARK = object()


@pytest.mark.parametrize("value", [object(), [object()], {"a": {1, object()}}, Tint.DARK])
def test_what_has_no_json_form_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        write(value)


def test_a_hook_gives_the_plain_form_of_values_and_keys() -> None:
    class Thing:
        pass

    def hook(value: Any) -> Any:
        return "thing" if isinstance(value, Thing) else plain(value)

    assert json.loads(write({Thing(): [Thing()]}, hook)) == {"thing": ["thing"]}


def test_raw_json_is_read_where_a_plain_value_is_wanted() -> None:
    assert plain(Raw(b'{"a":[1]}')) == {"a": [1]}
    with pytest.raises(TypeError, match="bytes has no JSON form"):
        plain(b"a")


def nested(depth: int, inner: Any) -> Any:
    for n in range(depth):
        inner = [inner] if n % 2 else {"a": inner}
    return inner


def test_how_deep_a_value_may_be() -> None:
    assert not is_deep(nested(MAX_DEPTH - 1, 1))
    assert is_deep(nested(MAX_DEPTH + 1, 1))
    assert not is_deep("x" * 1_000) and not is_deep([[]] * 1_000)
