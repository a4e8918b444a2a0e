"""Plain values out of text: each function takes a variable's name and text, and raises Wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from zoneinfo import available_timezones

from sockets.variables.faults import Items, Wrong

LABEL: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
LABEL_RULE: Final = "1 to 64 of A-Z a-z 0-9 . _ -"
SHOWN: Final = 200
"""Characters of a wrong value that a message shows."""

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})
_TEN_YEARS: Final = 10 * 365 * 86_400  # seconds
_MAX_RATE: Final = 1_000_000_000  # a second


def parse_label(name: str, text: str) -> str:
    """Read a short name that is safe in logs, metrics and addresses."""
    if LABEL.fullmatch(text) is None:
        raise Wrong(name, f"{text!r} is no proper name", f"use {LABEL_RULE}")
    return text


def parse_flag(name: str, text: str) -> bool:
    """Read true or false, in the usual words."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Wrong(name, f"{text!r} is neither true nor false", "write true or false")


def parse_integer(name: str, text: str, minimum: int, maximum: int) -> int:
    """Read a whole number between the bounds, both included."""
    try:
        number = int(text) if text.isascii() and "_" not in text else None
    except ValueError:
        number = None
    if number is None:
        raise Wrong(name, f"{text!r} is not a whole number", "write digits only")
    if not minimum <= number <= maximum:
        raise Wrong(
            name, f"{number} is out of range", f"choose a number from {minimum} to {maximum}"
        )
    return number


def parse_seconds(name: str, text: str, minimum: float) -> float:
    """Read a duration in seconds, fractions allowed."""
    number = _decimal(name, text, "of seconds", "write a number such as 10 or 0.5")
    if not minimum <= number <= _TEN_YEARS:
        raise Wrong(name, f"{text} s is out of range", f"choose from {minimum:g} s to ten years")
    return number


def parse_rate(name: str, text: str, what: str) -> float:
    """Read how many of `what` (its plural) a second, fractions allowed; 0 stands for any number."""
    remedy = "write a number such as 50 or 0.5, or 0 for any number"
    number = _decimal(name, text, f"of {what} a second", remedy)
    if number > _MAX_RATE:
        remedy = f"choose at most {_MAX_RATE}, or 0 for any number"
        raise Wrong(name, f"{text} {what} a second is out of range", remedy)
    return number


def _decimal(name: str, text: str, of_what: str, remedy: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) is None:
        raise Wrong(name, f"{text!r} is not a number {of_what}", remedy)
    return float(text)


def parse_choice(name: str, text: str, known: Iterable[str]) -> str:
    """Read one of `known`, whatever its case."""
    known = tuple(known)
    if text.lower() not in known:
        raise Wrong(name, f"{text!r} is not known", f"choose one of {', '.join(known)}")
    return text.lower()


def parse_words(name: str, text: str) -> tuple[str, ...]:
    """Read a comma list: white space round the items is dropped, empty or double items are
    wrong."""
    items = tuple(item.strip() for item in text.split(","))
    if "" in items:
        raise Wrong(name, "an item of the list is empty", "remove the extra comma")
    if len(set(items)) < len(items):
        raise Wrong(name, "an item is there twice", "remove one of the two")
    return items


def parse_choices(name: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Read a comma list of words out of `known`."""
    known = tuple(known)
    items = tuple(word.lower() for word in parse_words(name, text))
    faults = Items()
    for word in items:
        with faults.each():
            if word not in known:
                raise Wrong(name, f"{word!r} is not known", f"choose from {', '.join(known)}")
    faults.refuse()
    return items


def parse_time_zone(name: str, text: str) -> str:
    """Read a name of the time zone database, such as Europe/Berlin."""
    known = available_timezones()
    if text not in known:
        alike = {zone.lower(): zone for zone in known}
        hint = alike.get(text.lower(), "Europe/Berlin, Asia/Seoul or UTC")
        raise Wrong(name, f"{text[:SHOWN]!r} is no time zone of this machine", f"write {hint}")
    return text
