"""Finding an application inside others."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path
from django.utils.functional import SimpleLazyObject

from sockets.base.within import found_in


class Wanted:
    """What is looked for."""

    def __init__(self, application: Any = None) -> None:
        self.application = application

    async def __call__(self, *_: Any) -> None:
        pass


THIS = Wanted()


class Attribute:
    def __init__(self, app: Any) -> None:
        self.anything = {"round": [app]}

    async def __call__(self, *_: Any) -> None:
        pass


class Slot:
    __slots__ = ("app",)

    def __init__(self, app: Any) -> None:
        self.app = app


class Global:
    """Knows it by its module."""

    async def __call__(self, *given: Any) -> None:
        await THIS(*given)


def closure(app: Any) -> Any:
    async def middleware(*given: Any) -> None:
        await app(*given)

    return middleware


def decorated(app: Any) -> Any:
    @wraps(closure(app))
    async def another(*given: Any) -> None:
        pass

    return another


async def of_its_module(*given: Any) -> None:
    await THIS(*given)


async def with_argument(app: Any, *given: Any) -> None:
    pass


@pytest.mark.parametrize(
    "app",
    [
        THIS,
        Attribute(THIS),
        Attribute(THIS).__call__,
        Slot(THIS),
        Global(),
        closure(THIS),
        closure(Attribute(closure(THIS))),
        decorated(THIS),
        of_its_module,
        partial(with_argument, THIS),
        ProtocolTypeRouter({"http": URLRouter([re_path("", closure(THIS))])}),
        ProtocolTypeRouter({"websocket": Attribute(None), "http": THIS}),
    ],
)
def test_it_is_found_round_what_may_be(app: Any) -> None:
    assert found_in(app, Wanted) == [THIS]


def test_a_handler_of_static_files_holds_another_one() -> None:
    files = Wanted(THIS)
    assert found_in(closure(files), Wanted) == [files, THIS]


def test_what_is_lazy_stays_asleep() -> None:
    def wake() -> Any:
        raise AssertionError("it was woken up")

    assert found_in(Attribute(SimpleLazyObject(wake)), Wanted) == []


def test_what_has_none_has_an_end() -> None:
    assert found_in(get_asgi_application(), Wanted) == []
    circle: list[Any] = []
    circle.append(circle)
    assert found_in(circle, Wanted) == []
