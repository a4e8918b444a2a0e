"""The URLs of each surface, and the admin's own stack.

Django's middleware hops to a thread for each request and class, so sessions, languages,
authentication and messages are run for /admin/ alone. Every other path is public, and cookies mean
nothing to it. CSRF: the admin's views carry `csrf_protect` themselves; the middleware would cost
every request a hop and its cookie reaches /admin/ only.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import translation

from sockets.base import audit
from sockets.base.client_address import client_of
from sockets.conf import get_conf
from sockets.http.middleware.base import Answer, Middleware, Next, scope_of, surface_of
from sockets.types import Surface


class SurfaceMiddleware(Middleware):
    """Gives each request the URLs of its surface, and the client's own address behind proxies.

    An early one: what follows may rely on both.
    """

    urlconfs = {
        Surface.PUBLIC: "gateway.urls_public",
        Surface.PRIVATE: "gateway.urls_private",
        Surface.BOTH: "gateway.urls_both",
    }

    def __call__(self, request: HttpRequest) -> Answer:
        request.urlconf = self.urlconfs[surface_of(request)]
        scope = scope_of(request)
        trusted = get_conf().trusted_proxies
        if client := client_of(scope.get("client"), scope.get("headers", ()), trusted):
            request.META["REMOTE_ADDR"], request.META["REMOTE_PORT"] = client
        answer: Answer = self.get_response(request)
        return answer


class _AdminOnly:
    """Skips the class that it is mixed into, for every path outside the admin."""

    get_response: Next

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith("/admin/") and surface_of(request) is not Surface.PUBLIC:
            return super().__call__(request)  # type: ignore[misc]
        return self.get_response(request)


class AdminSessionMiddleware(_AdminOnly, SessionMiddleware):
    """Sessions of the admin."""


class AdminLocaleMiddleware(_AdminOnly, LocaleMiddleware):
    """The language of the operator's browser: one of LANGUAGES, else English."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        answer = super().process_response(request, response)
        translation.deactivate()  # a thread serves the next one in the same context
        return answer


class AdminAuthenticationMiddleware(_AdminOnly, AuthenticationMiddleware):
    """Staff; the audit log has the name of who acts."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        name = request.user.get_username() if request.user.is_authenticated else ""
        audit.actor.set(name and f"staff:{name}")

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        audit.actor.set("")  # a thread serves the next one in the same context
        return response


class AdminMessageMiddleware(_AdminOnly, MessageMiddleware):
    """The admin's "saved" and "failed" lines."""
