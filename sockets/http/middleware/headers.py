"""The headers that tell a browser what a page may do: every response has them.

What sets its own keeps it (the demo's page has a policy of its own). No policy allows inline
script, inline style or another host. Swagger UI, which shows the API's documents, has its icons as
data: URLs in its stylesheet.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from sockets.conf import Conf, get_conf
from sockets.http.middleware.base import Answer, Middleware, Next, surface_of
from sockets.types import Surface

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), hid=(), microphone=(), "
        "midi=(), payment=(), serial=(), usb=()"
    ),
}
_CSP = "Content-Security-Policy"
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OWN = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
_ENDS = "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
ADMIN = f"{_OWN}; img-src 'self'{_ENDS}"
API_DOCS = f"{_OWN}; img-src 'self' data:{_ENDS}"


class HeadersMiddleware(Middleware):
    """Adds the headers to every response. It stands first, so that what the others refuse has them
    too."""

    def __init__(self, get_response: Next) -> None:
        super().__init__(get_response)
        conf = get_conf()
        self._hsts = {surface: hsts(conf, surface) for surface in Surface}

    def __call__(self, request: HttpRequest) -> Answer:
        if self.is_async:
            return self._later(request)
        response: HttpResponseBase = self.get_response(request)
        return self._with_headers(request, response)

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return self._with_headers(request, await self.get_response(request))

    def _with_headers(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        headers, surface = response.headers, surface_of(request)
        for name, value in _ALWAYS.items():
            headers.setdefault(name, value)
        # Django's debug pages are one piece, style and script included.
        is_page = headers.get("Content-Type", "").startswith("text/html")
        if not (settings.DEBUG and response.status_code >= 400 and is_page):
            headers.setdefault(_CSP, policy(surface, request.path_info))
        if value := self._hsts[surface]:
            headers.setdefault("Strict-Transport-Security", value)
        return response


def policy(surface: Surface, path: str) -> str:
    """Return the Content-Security-Policy of a response that has none of its own."""
    if surface is not Surface.PUBLIC:
        if path.startswith("/admin/"):
            return ADMIN
        if path == f"{get_conf().api_path}docs":
            return API_DOCS
    return NOTHING


def hsts(conf: Conf, surface: Surface) -> str:
    """Return the Strict-Transport-Security of this surface, "" for none.

    Only where its URL says that it is reached by TLS, and not where the other surface has the same
    host name without TLS: browsers remember it for the name, and for all of its ports.
    """
    own, other = conf.client_socket_url, conf.worker_socket_url
    if surface is Surface.PRIVATE:
        own, other = other, own
    if not conf.hsts_seconds or own is None or not own.startswith("wss://"):
        return ""
    if other is not None and other.startswith("ws://") and _host(other) == _host(own):
        return ""
    return f"max-age={conf.hsts_seconds}"


def _host(url: str) -> str | None:
    return urlsplit(url).hostname
