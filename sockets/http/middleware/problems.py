"""Errors of the HTTP API are problem JSON, those that Django makes too."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from sockets.base import metrics
from sockets.http.middleware.base import Answer, Middleware, is_api
from sockets.http.paths import other_slash
from sockets.http.problems import of_text


class ProblemMiddleware(Middleware):
    """Counts the calls of the HTTP API, and turns what is no problem JSON into it."""

    def __call__(self, request: HttpRequest) -> Answer:
        if not is_api(request):
            response: Answer = self.get_response(request)
            return response
        if self.is_async:
            return self._later(request)
        return _as_problem(request, self.get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return _as_problem(request, await self.get_response(request))


def _as_problem(request: HttpRequest, response: Any) -> HttpResponseBase:
    metrics.count_api_request(response.status_code)
    return of_text(response, other_slash(request) if response.status_code == 404 else "")
