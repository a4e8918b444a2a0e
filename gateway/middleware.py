"""What a request passes: its surface, problem JSON, static files, and the admin's own stack.

Django's middleware hops to a thread for each request and class, so sessions, authentication and
messages are run for /admin/ alone. Every other path is public or proves itself by a key in a
header, and cookies mean nothing to it. CSRF: the admin's views carry `csrf_protect` themselves;
the middleware would cost every request a hop and its cookie reaches /admin/ only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware

from sockets.base import audit, metrics
from sockets.http.paths import keep_segments, other_slash
from sockets.http.problem import problem
from sockets.http.problems import of_text
from sockets.types import Surface

# A middleware is called in the way of what it wraps: both give a response or promise one.
Answer = HttpResponseBase | Awaitable[HttpResponseBase]
Next = Callable[[HttpRequest], Any]

URLCONFS = {
    Surface.PUBLIC: "gateway.urls_public",
    Surface.PRIVATE: "gateway.urls_private",
    Surface.BOTH: "gateway.urls_both",
}
MAX_MEMBERS = 1_000
"""Of a query, as of Django's DATA_UPLOAD_MAX_NUMBER_FIELDS."""

_ANY_HOST = frozenset({"/healthz", "/readyz", "/metrics"})


def surface_of(request: HttpRequest) -> Surface:
    """The surface that `gateway.asgi` wrote into the scope; unknown never means private."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    return Surface(scope.get("gateway.surface", Surface.PUBLIC))


def is_api(request: HttpRequest) -> bool:
    """Whether this is a call of the HTTP API."""
    return request.path_info.startswith("/api/") and surface_of(request) is not Surface.PUBLIC


class Middleware:
    """A middleware that works in both of Django's ways without a thread."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)  # type: ignore[type-var]  # the stubs know functions only


class SurfaceMiddleware(Middleware):
    """Gives each request the addresses of its surface, and refuses foreign host names.

    An early one: what follows may rely on `request.urlconf`. Health and metrics are asked by
    machines that know an address only, so their host name does not matter.
    """

    def __call__(self, request: HttpRequest) -> Answer:
        request.urlconf = URLCONFS[surface_of(request)]
        if request.META.get("QUERY_STRING", "").count("&") >= MAX_MEMBERS:
            # Django would find that out each time that it reads them: in its page of the error too.
            refusal = problem(400, f"a query has at most {MAX_MEMBERS:,} members here")
            return _given(refusal) if self.is_async else refusal
        if not keep_segments(request):
            refusal = problem(422, "the path is no UTF-8", code="invalid_request")
            return _given(refusal) if self.is_async else refusal
        if _has_parameters(request):
            raise Http404("paths have no parameters (;) here")
        if request.path_info not in _ANY_HOST:
            request.get_host()  # DisallowedHost, which Django answers with 400
        response: Answer = self.get_response(request)
        return response


async def _given(response: HttpResponseBase) -> HttpResponseBase:
    return response


def _has_parameters(request: HttpRequest) -> bool:
    """Whether the path has a `;` that is not percent-encoded: a proxy before us may read what
    follows as parameters of the path (RFC 3986 section 3.3), and take it for another one."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    raw: bytes = scope.get("raw_path") or b""
    return b";" in raw.partition(b"?")[0]


class ProblemMiddleware(Middleware):
    """Errors of the HTTP API are problem JSON, those that Django makes too."""

    def __call__(self, request: HttpRequest) -> Answer:
        if not is_api(request):
            response: Answer = self.get_response(request)
            return response
        if self.is_async:
            return self._later(request)
        return _told(request, self.get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return _told(request, await self.get_response(request))


def _told(request: HttpRequest, response: Any) -> HttpResponseBase:
    metrics.count_api_request(response.status_code)
    return of_text(response, other_slash(request) if response.status_code == 404 else "")


class StaticMiddleware(ServeStaticMiddleware):
    """Static files, where the admin is: on the public surface there are none."""

    def __init__(self, get_response: Next) -> None:
        if settings.SERVESTATIC_USE_MANIFEST and not settings.STATIC_ROOT.is_dir():
            raise ImproperlyConfigured(
                f"STATIC_ROOT: {str(settings.STATIC_ROOT)!r} is missing; run: "
                "python manage.py collectstatic --no-input"
            )
        super().__init__(get_response)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if surface_of(request) is Surface.PUBLIC or not request.path_info.startswith(
            settings.STATIC_URL
        ):
            response: HttpResponseBase = await self.get_response(request)
            return response
        return await super().__call__(request)


class _AdminOnly:
    """Skips the class that it is mixed into for every path outside the admin."""

    get_response: Next

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith("/admin/") and surface_of(request) is not Surface.PUBLIC:
            return super().__call__(request)  # type: ignore[misc]
        return self.get_response(request)


class AdminSessionMiddleware(_AdminOnly, SessionMiddleware):
    """Sessions of the admin."""


class AdminAuthenticationMiddleware(_AdminOnly, AuthenticationMiddleware):
    """Staff; the audit log says who it was."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        name = request.user.get_username() if request.user.is_authenticated else ""
        audit.actor.set(name and f"staff:{name}")

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        audit.actor.set("")  # a thread serves the next one in the same context
        return response


class AdminMessageMiddleware(_AdminOnly, MessageMiddleware):
    """The admin's "saved" and "failed" lines."""
