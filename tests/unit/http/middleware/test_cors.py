"""Which pages may call the HTTP API, through Django's whole stack."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sockets.base import metrics
from sockets.types import Surface
from tests.support.asgi_client import GatewayClient

PAGE, OTHER = "https://office.example.com", "https://evil.test"
PATH = "/api/v1/none"
ASKED: dict[str, Any] = {"access-control-request-method": "POST"}


@pytest.fixture
def open_to(settings: Any) -> Any:
    def set_origins(*origins: str) -> None:
        settings.GATEWAY = {**settings.GATEWAY, "api_origins": origins}

    return set_origins


async def call(
    method: str, *origins: str, surface: Surface = Surface.PRIVATE, path: str = PATH, **headers: str
) -> Any:
    given = [(b"origin", origin.encode()) for origin in origins]
    given += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    client = GatewayClient(surface)
    client.raw_headers = given
    return await client.generic(method, path)


def cors(response: Any) -> dict[str, str]:
    found = {name.lower(): value for name, value in response.items()}
    return {name: found[name] for name in found if name.startswith("access-control-")}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_by_default_there_is_no_cors(method: str) -> None:
    response = await call(method, PAGE)
    assert cors(response) == {}
    assert "Origin" not in response.get("Vary", "")


@pytest.mark.parametrize("origins", [(PAGE,), (), (OTHER,)])
async def test_by_default_a_preflight_is_a_plain_403(
    origins: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    before = metrics.REFUSALS.labels("403")._value.get()
    response = await call("OPTIONS", *origins, **ASKED)
    assert (response.status_code, response.content) == (403, b"Forbidden\n")
    assert response["Content-Type"].startswith("text/plain")
    assert cors(response) == {}
    assert "Origin" not in response.get("Vary", "")
    (line,) = [record for record in caplog.records if record.name == "gateway.audit"]
    assert line.audit["surface"] == "private"  # type: ignore[attr-defined]
    assert line.audit.get("origin", "") == "".join(origins)  # type: ignore[attr-defined]
    assert metrics.REFUSALS.labels("403")._value.get() == before + 1


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ((PAGE,), True),
        (("https://OFFICE.example.com:443",), True),
        (("https://a.b.staff.example.com",), True),
        (("https://staff.example.com",), False),
        (("https://evilstaff.example.com",), False),
        (("http://office.example.com",), False),
        (("https://office.example.com:8443",), False),
        (("https://office.example.com.evil.test",), False),
        ((OTHER,), False),
        (("null",), False),
        (("",), False),
        ((PAGE, PAGE), False),
        ((PAGE, OTHER), False),
        ((), False),
    ],
)
async def test_only_listed_pages(open_to: Any, origins: tuple[str, ...], allowed: bool) -> None:
    open_to(PAGE, "https://*.staff.example.com")
    response = await call("OPTIONS", *origins, **ASKED)
    assert response.status_code == (204 if allowed else 403)
    assert response["Vary"].startswith("Origin, Access-Control-Request-Method")
    expected = {
        "access-control-allow-origin": origins[0] if origins else "",
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key",
        "access-control-max-age": "600",
    }
    assert cors(response) == (expected if allowed else {})
    answer = await call("GET", *origins)
    assert answer.status_code == 404, "served all the same: the browser keeps it from the page"
    assert "Origin" in answer["Vary"]
    shown = {
        "access-control-allow-origin": origins[0] if origins else "",
        "access-control-expose-headers": "Retry-After",
    }
    assert cors(answer) == (shown if allowed else {})


@pytest.fixture
def in_development(settings: Any) -> None:
    settings.DEBUG = True
    settings.GATEWAY = {**settings.GATEWAY, "environment": "development"}


@pytest.mark.usefixtures("in_development")
async def test_in_development_pages_of_this_machine_may() -> None:
    for page in ("http://localhost:5173", "https://app.localhost", "http://[::1]:3000"):
        response = await call("OPTIONS", page, **ASKED)
        assert response.status_code == 204
        assert cors(response)["access-control-allow-origin"] == page
        answer = await call("GET", page)
        assert cors(answer)["access-control-allow-origin"] == page
        assert "Origin" in answer["Vary"]
    assert cors(await call("GET", PAGE)) == {}


@pytest.mark.parametrize(
    ("origins", "said"),
    [
        ((OTHER,), f"API_ORIGIN={PAGE},{OTHER} "),
        (("ionic://localhost",), f"API_ORIGIN={PAGE},ionic://localhost "),
        (("null",), "python -m http.server"),
        (("https://evil.test/<script>",), "scheme://host[:port]"),
        ((), "scheme://host[:port]"),
    ],
)
@pytest.mark.usefixtures("in_development")
async def test_in_development_a_refused_preflight_says_what_to_set(
    open_to: Any, origins: tuple[str, ...], said: str
) -> None:
    open_to(PAGE)
    response = await call("OPTIONS", *origins, **ASKED)
    assert response.status_code == 403
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    text = response.content.decode()
    assert said in text and text.endswith("\n") and "<" not in text
    assert cors(response) == {}
    assert "Origin" in response["Vary"]


async def test_apps_may_be_listed_and_null_never(open_to: Any) -> None:
    open_to("capacitor://localhost", "null", "*")
    allowed = await call("OPTIONS", "capacitor://localhost", **ASKED)
    assert allowed.status_code == 204
    assert cors(allowed)["access-control-allow-origin"] == "capacitor://localhost"
    for origin in ("null", "capacitor://localhost:80", "http://localhost", OTHER):
        assert (await call("OPTIONS", origin, **ASKED)).status_code == 403
        assert cors(await call("GET", origin)) == {}


async def test_a_page_can_read_errors(open_to: Any) -> None:
    open_to(PAGE)
    for path, status in (("/api/v1/nodes", 401), ("/api/v1/none", 404)):
        response = await call("GET", PAGE, path=path)
        assert response.status_code == status
        assert cors(response)["access-control-allow-origin"] == PAGE
        assert response["Content-Type"] == "application/problem+json"


async def test_nothing_else_has_cors(open_to: Any) -> None:
    open_to(PAGE)
    for surface, path in (
        (Surface.PUBLIC, PATH),
        (Surface.PUBLIC, "/healthz"),
        (Surface.PRIVATE, "/admin/login/"),
        (Surface.PRIVATE, "/metrics"),
    ):
        for method in ("GET", "OPTIONS"):
            response = await call(method, PAGE, surface=surface, path=path, **ASKED)
            assert cors(response) == {}, path
            assert response.status_code != 204


async def test_options_that_is_no_preflight_is_an_ordinary_request(open_to: Any) -> None:
    open_to(PAGE)
    assert (await call("OPTIONS", PAGE, path="/api/v1/nodes")).status_code == 405
