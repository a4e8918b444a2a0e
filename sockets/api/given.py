"""Arguments of the Python API are put into their plain form where and when the caller calls.

What Django code has may be lazy: a user that asks the database, a text that is written in the
language that is active now. The call itself may run on another thread's loop, or later.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import fields
from functools import update_wrapper
from inspect import Parameter, Signature, signature
from typing import Any, Generic, ParamSpec, TypeVar

from sockets.api.calls import CALLS, call_id
from sockets.api.contracts import require_kept, unpacked
from sockets.api.elsewhere import elsewhere
from sockets.base.ids import new_id
from sockets.types import Notification, NotifyOptions

P = ParamSpec("P")
T = TypeVar("T")

Form = Callable[[Any], Any]
"""Gives the plain form of one argument. Raises InvalidMessage."""

_OPTIONS = [
    Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type)
    for one in fields(Notification)
    if one.name in NotifyOptions.__annotations__
]


class Twin(Generic[P, T]):
    """An async function of the API whose arguments are put into their plain form at the call.

    What is wrong with them is raised when it is awaited, as if the function itself had looked.
    """

    def __init__(self, plain: Callable[P, Coroutine[Any, Any, T]], forms: dict[str, Form]) -> None:
        update_wrapper(self, plain)
        self.plain: Any = plain
        self._forms = forms
        self._takes = self.__signature__ = _by_name(signature(plain))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        try:
            given = self.put(*args, **kwargs)
            call = CALLS.get(self.plain.__name__.removeprefix("a"))
            if call is not None and (way := elsewhere()) is not None:
                return way.acall(call, given, call_id.get() or new_id())
            made: Coroutine[Any, Any, T] = self.plain(**given)
        except Exception as error:
            return _fail(error)
        return made

    def put(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Return all arguments in their plain form, by name. Raises what a form raises."""
        found = self._takes.bind(*args, **kwargs)
        named = found.arguments
        brings_data = "event" in named and "data" in self._forms
        if brings_data:
            named["event"], named["data"] = unpacked(named["event"], named.get("data"))
        for name, form in self._forms.items():
            if name in named:
                named[name] = form(named[name])
        if brings_data:
            require_kept(named["event"], named["data"])
        found.apply_defaults()
        return found.arguments

    def __getattr__(self, name: str) -> Any:
        """Show `inspect` that this is an async function (`__code__` and its like)."""
        if name in ("__code__", "__defaults__", "__kwdefaults__"):
            return getattr(self.plain, name)
        raise AttributeError(name)


def given(**forms: Form) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Twin[P, T]]:
    """Have the arguments of these names put into their plain form when the function is called."""
    return lambda plain: Twin(plain, forms)


def _by_name(takes: Signature) -> Signature:
    """Return it with each of NotifyOptions in the place of `**options`: a name that is none of them
    is refused as any function refuses it, and documents show them."""
    found: list[Parameter] = []
    for one in takes.parameters.values():
        found += _OPTIONS if one.kind is one.VAR_KEYWORD else [one]
    return takes.replace(parameters=found)


async def _fail(error: Exception) -> Any:
    raise error
