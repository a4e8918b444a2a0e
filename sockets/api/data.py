"""What Django code sends: its lazy values, evaluated where and when the caller calls."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model
from django.db.models.query import QuerySet
from django.utils.functional import LazyObject, Promise, empty
from msgspec import Raw

from sockets.exceptions import BadFrame, InvalidMessage
from sockets.protocol.codec import from_json
from sockets.protocol.values import plain, write


class AsksTheDatabase(InvalidMessage, SynchronousOnlyOperation):
    """Async code must not wait for what this would ask."""


def as_data(value: Any) -> Raw:
    """Return data as JSON, as it is now. Raises InvalidMessage.

    Lazy text is written in the language that is active; a QuerySet of `values()` or `values_list()`
    is evaluated, from synchronous code only.
    """
    try:
        if isinstance(value, Raw):
            from_json(value)
            return value
        return Raw(write(value, django_plain))
    except InvalidMessage:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError, BadFrame) as error:
        raise InvalidMessage(f"data cannot be written as JSON: {error}") from None


def django_plain(value: Any) -> Any:
    """Return the plain value of what Django gives. Raises TypeError for what has none."""
    kind = type(value)  # and not isinstance: a lazy object pretends to be what it stands for
    if issubclass(kind, Promise):
        return _text_of(value)
    if issubclass(kind, LazyObject):
        return unwrapped(value)
    if issubclass(kind, QuerySet):
        return _rows(value)
    if issubclass(kind, Model):
        raise TypeError(f"{kind.__name__} is a model: send its fields")
    return plain(value)


def _text_of(lazy: Any) -> str:
    """Raises TypeError for a lazy value that is no text: `str` would make a text of any."""
    value = lazy._proxy____cast()
    if not isinstance(value, str):
        raise TypeError(f"a lazy {type(value).__name__} is no text: send the value itself")
    return str.__str__(value)


def unwrapped(lazy: Any) -> Any:
    """Return what a lazy object stands for. Raises AsksTheDatabase."""
    while issubclass(type(lazy), LazyObject):
        if lazy._wrapped is empty:
            try:
                lazy._setup()
            except SynchronousOnlyOperation:
                raise AsksTheDatabase(
                    "this lazy object asks the database, and async code must not wait for it: "
                    "`await request.auser()` gives the user"
                ) from None
        lazy = lazy._wrapped
    return lazy


def _rows(query: QuerySet[Any]) -> list[Any]:
    if query._fields is None:  # type: ignore[attr-defined]
        raise TypeError("a QuerySet of models has no JSON form: say which fields, with .values()")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return list(query)
    raise AsksTheDatabase(
        "a QuerySet asks the database, and async code must not wait for it: "
        "send [row async for row in query]"
    )
