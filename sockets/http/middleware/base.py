"""A middleware that works in both of Django's ways, and which requests it is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from sockets.conf import get_conf
from sockets.types import Surface

# A middleware is called in the way of what it wraps: both give a response or promise one.
Answer = HttpResponseBase | Awaitable[HttpResponseBase]
Next = Callable[[HttpRequest], Any]


def scope_of(request: HttpRequest) -> dict[str, Any]:
    """The request's ASGI scope; empty where it came by another way."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    return scope


def surface_of(request: HttpRequest) -> Surface:
    """The surface that the server wrote into the scope, else SURFACE; never private unsaid."""
    return Surface(scope_of(request).get("gateway.surface", get_conf().surface))


def is_api(request: HttpRequest) -> bool:
    """Whether this is a call of the HTTP API."""
    begins = request.path_info.startswith(get_conf().api_path)
    return begins and surface_of(request) is not Surface.PUBLIC


class Middleware:
    """A middleware that needs no thread, whether what it wraps is asynchronous or not."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)  # type: ignore[type-var]  # the stubs know functions only

    def answer(self, response: HttpResponseBase) -> Answer:
        """A response that is ready, in the way that this middleware is called."""
        return _promised(response) if self.is_async else response


async def _promised(response: HttpResponseBase) -> HttpResponseBase:
    return response
