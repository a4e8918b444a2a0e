"""User ids in paths: any string comes as it was sent, and a slash too many is seen."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from django.conf import LazySettings
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path, register_converter
from django.urls.converters import REGISTERED_CONVERTERS

from sockets.http.paths import SegmentConverter, keep_segments, other_slash


@pytest.fixture
def urls(settings: LazySettings) -> ModuleType:
    """Two paths: one has a slash at its end, the other has none."""

    def view(request: HttpRequest, **_: str) -> HttpResponse:
        return HttpResponse()

    if "any_segment" not in REGISTERED_CONVERTERS:
        register_converter(SegmentConverter, "any_segment")
    made: Any = ModuleType("urls")
    made.urlpatterns = [
        path("api/v1/users/<any_segment:user>", view),
        path("page/", view),
        path("api/v1/", view),
    ]
    settings.ROOT_URLCONF = made
    found: ModuleType = made
    return found


def request(raw: bytes) -> Any:
    made: Any = RequestFactory().get("/")
    made.path_info = "/api/v1/…" if raw.startswith(b"/api/v1/") else raw.decode()
    made.scope = {"raw_path": raw}
    return made


@pytest.mark.parametrize(
    ("raw", "decoded", "user"),
    [
        (b"/api/v1/users/a%20b", "/api/v1/users/a b", "a b"),
        (b"/api/v1/users/a%2Fb%2fc", "/api/v1/users/a%2Fb%2Fc", "a/b/c"),
        (b"/api/v1/users/100%25", "/api/v1/users/100%25", "100%"),
        (b"/api/v1/users/%252F", "/api/v1/users/%252F", "%2F"),
        (b"/api/v1/users/%ED%95%9C?a=b", "/api/v1/users/한", "한"),
        (b"/api/v1/users/50%", "/api/v1/users/50%", "50%"),
    ],
)
def test_a_segment_is_what_was_sent(raw: bytes, decoded: str, user: str) -> None:
    asked = request(raw)
    assert keep_segments(asked) and asked.path_info == decoded
    assert SegmentConverter().to_python(decoded.rpartition("/")[2]) == user


def test_a_path_that_is_no_utf_8_is_none() -> None:
    assert not keep_segments(request(b"/api/v1/users/%ff"))


@pytest.mark.parametrize("scope", [{"raw_path": b"/admin/%2F"}, {}, {"raw_path": None}])
def test_other_paths_stay_as_they_are(scope: dict[str, Any]) -> None:
    asked = request(b"/admin//")
    asked.scope = scope
    assert keep_segments(asked) and asked.path_info == "/admin//"


@pytest.mark.parametrize(
    ("path_info", "other"),
    [
        ("/page", "/page/"),
        ("/api/v1/users/42/", "/api/v1/users/42"),
        ("/api/v1/users/a%2Fb/", "/api/v1/users/a%2Fb"),
        ("/api/v1/users/한/", "/api/v1/users/%ED%95%9C"),
        ("/api/v1/users/\ufffd/", ""),
        ("/api/v1", ""),
        ("/nothing", ""),
        ("/healthz/", "/healthz"),  # of the gateway's own, in the project's URLs too
        ("/metrics/", ""),  # which the public surface has not
    ],
)
def test_who_has_missed_a_slash_is_told(urls: ModuleType, path_info: str, other: str) -> None:
    asked: Any = RequestFactory().get("/")
    asked.path_info = path_info
    assert other_slash(asked) == other


@pytest.mark.parametrize(
    ("path_info", "surfaces"),
    [
        ("/healthz/", {"public", "private", "both"}),
        ("/gateway.js/", {"public", "both"}),
        ("/metrics/", {"private", "both"}),
    ],
)
def test_pages_of_a_project_know_the_gateway_s_paths(
    urls: ModuleType, path_info: str, surfaces: set[str]
) -> None:
    """They are in no URLconf of it, and on each surface others are there."""
    for surface in ("public", "private", "both"):
        asked: Any = RequestFactory().get("/")
        asked.path_info, asked.scope = path_info, {"gateway.surface": surface}
        assert other_slash(asked) == (path_info[:-1] if surface in surfaces else "")
