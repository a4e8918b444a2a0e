"""What an application is made of, whatever middleware somebody has put round it."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, TypeVar

T = TypeVar("T")

_MOST: Final = 20_000
"""Objects that are looked at: those near the application come first."""

_NOTHING_IN: Final = (ModuleType, type, CodeType, str, bytes, int, float, type(None))


class Shown:
    """What of a project's site the public surface shows: of the application that has it."""

    public: bool
    public_admin: bool  # as it was asked for ...
    hides_admin: bool  # ... and whether it is left out


def shown_by(application: Any) -> Shown | None:
    """Return that of the gateway that is in an application."""
    return next(iter(found_in(application, Shown)), None)


def found_in(app: Any, kind: type[T]) -> list[T]:
    """Return the objects of this kind that an application holds, the nearest first.

    An ASGI middleware keeps what it is round in an attribute, whose name is its own, a function in
    a variable. Of what has been found only the attribute `application` is looked at, in which a
    handler of static files has another one.
    """
    found: list[T] = []
    seen: dict[int, Any] = {}  # they are kept: no other object gets the identity of one
    left = deque([app])
    while left and len(seen) < _MOST:
        one = left.popleft()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if issubclass(type(one), kind):  # `isinstance` would wake up what is lazy
            found.append(one)
            left.append(getattr(one, "application", None))
        else:
            left.extend(_held(one))
    return found


def _held(one: Any) -> Iterable[Any]:
    """Return what the object refers to; of a function, what its code may call."""
    if issubclass(type(one), _NOTHING_IN):
        return ()
    if type(one) is FunctionType:
        named = (one.__globals__.get(name) for name in one.__code__.co_names)
        return (*(one.__closure__ or ()), one.__dict__, *named)
    return (*gc.get_referents(one), type(one).__dict__.get("__call__"))
