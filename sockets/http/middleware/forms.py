"""Which requests are refused before any view: for what they are, or for whom they name."""

from __future__ import annotations

from django.http import Http404, HttpRequest

from sockets.http.middleware.base import Answer, Middleware, scope_of
from sockets.http.own_paths import OPERATIONS
from sockets.http.paths import keep_segments
from sockets.http.problem import problem

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
            raise Http404("paths have no parameters (;) here")
        if request.path_info not in OPERATIONS:
            request.get_host()  # DisallowedHost, which Django answers with 400
        response: Answer = self.get_response(request)
        return response


def _has_parameters(request: HttpRequest) -> bool:
    """Whether the path has a `;` that is not percent-encoded: a proxy before us may read what
    follows as parameters of the path (RFC 3986 section 3.3), and take it for another one."""
    raw: bytes = scope_of(request).get("raw_path") or b""
    return b";" in raw.partition(b"?")[0]
