"""CORS for the HTTP API: which foreign pages may call it. API_ORIGIN lists them; unset: none, but
in development those of this machine.

Never with credentials: a call proves itself by the key in its Authorization header, and cookies
mean nothing here. A page that is not listed can still send what browsers send unasked (a form's
POST), and it gets no answer to read; without the key it is a 401 like any other.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from sockets.auth.origins import (
    how_to_admit,
    listed,
    normalise,
    origins_of,
    refuse_origin,
    rules_of,
)
from sockets.conf import get_conf
from sockets.http.middleware.base import Answer, Middleware, Next, is_api, scope_of
from sockets.http.pages import forbidden
from sockets.types import Surface

MAX_AGE = 600  # seconds that a browser may keep the answer to its preflight
_ALLOWED = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Max-Age": str(MAX_AGE),
}
_ASKED = ("Access-Control-Request-Method", "Access-Control-Request-Headers")
_EXPOSED = "Retry-After"


class CorsMiddleware(Middleware):
    """Answers preflights of /api/ and tells browsers which pages may read the rest.

    A preflight that is refused is a plain 403, counted and audited, whose body says in development
    what to set. It comes before whatever makes an answer, so that pages can read errors too.
    """

    def __init__(self, get_response: Next) -> None:
        super().__init__(get_response)
        self._conf = get_conf()
        self._rules = rules_of(self._conf.api_origins)
        self._develops = self._conf.environment == "development"
        self._has_pages = bool(self._rules) or self._develops

    def __call__(self, request: HttpRequest) -> Answer:
        if not is_api(request):
            answer: Answer = self.get_response(request)
            return answer
        if request.method == "OPTIONS" and _ASKED[0] in request.headers:
            return self.answer(self._preflight(request))
        if self.is_async:
            return self._later(request)
        return self._mark(request, self.get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return self._mark(request, await self.get_response(request))

    def _allowed(self, request: HttpRequest) -> str:
        """Return the page's origin as it came, if it is allowed; else ""."""
        given = origins_of(scope_of(request))
        origin = normalise(given[0]) if len(given) == 1 else None
        if origin is None or not listed(origin, self._rules, self._conf):
            return ""
        return given[0]

    def _preflight(self, request: HttpRequest) -> HttpResponse:
        origin = self._allowed(request)
        if not origin:
            refuse_origin(scope_of(request), Surface.PRIVATE, self._conf)
            response = forbidden(request)
            if self._develops:
                response.content = (
                    f"{how_to_admit(scope_of(request), Surface.PRIVATE, self._conf)}\n"
                )
        else:
            response = HttpResponse(status=204, headers=_ALLOWED)
            response.headers["Access-Control-Allow-Origin"] = origin
        if self._has_pages:
            patch_vary_headers(response, ("Origin", *_ASKED))
        return response

    def _mark(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not self._has_pages:
            return response
        patch_vary_headers(response, ("Origin",))
        if origin := self._allowed(request):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return response
