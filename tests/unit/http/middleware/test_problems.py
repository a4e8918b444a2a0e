"""The middleware of problems: for calls of the HTTP API, in both of Django's ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from sockets.base import metrics
from sockets.http.middleware.problems import ProblemMiddleware
from sockets.types import Surface


def request(path: str, surface: Surface) -> HttpRequest:
    made: Any = RequestFactory().get(path)
    made.scope = {"gateway.surface": surface}
    found: HttpRequest = made
    return found


async def answer(path: str, surface: Surface, asynchronous: bool) -> HttpResponse:
    """Of an application that knows no path."""

    def sync(_: HttpRequest) -> HttpResponse:
        return HttpResponse("Not found", status=404)

    async def later(asked: HttpRequest) -> HttpResponse:
        return sync(asked)

    found: Any = ProblemMiddleware(later if asynchronous else sync)(request(path, surface))
    response: HttpResponse = await found if asynchronous else found
    return response


def counted() -> float:
    families = list(metrics.API_REQUESTS.collect())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name.endswith("_total")
    )


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_error_of_the_api_becomes_a_problem_and_is_counted(asynchronous: bool) -> None:
    before = counted()
    response = await answer("/api/v1/nothing", Surface.PRIVATE, asynchronous)
    assert json.loads(response.content)["code"] == "http_404"
    assert counted() == before + 1


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("path", "surface"),
    [("/admin/nothing", Surface.PRIVATE), ("/api/v1/nothing", Surface.PUBLIC)],
)
async def test_what_is_no_call_of_the_api_stays_as_it_is(
    path: str, surface: Surface, asynchronous: bool
) -> None:
    before = counted()
    response = await answer(path, surface, asynchronous)
    assert response.content == b"Not found" and counted() == before
