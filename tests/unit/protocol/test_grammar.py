"""What is JSON by its grammar, and whose answer it is; against Python's own reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sockets.protocol.grammar import Shape, read

PARTS = [
    *"[]{},:",
    "[ ]",
    "{}",
    "0",
    "-1.5e+3",
    "01",
    "1.",
    "true",
    "null",
    "nul",
    "NaN",
    '""',
    '"a"',
    '"\\ud83c"',
    '"\\x"',
    '"\t"',
    '"',
    "\\",
    " ",
    "\n",
    "\u00a0",
    '"ref":',
    '"a":1,',
]


def is_json(text: str) -> bool:
    def none(constant: str) -> Any:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=none)
    except ValueError:
        return False
    return True


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
@example('{"a":[[[1]]]}')
@example("[[],[[]],{}]")
@example("[1,]")
@example('{"a":1,}')
@example("[1]]")
@example("[1}")
def test_it_agrees_with_pythons_reader(text: str) -> None:
    assert (read(text) is not None) == is_json(text)


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(values, st.integers(min_value=0), st.sampled_from([None, 1]), st.data())
def test_a_whole_value_is_json_and_a_part_of_it_is_as_python_has_it(
    value: Any, cut: int, indent: int | None, data: Any
) -> None:
    text = json.dumps(value, indent=indent)
    assert read(text) is not None
    at = cut % (len(text) + 1)
    part = text[:at] + text[at + data.draw(st.integers(0, 3)) :]
    assert (read(part) is not None) == is_json(part)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("{}", Shape()),
        ("[]", Shape()),
        ("7", Shape()),
        ('"ref"', Shape()),
        ('["ref",7]', Shape()),
        ('[{"ref":7}]', Shape()),
        ('{"ref":7,"type":"t"}', Shape("t", 7)),
        ('{"ref":7,"ref":"b"}', Shape(None, "b")),
        ('{"ref":7,"ref":null}', Shape()),
        ('{"ref":7,"ref":{"ref":8}}', Shape()),
        ('{"data":{"ref":8,"type":"x"},"ref":7}', Shape(None, 7)),
        ('{"data":[[[{"ref":8}]]],"type":"t"}', Shape("t")),
        ('{"re\\u0066":7,"\\u0074\\u0079\\u0070\\u0065":"t"}', Shape("t", 7)),
        ('{"ref":7,"data":{"x":[[[1]]],"ref":8}}', Shape(None, 7)),
        ('{"ref":7,"data":[[[{"x":[[[1]]],"ref":8,"type":"x"}]]]}', Shape(None, 7)),
        ('{"type":"t","type":5}', Shape()),
        ('{"ref":-9223372036854775807}', Shape(None, -(2**63 - 1))),
        ('{"ref":9223372036854775808}', Shape()),
        ('{"ref":1e2}', Shape()),
        ('{"ref":1.0}', Shape()),
        ('{"ref":true}', Shape()),
        ('{"ref":"%s"}' % ("r" * 128), Shape(None, "r" * 128)),
        ('{"ref":"%s"}' % ("r" * 129), Shape()),
        ('{"ref":"\\ud83c"}', Shape()),
        ('{"ref":"\\ud83c\\udf89"}', Shape(None, "🎉")),
        ('{"ref":"\ud83c"}', Shape()),
    ],
    ids=ascii,
)
def test_the_top_level(text: str, shape: Shape) -> None:
    assert read(text) == shape


DEEP = 30_000


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("[", "]"), ('{"":', "}"), ('[{"ref":', "}]"), ("[ ", " ]"), ('[1,{"a":1,"ref":', ",2]")],
)
def test_at_any_depth(opening: str, closing: str) -> None:
    if closing == ",2]":
        closing = "},2]"
    text = f'{{"data":{opening * DEEP}0{closing * DEEP},"ref":1}}'
    assert read(text) == Shape(None, 1)
    assert read(text[:-1]) is None
    assert read(f'{{"data":{opening * DEEP}0{closing * (DEEP - 1)},"ref":1}}') is None
