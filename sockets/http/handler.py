"""The gateway's own HTTP, in any project: requests that the project's settings do not reach.

Its middleware, URLs and body limit are its own. The project's middleware and URLconf, its limits of
uploads, its transactions round each request, its script name and debug pages are of its site.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    PermissionDenied,
    RequestAborted,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest
from django.http.multipartparser import MultiPartParserError
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, set_script_prefix, set_urlconf
from django.utils.log import log_response

from sockets.base.hosts import hosts_of
from sockets.base.scope import path_of
from sockets.conf import Conf, get_conf
from sockets.http import browser, docs, ops, pages
from sockets.http.api import api
from sockets.http.middleware.cors import CorsMiddleware
from sockets.http.middleware.forms import FormMiddleware
from sockets.http.middleware.headers import HeadersMiddleware
from sockets.http.middleware.problems import ProblemMiddleware
from sockets.http.problem import problem
from sockets.types import Surface

_CHAIN = (HeadersMiddleware, FormMiddleware, CorsMiddleware, ProblemMiddleware)
_HERE = ("localhost", ".localhost", "127.0.0.1", "[::1]")


class Urls:
    """The gateway's URLconf of one surface."""

    handler400 = staticmethod(pages.bad_request)
    handler403 = staticmethod(pages.forbidden)
    handler404 = staticmethod(pages.not_found)
    handler500 = staticmethod(pages.server_error)

    def __init__(self, surface: Surface, api_path: str) -> None:
        self.urlpatterns: list[URLPattern | URLResolver] = [path("healthz", ops.healthz)]
        if surface is not Surface.PRIVATE:
            self.urlpatterns += [
                path("gateway.js", browser.client),
                path("gateway.js.map", browser.source_map),
            ]
        if surface is not Surface.PUBLIC:
            root = api_path.lstrip("/")
            self.urlpatterns += [
                path("readyz", ops.readyz),
                path("metrics", ops.metrics),
                path(f"{root}docs", docs.page),
                path(f"{root}docs/<str:name>", docs.asset),
                path(root, api.urls),
            ]


@lru_cache(maxsize=8)
def urls(surface: Surface, api_path: str) -> Urls:
    """Return the URLs of a surface, always the same ones."""
    return Urls(surface, api_path)


class Request(ASGIRequest):
    """A request of the gateway's own: it knows its URLs and hosts, and has a bounded body."""

    def __init__(self, scope: Any, body_file: Any) -> None:
        super().__init__(scope, body_file)
        conf = get_conf()
        # Django would put the script name that the project forces before it.
        self.script_name = self.META["SCRIPT_NAME"] = ""
        self.path = self.path_info = self.META["PATH_INFO"] = path_of(scope)
        surface = Surface(scope.get("gateway.surface", conf.surface))
        self.urlconf: Any = urls(surface, conf.api_path)

    def get_host(self) -> str:
        """Return the host that was asked for. Raises DisallowedHost for one that is not ours."""
        host: str = self._get_raw_host()  # type: ignore[attr-defined]  # unknown to the stubs
        name, _port = split_domain_port(host)
        if name and validate_host(name, [*settings.ALLOWED_HOSTS, *own_hosts(get_conf())]):
            return host
        raise DisallowedHost("Invalid HTTP_HOST header: add the host's name to ALLOWED_HOSTS")

    @property
    def body(self) -> bytes:
        """Return the body, which has been bounded on its way."""
        if not hasattr(self, "_body"):
            self._body: bytes = self.read()
            self._stream = BytesIO(self._body)
        return self._body


@lru_cache(maxsize=4)
def _hosts(client_url: str | None, worker_url: str | None) -> tuple[str, ...]:
    return (*_HERE, socket.gethostname().lower(), *hosts_of(client_url, worker_url))


def own_hosts(conf: Conf) -> tuple[str, ...]:
    """Return the names that this machine and both socket URLs have, whatever ALLOWED_HOSTS says."""
    return _hosts(conf.client_socket_url, conf.worker_socket_url)


class Handling:
    """What makes a handler of Django's the gateway's. Mixed into one."""

    _view_middleware: list[Any]
    _template_response_middleware: list[Any]
    _exception_middleware: list[Any]
    _middleware_chain: Callable[[HttpRequest], Any]
    _get_response_async: Callable[[HttpRequest], Any]

    def load_middleware(self, is_async: bool = True) -> None:
        """Take the gateway's own middleware, and not the project's."""
        self._view_middleware = []
        self._template_response_middleware = []
        self._exception_middleware = []
        handler: Any = _answering(self._get_response_async)
        for middleware in reversed(_CHAIN):
            handler = _answering(middleware(handler))
        self._middleware_chain = handler

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer as Django's does; errors before any view have the gateway's pages too."""
        set_urlconf(request.urlconf)
        set_script_prefix(request.scope.get("root_path") or "/")  # type: ignore[attr-defined]
        response: Any = await self._middleware_chain(request)
        response._resource_closers.append(request.close)
        if response.status_code >= 400:
            await asyncio.to_thread(_log, response, request)
        found: HttpResponseBase = response
        return found

    def make_view_atomic(self, view: Any) -> Any:
        """Return the view as it is: transactions round each are for those of the site."""
        return view


def _answering(get_response: Any) -> Any:
    """Have errors answered as Django does, but by the gateway's own pages, in DEBUG too."""

    async def answer(request: HttpRequest) -> HttpResponseBase:
        try:
            response: HttpResponseBase = await get_response(request)
        except Http404 as error:
            return pages.not_found(request, error)
        except PermissionDenied as error:
            return pages.forbidden(request, error)
        except (SuspiciousOperation, BadRequest, MultiPartParserError) as error:
            name = f"django.security.{type(error).__name__}"
            await asyncio.to_thread(logging.getLogger(name).error, "%s", error)
            return pages.bad_request(request, error)
        except Exception as error:
            got_request_exception.send(sender=None, request=request)
            response = pages.server_error(request)
            await asyncio.to_thread(_log, response, request, error)
        return response

    return answer


def _log(response: Any, request: HttpRequest, error: Any = None) -> None:
    """Write the line that Django writes, once."""
    why, given = response.reason_phrase, {"response": response, "request": request}
    log_response("%s: %s", why, request.path, exception=error, **given)


class GatewayHandler(Handling, ASGIHandler):
    """Serves the gateway's own HTTP. The scope has its surface."""

    request_class = Request

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; 413 for a body that is too large under any server."""
        conf = get_conf()
        public = Surface(scope.get("gateway.surface", conf.surface)) is Surface.PUBLIC
        most = conf.body_public if public else conf.body_private
        try:
            await super().handle(scope, _bounded(receive, most), send)
        except RequestDataTooBig:
            await self.send_response(problem(413, f"a body has at most {most:,} bytes"), send)

    async def read_body(self, receive: Any) -> BytesIO:
        """Return the body, in memory. Raises RequestDataTooBig, RequestAborted."""
        body = BytesIO()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            body.write(message.get("body", b""))
            if not message.get("more_body", False):
                body.seek(0)
                return body


def _bounded(receive: Any, most: int) -> Any:
    """Return `receive` for a body of at most so many bytes; raises RequestDataTooBig for more."""
    size = 0

    async def receive_bounded() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise RequestDataTooBig
        return message

    return receive_bounded
