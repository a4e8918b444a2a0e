"""What every response tells the browser, through Django's whole stack."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from sockets.conf import Conf
from sockets.http.middleware.headers import (
    ADMIN,
    API_DOCS,
    NOTHING,
    HeadersMiddleware,
    hsts,
    policy,
)
from sockets.types import Surface
from tests.support.asgi_client import GatewayClient, project

PUBLIC, PRIVATE, BOTH = Surface.PUBLIC, Surface.PRIVATE, Surface.BOTH
YEAR = 31_536_000


@pytest.fixture
def get(monkeypatch: pytest.MonkeyPatch) -> Any:
    whole = project(monkeypatch)

    async def ask(path: str, surface: Surface, **headers: str) -> Any:
        return await GatewayClient(surface, whole).get(path, headers=headers)

    return ask


@pytest.mark.parametrize("surface", [PUBLIC, PRIVATE])
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/healthz", {}),
        ("/none", {}),
        ("/gateway.js", {}),
        ("/admin/", {}),
        ("/admin/login/", {}),
        ("/static/admin/css/base.css", {}),
        ("/api/v1/docs", {}),
        ("/api/v1/nodes", {}),
        ("/metrics", {"host": "any.example"}),
        ("/none", {"host": "evil.example"}),  # 400, before there is a surface
    ],
)
async def test_every_response_has_them(
    get: Any, path: str, headers: dict[str, str], surface: Surface
) -> None:
    response = await get(path, surface, **headers)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    own = path == "/gateway.js" and surface is PUBLIC and response.status_code == 200
    assert response["Cross-Origin-Resource-Policy"] == ("cross-origin" if own else "same-origin")
    assert "camera=()" in response["Permissions-Policy"]
    rules = response["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(rules)
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in response


@pytest.mark.parametrize(
    ("surface", "path", "expected"),
    [
        (PRIVATE, "/admin/", ADMIN),
        (PRIVATE, "/admin/sockets/session/", ADMIN),
        (BOTH, "/admin/", ADMIN),
        (PUBLIC, "/admin/", NOTHING),
        (PRIVATE, "/administration", NOTHING),
        (PRIVATE, "/api/v1/docs", API_DOCS),
        (PUBLIC, "/api/v1/docs", NOTHING),
        (PRIVATE, "/api/v1/docs/x", NOTHING),
        (PRIVATE, "/api/v1/openapi.json", NOTHING),
        (PRIVATE, "/metrics", NOTHING),
    ],
)
def test_who_has_which_policy(surface: Surface, path: str, expected: str) -> None:
    assert policy(surface, path) == expected


def through(response: HttpResponse) -> HttpResponse:
    """This response behind the middleware."""
    answer = HeadersMiddleware(lambda _request: response)(RequestFactory().get("/x"))
    assert answer is response
    return response


def test_a_page_keeps_its_own_policy() -> None:
    own = HttpResponse(headers={"Content-Security-Policy": "default-src 'self'"})
    assert through(own)["Content-Security-Policy"] == "default-src 'self'"


@pytest.mark.parametrize("debug", [True, False])
def test_debug_pages_are_readable(settings: Any, debug: bool) -> None:
    settings.DEBUG = debug
    for status in (404, 500):
        bare = "Content-Security-Policy" not in through(HttpResponse(status=status))
        assert bare is debug
        plain = HttpResponse(status=status, content_type="text/plain")
        assert "Content-Security-Policy" in through(plain)
    assert "Content-Security-Policy" in through(HttpResponse())


@pytest.mark.parametrize(
    ("public", "private", "on_public", "on_private"),
    [
        ("wss://gw.example.com", None, True, False),
        ("wss://gw.example.com", "ws://gw.internal:4001", True, False),
        ("wss://gw.example.com", "wss://gw-admin.example.com", True, True),
        ("wss://gw.example.com", "wss://gw.example.com:8443", True, True),
        ("ws://gw.example.com", "wss://gw-admin.example.com", False, True),
        ("ws://gw.example.com", None, False, False),
        (None, None, False, False),
        # It holds for a host name with all of its ports: the plain one would be cut off.
        ("wss://gw.example.com", "ws://GW.example.com:4001", False, False),
        ("ws://gw.example.com", "wss://gw.example.com:8443", False, False),
    ],
)
async def test_hsts_where_there_is_tls(
    settings: Any, public: str | None, private: str | None, on_public: bool, on_private: bool
) -> None:
    urls = {"client_socket_url": public, "worker_socket_url": private}
    for surface, expected in ((PUBLIC, on_public), (PRIVATE, on_private)):
        assert hsts(Conf(**urls, hsts_seconds=YEAR), surface) == (  # type: ignore[arg-type]
            f"max-age={YEAR}" if expected else ""
        )
        assert hsts(Conf(**urls), surface) == ""  # type: ignore[arg-type]
        settings.GATEWAY = {**settings.GATEWAY, **urls, "hsts_seconds": 60}
        response = await GatewayClient(surface).get("/healthz")
        assert response.get("Strict-Transport-Security") == ("max-age=60" if expected else None)
