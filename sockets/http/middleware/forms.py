"""Which requests are refused before any view: for what they are, or for whom they name."""

from __future__ import annotations

import asyncio
import logging

from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from sockets.http import pages
from sockets.http.middleware.base import Answer, Middleware, scope_of
from sockets.http.own_paths import OPERATIONS
from sockets.http.paths import keep_segments
from sockets.http.problem import problem

_security = logging.getLogger("django.security.DisallowedHost")

MAX_MEMBERS = 1_000
"""Of a query, as of Django's DATA_UPLOAD_MAX_NUMBER_FIELDS."""


class FormMiddleware(Middleware):
    """Refuses paths and queries that can be read in two ways, and foreign host names.

    Health and metrics are asked by machines that know an address only, so their host name does not
    matter.
    """

    def __call__(self, request: HttpRequest) -> Answer:
        if request.META.get("QUERY_STRING", "").count("&") >= MAX_MEMBERS:
            # Django would find that out each time that it reads them: in its page of the error too.
            return self.answer(problem(400, f"a query has at most {MAX_MEMBERS:,} members here"))
        if not keep_segments(request):
            return self.answer(problem(422, "the path is no UTF-8", code="invalid_request"))
        if _has_parameters(request):
            return self.answer(pages.not_found(request, Http404("no parameters (;) here")))
        if request.path_info not in OPERATIONS:
            try:
                request.get_host()
            except DisallowedHost as error:
                return self._foreign(request, error)
        response: Answer = self.get_response(request)
        return response

    def _foreign(self, request: HttpRequest, error: DisallowedHost) -> Answer:
        """Answer 400 and write Django's line, but not by Django: in DEBUG it would show settings,
        also to a page whose name leads to this machine all of a sudden (DNS rebinding)."""
        if self.is_async:
            return self._foreign_later(request, error)
        _security.error("%s", error)
        return pages.bad_request(request, error)

    async def _foreign_later(self, request: HttpRequest, error: DisallowedHost) -> HttpResponseBase:
        await asyncio.to_thread(_security.error, "%s", error)
        return pages.bad_request(request, error)


def _has_parameters(request: HttpRequest) -> bool:
    """Whether the path has a `;` that is not percent-encoded: a proxy before us may read what
    follows as parameters of the path (RFC 3986 section 3.3), and take it for another one."""
    raw: bytes = scope_of(request).get("raw_path") or b""
    return b";" in raw.partition(b"?")[0]
