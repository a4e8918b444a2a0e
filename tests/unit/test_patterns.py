"""Regular expressions that mean the same to each Python that we run on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.support.gateway import ROOT

_SINGLE = {_constants.IN, _constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY}


def patterns() -> Iterator[re.Pattern[Any]]:
    """Those of our modules in whose source a possessive quantifier may stand."""
    for file in (ROOT / "sockets").rglob("*.py"):
        source = file.read_text()
        if "re.compile(" in source and re.search(r"[*+?}]\+", source):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            for value in vars(import_module(name)).values():
                if isinstance(value, re.Pattern):
                    yield value


def repeats_a_group(parsed: Any) -> bool:
    """Whether a possessive quantifier stands after more than one character or class: before 3.11.5
    that matches too much (https://github.com/python/cpython/issues/106052)."""
    if isinstance(parsed, _parser.SubPattern):
        return any(map(repeats_a_group, parsed))
    if not isinstance(parsed, tuple | list):
        return False
    if len(parsed) == 2 and parsed[0] is _constants.POSSESSIVE_REPEAT:
        repeated = parsed[1][2]
        if len(repeated) != 1 or repeated[0][0] not in _SINGLE:
            return True
    return any(map(repeats_a_group, parsed))


@pytest.mark.parametrize("pattern", list(patterns()), ids=lambda one: repr(one.pattern[:30]))
def test_no_possessive_quantifier_is_on_a_group(pattern: re.Pattern[Any]) -> None:
    assert not repeats_a_group(_parser.parse(pattern.pattern))


@pytest.mark.parametrize("pattern", ["(?:ab?c)++", "x(?:(?:a|bc)?+d)*", "(?>(?:ab){1,3}+)"])
def test_one_would_be_found(pattern: str) -> None:
    assert repeats_a_group(_parser.parse(pattern))
