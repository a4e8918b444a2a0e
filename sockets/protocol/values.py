"""Values of Python code as JSON: what is taken besides what msgspec takes, and what never is.

Subclasses of str, int and float are written as what they are made of. NaN and the infinities are
refused, for JSON has no such numbers: msgspec would make `null` of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import Raw

from sockets.protocol.codec import LARGE_NUMBER, from_json
from sockets.protocol.depth import require_shallow

Plain = Callable[[Any], Any]
"""Gives the plain value of an object that msgspec cannot write. Raises TypeError."""

MAX_DEPTH: Final = 200
"""Arrays and objects within each other, where a value is read by programs that have a limit too."""

# Without one of these there is no number in it that is none: msgspec makes `null` of NaN, and a
# text of a Decimal and of a key.
_DOUBTFUL = re.compile(rb'(?:\A|[\[:,])null|"-?(?:s?NaN[0-9]*|nan|inf|Infinity)"|' + LARGE_NUMBER)
_AS_THEY_ARE = (Decimal, bytes, bytearray, memoryview)


def plain(value: Any) -> Any:
    """Return what a subclass of str, int or float is made of. Raises TypeError for the rest."""
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    if kind is Raw:
        return from_json(value)
    raise TypeError(f"{kind.__name__} has no JSON form")


def write(value: Any, hook: Plain = plain) -> bytes:
    """Return the JSON of a value. Raises TypeError, ValueError, OverflowError, RecursionError."""
    try:
        encoded = msgspec.json.encode(value, enc_hook=hook)
    except TypeError:  # msgspec asks the hook for values, and never for the keys of a dict
        value = _with_plain_keys(value, hook)
        encoded = msgspec.json.encode(value, enc_hook=hook)
    require_shallow(encoded)
    if _DOUBTFUL.search(encoded) is not None:
        _require_finite(msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE, enc_hook=hook))
    return encoded


def is_deep(value: Any) -> bool:
    """Return whether a value has more than MAX_DEPTH arrays and objects within each other."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _within(one)]
        if not level:
            return False
    return True


def _within(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _with_plain_keys(value: Any, hook: Plain) -> Any:
    if isinstance(value, dict) and issubclass(type(value), dict):
        return {_key(key, hook): _with_plain_keys(inner, hook) for key, inner in value.items()}
    if issubclass(type(value), list | tuple | set | frozenset):
        return [_with_plain_keys(inner, hook) for inner in value]
    return value


def _key(key: Any, hook: Plain) -> Any:
    try:
        return hook(key)
    except TypeError:
        return key  # msgspec knows it, or says what it thinks of it


def _is_plain_and_finite(value: Any) -> bool:
    """Return whether the standard library, which knows no Decimals, writes it: a walk in C.

    What it does not write is looked at value by value.
    """
    try:
        return _LONG_NUMBER.search(_strict.encode(value)) is None
    except (TypeError, ValueError, RecursionError):
        return False


_LONG_NUMBER = re.compile(r"[0-9]{200}")
_strict = json.JSONEncoder(allow_nan=False, check_circular=False, ensure_ascii=False)


def _require_finite(value: Any) -> None:
    """Raises ValueError. What it is given has no other containers than dict, list and tuple."""
    if _is_plain_and_finite(value):
        return
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.keys()
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        elif not _is_finite(one):
            raise ValueError(
                "NaN and Infinity, and numbers that are larger than all floats, are no JSON: "
                "send None, or a string"
            )


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, int):
        return value.bit_length() <= 1_024 and isfinite(_float(value))
    return not isinstance(value, Decimal) or value.is_finite()


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")
