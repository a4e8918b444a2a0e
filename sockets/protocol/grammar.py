"""Whether a text is JSON by its grammar (RFC 8259), whatever our decoder makes of it.

JSON may be nested deeper than a program reads, and may hold half of a surrogate pair or a number
that is larger than all others: who sent that speaks JSON, and waits for an answer to its `ref`. One
pass from left to right, without recursion; what is open is kept in a byte each. Runs of plain
values are one match of a regular expression, for this is done on the event loop.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_MAX_REF: Final = 128
_MAX_INT: Final = 2**63 - 1
_LONGEST_NAME: Final = len('"\\u0074\\u0079\\u0070\\u0065"')  # of `type`, all of it escaped

# Groups are repeated in `(?>…)`, not by `*+`, which Python before 3.11.5 gets wrong (gh-106052).
_SPACE = r"[ \t\n\r]*+"
_STRING = r'"(?>(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*)"'
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?>(?:\.[0-9]++)?)(?>(?:[eE][+-]?[0-9]++)?)"
_ATOM = rf"(?:{_STRING}|{_NUMBER}|true|false|null|\[{_SPACE}\]|\{{{_SPACE}\}})"
_PAIR = rf"{_STRING}{_SPACE}:{_SPACE}{_ATOM}"


def _list(of: str) -> str:
    return rf"{_SPACE}{of}(?>(?:{_SPACE},{_SPACE}{of})*){_SPACE}"


# A value that opens nothing, or nothing but values that open nothing.
_FLAT = rf"(?:{_ATOM}|\[{_list(_ATOM)}\]|\{{{_list(_PAIR)}\}})"

_atom = re.compile(rf"{_SPACE}({_ATOM}){_SPACE}")
_flat = re.compile(rf"{_SPACE}({_FLAT}){_SPACE}")
_elements = re.compile(rf"(?>(?:{_SPACE}{_FLAT}{_SPACE},)*)")
_members = re.compile(rf"(?>(?:{_SPACE}{_STRING}{_SPACE}:{_SPACE}{_FLAT}{_SPACE},)*)")
_name = re.compile(rf"{_SPACE}({_STRING}){_SPACE}:")
_arrays = re.compile(rf"(?>(?:{_SPACE}\[(?!{_SPACE}\]))+)")
_object = re.compile(rf"{_SPACE}\{{")
_next = re.compile(rf"([,\]}}]){_SPACE}")
_integer = re.compile(r"-?[0-9]{1,19}\Z")

_ARRAY, _OBJECT = ord("]"), ord("}")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the top level of a JSON text says of itself.

    `type` None: it has none, or none that is a string. `ref` None: none that can be answered. Of a
    name that comes twice the last counts.
    """

    type: str | None = None
    ref: str | int | None = None


def read(text: str) -> Shape | None:
    """Return the shape of a JSON text; None: it is no JSON. Linear in the length of the text."""
    top: dict[str, str] = {}  # raw values of the top level's members, "" for a nested one
    closing = bytearray()  # the bracket that closes each of what is open
    at = 0
    while True:
        # Here a value is due: of an array or an object's next member, or the text's only one.
        name = ""
        if closing and closing[-1] == _ARRAY:
            at = _skip(_elements, text, at)
        elif closing:
            at = _skip(_members, text, at) if len(closing) > 1 else at
            if (named := _name.match(text, at)) is None:
                return None
            at = named.end()
            name = _name_of(named[1]) if len(closing) == 1 else ""
        flat = (_flat if closing else _atom).match(text, at)
        if name:
            top[name] = "" if flat is None else flat[1]
        if flat is None:
            if (opened := _arrays.match(text, at) or _object.match(text, at)) is None:
                return None
            count = text.count("[", at, opened.end())
            closing += b"]" * count or b"}"
            at = opened.end()
            continue
        at = flat.end()
        while closing:
            if (after := _next.match(text, at)) is None:
                return None
            at = after.end()
            if after[1] == ",":
                break
            if ord(after[1]) != closing.pop():
                return None
        else:
            return _shape(top) if at == len(text) else None


def _skip(run: re.Pattern[str], text: str, at: int) -> int:
    """Return where a run ends that may be empty."""
    found = run.match(text, at)
    return at if found is None else found.end()


def _name_of(raw: str) -> str:
    """Return the name of a member as it is without escapes; a longer one is none of ours."""
    if "\\" not in raw:
        return raw[1:-1]
    return str(json.loads(raw)) if len(raw) <= _LONGEST_NAME else ""


def _shape(top: dict[str, str]) -> Shape:
    kind = top.get("type", "")
    return Shape(
        json.loads(kind) if kind.startswith('"') else None,
        _ref(top.get("ref", "")),
    )


def _ref(raw: str) -> str | int | None:
    if _integer.match(raw):
        number = int(raw)
        return number if -_MAX_INT <= number <= _MAX_INT else None
    if not raw.startswith('"'):
        return None
    found: Any = json.loads(raw)
    if len(found) > _MAX_REF:
        return None
    try:
        found.encode()
    except UnicodeEncodeError:
        return None  # half of a surrogate pair: nobody could be sent it
    return str(found)
