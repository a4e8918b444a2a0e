"""A dictionary that somebody wrote by hand, put into the form of a dataclass' fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from sockets.base.client_address import Trusted, parse_trusted


def formed(made: type, given: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values in the form that the fields of `made` have, and what is wrong by key.

    Lists become tuples, whole numbers fractions, text paths. What is wrong is said without the
    value, which may be a secret.
    """
    hints = _hints(made)
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in given.items():
        if name not in hints:
            wrong[str(name)] = f"unknown setting {name!r}{_meant(str(name), hints)}"
            continue
        try:
            values[name] = _form_of(hints[name])(value)
        except (ValueError, TypeError, msgspec.ValidationError) as error:
            wrong[name] = f"{name!r} has another form: {error}"
    return values, wrong


@lru_cache(maxsize=2)
def _hints(made: type) -> dict[str, Any]:
    hints = get_type_hints(made)
    return {one.name: hints[one.name] for one in fields(made)}


def _meant(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name.lower(), list(known), 1)
    return f" (perhaps {near[0]!r} is meant)" if near else ""


def _form_of(hint: Any) -> Callable[[Any], Any]:
    special: dict[Any, Callable[[Any], Any]] = {Path: _path, Trusted: _trusted}
    return special.get(hint) or (lambda value: _plain(value, hint))


def _plain(value: Any, hint: Any) -> Any:
    found = msgspec.convert(value, hint)
    if isinstance(found, float) and not isfinite(found):
        raise ValueError("it is no finite number")
    return found


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise TypeError("Expected a path")
    return Path(value).expanduser()


def _trusted(value: Any) -> Trusted:
    if isinstance(value, Trusted):
        return value
    return parse_trusted(list(_words(value)))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        raise TypeError("Expected a count of proxies, or a list of networks")
    for one in [value] if isinstance(value, str | int) else value:
        yield str(one)
