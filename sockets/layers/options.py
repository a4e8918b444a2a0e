"""The options of a channel layer, looked at when it is made and not at its first message."""

from __future__ import annotations

import inspect
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

MAX_SECONDS: Final = 1e9


def require_options(**given: Any) -> None:
    """Raises ImproperlyConfigured for the first option that has no meaning.

    `capacity` and the values of `channel_capacity` are whole numbers above 0, all others seconds
    above 0, MAX_SECONDS at most.
    """
    for name, value in given.items():
        if name == "channel_capacity":
            _require_capacities(value)
        elif name == "capacity":
            _require_capacity(name, value)
        elif not _is_number(value) or not 0 < value <= MAX_SECONDS:
            raise _wrong(name, value, "a number of seconds above 0")


def require_prefix(value: Any) -> None:
    """Raises ImproperlyConfigured."""
    if not isinstance(value, str):
        raise _wrong("prefix", value, "text")


def require_known(given: dict[str, Any], made: type) -> None:
    """Raises ImproperlyConfigured for names that `made` does not take as keywords only."""
    parameters = inspect.signature(made).parameters.values()
    known = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    for name in given:
        if name not in known:
            raise ImproperlyConfigured(
                f"CHANNEL_LAYERS: this layer has no option {name!r}; it has {', '.join(known)}"
            )


def _require_capacities(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise _wrong("channel_capacity", value, "a dictionary of patterns and whole numbers")
    for pattern, capacity in value.items():
        if not isinstance(pattern, str) and not hasattr(pattern, "match"):
            raise _wrong(
                "channel_capacity", pattern, "made of names, patterns like 'http.*', or re"
            )
        _require_capacity(f"channel_capacity[{pattern!r}]", capacity)


def _require_capacity(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong(name, value, "a whole number above 0")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(name: str, value: Any, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"CHANNEL_LAYERS: {name} is {value!r}, and must be {wanted}")
