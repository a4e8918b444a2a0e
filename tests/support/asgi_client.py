"""Django's test client, through the gateway's own HTTP or through the whole application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_started
from django.http import HttpResponse
from django.test import AsyncClient

from examples.image_converter import assigner
from sockets.asgi import dispatch
from sockets.auth.admission import Admission
from sockets.conf import Conf
from sockets.http.handler import GatewayHandler
from sockets.types import Surface

request_started.disconnect(assigner.start)  # a test's requests start no assigner of the demo

Application = Callable[[Any, Any, Any], Awaitable[None]]


class GatewayClient(AsyncClient):
    """Asks an ASGI application; None: what answers the gateway's own paths, without a node."""

    def __init__(
        self, surface: Surface | None = Surface.PRIVATE, application: Application | None = None
    ) -> None:
        scope: dict[str, Any] = {} if surface is None else {"gateway.surface": surface}
        super().__init__(**scope)
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.handler: Any = _through(application or GatewayHandler())

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        base: Any = super()  # a method that its stubs do not show
        scope: dict[str, Any] = base._base_scope(**request)
        headers = [one for one in scope["headers"] if one != (b"host", b"testserver")]
        if not any(name == b"host" for name, _ in headers):
            headers.append((b"host", b"localhost"))  # which no test environment lets in by itself
        scope["headers"] = [*headers, *self.raw_headers]
        return scope


def _through(application: Application) -> Callable[[Any], Awaitable[HttpResponse]]:
    async def ask(scope: Any) -> HttpResponse:
        given = scope.pop("_body_file", None)
        scope.setdefault("raw_path", quote(scope["path"]).encode())
        response: Any = await answer(application, scope, given.read() if given else b"")
        response.asgi_request = ASGIRequest(scope, BytesIO())  # which Django's client looks for
        found: HttpResponse = response
        return found

    return ask


async def answer(application: Application, scope: Any, body: bytes = b"") -> HttpResponse:
    """What an application answers to one request."""
    given = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if given:
            return given.pop()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    start, *parts = sent
    response = HttpResponse(
        b"".join(part.get("body", b"") for part in parts), status=start["status"]
    )
    del response.headers["Content-Type"]
    for name, value in start["headers"]:
        key = name.decode("latin-1")
        if key.lower() == "set-cookie":
            response.cookies.load(value.decode("latin-1"))
        else:
            response.headers[key] = value.decode("latin-1")
    return response


def project(monkeypatch: pytest.MonkeyPatch) -> Application:
    """The whole application of this project, in a process whose node is never started."""

    async def ensure_node() -> Any:
        return SimpleNamespace(admission=Admission(Conf()))

    monkeypatch.setattr(dispatch, "ensure_node", ensure_node)
    from gateway.asgi import application

    return application
