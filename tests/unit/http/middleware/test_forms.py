"""What is refused before any view; in both of Django's ways."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse

from sockets.http.middleware.forms import MAX_MEMBERS, FormMiddleware
from sockets.types import Surface


class Behind:
    """Notes the requests that came through."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def sync(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return HttpResponse("ok")

    async def later(self, request: HttpRequest) -> HttpResponse:
        return self.sync(request)


def request(path: str, surface: Surface | None = Surface.PRIVATE, **given: Any) -> ASGIRequest:
    raw = given.pop("raw", path.encode())
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "raw_path": raw}
    scope |= {"query_string": b"", "headers": [(b"host", b"localhost")]} | given
    if surface is not None:
        scope["gateway.surface"] = surface
    return ASGIRequest(scope, io.BytesIO())


def answer(asked: ASGIRequest, behind: Behind, way: str) -> Any:
    if way == "sync":
        return FormMiddleware(behind.sync)(asked)
    middleware: Any = FormMiddleware(behind.later)
    return async_to_sync(middleware)(asked)


both_ways = pytest.mark.parametrize("way", ["sync", "async"])


@both_ways
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request("/x", query_string=b"&" * MAX_MEMBERS), 400),
        (request("/api/v1/users/�", raw=b"/api/v1/users/%ff"), 422),
    ],
)
def test_what_cannot_be_read_is_a_problem(way: str, asked: ASGIRequest, status: int) -> None:
    behind = Behind()
    response = answer(asked, behind, way)
    assert response.status_code == json.loads(response.content)["status"] == status
    assert behind.requests == []


@both_ways
def test_so_many_members_are_taken(way: str) -> None:
    asked = request("/x", query_string=b"&" * (MAX_MEMBERS - 1))
    assert answer(asked, Behind(), way).status_code == 200


@both_ways
def test_paths_have_no_parameters(way: str) -> None:
    behind = Behind()
    refused = answer(request("/admin;x"), behind, way)
    assert (refused.status_code, refused.content) == (404, b"Not found\n")
    assert behind.requests == []
    assert answer(request("/admin;x", raw=b"/admin%3Bx?a;b"), behind, way).content == b"ok"


@both_ways
def test_foreign_hosts_are_refused_except_for_health(
    way: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DEBUG = True  # Django would show its settings
    foreign: dict[str, Any] = {"headers": [(b"host", b"evil.test")]}
    behind = Behind()
    with caplog.at_level(logging.ERROR, "django.security.DisallowedHost"):
        refused = answer(request("/admin/", **foreign), behind, way)
    assert (refused.status_code, refused.content) == (400, b"Bad request\n")
    assert behind.requests == []
    assert "'evil.test'" in caplog.text
    assert answer(request("/healthz", **foreign), Behind(), way).content == b"ok"


@both_ways
def test_api_paths_keep_their_segments(way: str) -> None:
    behind = Behind()
    answer(request("/api/v1/users/a/b", raw=b"/api/v1/users/a%2fb"), behind, way)
    assert behind.requests[0].path_info == "/api/v1/users/a%2Fb"
