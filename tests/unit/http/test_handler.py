"""Rule 13: the gateway's own HTTP, whatever the project's settings are."""

from __future__ import annotations

import json
import logging
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import MiddlewareNotUsed, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

from sockets.http import handler as module
from sockets.http.handler import GatewayHandler, own_hosts, urls
from sockets.types import Surface
from tests.support.asgi_client import GatewayClient, answer

PUBLIC, PRIVATE, BOTH = Surface.PUBLIC, Surface.PRIVATE, Surface.BOTH


class Refuses:
    """A middleware that lets nothing through, as one for unknown paths would."""

    def __init__(self, get_response: Any) -> None:
        pass

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("closed for the season", status=418)


class Breaks:
    def __init__(self, get_response: Any) -> None:
        raise MiddlewareNotUsed("never")


HOSTILE: list[dict[str, Any]] = [
    {"MIDDLEWARE": [f"{__name__}.Refuses"]},
    {"MIDDLEWARE": [f"{__name__}.Breaks"], "ROOT_URLCONF": "no.such.module"},
    {"FORCE_SCRIPT_NAME": "/shop"},
    {"FORCE_SCRIPT_NAME": "/api"},
    {"DATA_UPLOAD_MAX_MEMORY_SIZE": 1},
    {"DATA_UPLOAD_MAX_NUMBER_FIELDS": 1},
    {"ALLOWED_HOSTS": []},
    {"ALLOWED_HOSTS": ["shop.example"]},
    {"APPEND_SLASH": True},
    {"DEBUG": True},
    {"INSTALLED_APPS": ["sockets"]},
    {"TEMPLATES": []},
    {"USE_I18N": True, "LANGUAGE_CODE": "de"},
    {"SECURE_SSL_REDIRECT": True, "PREPEND_WWW": True},
]


@pytest.mark.parametrize("given", HOSTILE, ids=lambda given: "+".join(given))
async def test_settings_of_the_site_do_not_reach_it(settings: Any, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name != "INSTALLED_APPS":  # read at the start: here for whoever looks again
            setattr(settings, name, value)
    client = GatewayClient(PRIVATE)
    assert json.loads((await client.get("/healthz")).content) == {"status": "ok"}
    refused = await client.get("/api/v1/nodes")
    assert (refused.status_code, refused["Content-Type"]) == (401, "application/problem+json")
    missing = await client.get("/api/v1/none?a=1&b=2&c=3")
    assert (missing.status_code, missing["Content-Type"]) == (404, "application/problem+json")
    body = json.dumps({"event": "e", "data": "x" * 100})
    posted = await client.post("/api/v1/users/1/messages", body, content_type="application/json")
    assert posted.status_code == 401
    docs = await client.get("/api/v1/docs")
    assert docs.status_code == 200 and b"swagger-ui-bundle.js" in docs.content


async def test_transactions_round_each_request_are_the_site_s(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django refuses an asynchronous view with them, and a synchronous one would wait."""
    from django.db import connections

    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    assert (await GatewayClient(PRIVATE).get("/healthz")).status_code == 200
    assert (await GatewayClient(PRIVATE).get("/api/v1/openapi.json")).status_code == 200


@pytest.mark.parametrize("propagate", [False, True])
@pytest.mark.parametrize(
    ("raised", "status", "text"),
    [
        (Http404("no"), 404, b"Not found\n"),
        (PermissionDenied("no"), 403, b"Forbidden\n"),
        (SuspiciousOperation("no"), 400, b"Bad request\n"),
        (RuntimeError("no"), 500, b"Server error\n"),
    ],
)
async def test_no_error_is_a_debug_page(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raised: Exception,
    status: int,
    text: bytes,
    propagate: bool,
) -> None:
    """The log has what it says, and whoever listens for errors hears of it."""
    settings.DEBUG, settings.DEBUG_PROPAGATE_EXCEPTIONS = True, propagate
    heard: list[Any] = []

    def hear(**given: Any) -> None:
        heard.append(given["request"].path)

    async def fails(request: HttpRequest) -> HttpResponse:
        raise raised

    broken: Any = ModuleType("broken")
    broken.urlpatterns = [path("healthz", fails)]
    monkeypatch.setattr(module, "urls", lambda *_: broken)
    client = GatewayClient(PUBLIC)
    client.raise_request_exception = False
    got_request_exception.connect(hear)
    try:
        with caplog.at_level(logging.WARNING, "django.request"):
            response = await client.get("/healthz")
    finally:
        got_request_exception.disconnect(hear)
    assert (response.status_code, response.content) == (status, text)
    assert "Content-Security-Policy" in response.headers
    assert heard == (["/healthz"] if status == 500 else [])
    assert sum("/healthz" in one.getMessage() for one in caplog.records) == 1
    assert ("RuntimeError: no" in caplog.text) is (status == 500)


@pytest.mark.parametrize("where", ["/none", "/healthz;x", "/api/v1/nodes;x"])
async def test_what_is_not_there_is_no_debug_page(settings: Any, where: str) -> None:
    settings.DEBUG = True
    response = await GatewayClient(PUBLIC).get(where)
    assert (response.status_code, response.content) == (404, b"Not found\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:4001", 200),
        ("127.0.0.1", 200),
        ("[::1]:4001", 200),
        ("shop.example", 200),
        ("gw.example:4000", 200),
        ("workers.internal", 200),
        ("evil.example", 400),
        ("", 400),
    ],
)
async def test_which_hosts(settings: Any, host: str, status: int) -> None:
    settings.ALLOWED_HOSTS = ["shop.example"]
    settings.GATEWAY = {
        **settings.GATEWAY,
        "client_socket_url": "wss://gw.example",
        "worker_socket_url": "ws://workers.internal:4001",
    }
    response = await GatewayClient(PUBLIC).get("/gateway.js", headers={"host": host})
    assert response.status_code == status


def test_this_machine_is_one_of_them() -> None:
    from sockets.conf import Conf

    assert {"localhost", "127.0.0.1", "[::1]"} < set(own_hosts(Conf()))


async def test_a_body_is_bounded_under_any_server(settings: Any) -> None:
    settings.GATEWAY = {**settings.GATEWAY, "body_private": 2_000}
    client = GatewayClient(PRIVATE)
    small = await client.post("/api/v1/users/1/messages", b"x" * 2_000, content_type="text/plain")
    large = await client.post("/api/v1/users/1/messages", b"x" * 2_001, content_type="text/plain")
    assert (small.status_code, large.status_code) == (401, 413)
    assert json.loads(large.content)["detail"] == "a body has at most 2,000 bytes"


async def test_strangers_send_little_under_any_server(settings: Any) -> None:
    """In many small parts too: no more of it is read, nor kept."""
    settings.GATEWAY = {**settings.GATEWAY, "body_public": 2_000}
    left = 1_000
    sent: list[Any] = []

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": b"x" * 100, "more_body": left > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/healthz", "headers": []}
    await GatewayHandler()(scope | {"gateway.surface": PUBLIC}, receive, send)
    assert (sent[0]["status"], left) == (413, 1_000 - 21)


async def test_who_goes_away_is_let_go() -> None:
    """No body is waited for that does not come."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/healthz", "headers": []}
    await GatewayHandler()(scope | {"gateway.surface": PRIVATE}, receive, send)
    assert sent == []


async def test_the_api_s_path_is_a_setting(settings: Any) -> None:
    settings.GATEWAY = {**settings.GATEWAY, "api_path": "/gw/api/"}
    client = GatewayClient(PRIVATE)
    assert (await client.get("/gw/api/nodes")).status_code == 401
    assert (await client.get("/api/v1/nodes")).status_code == 404
    missing = await client.get("/gw/api/none")
    assert json.loads(missing.content)["detail"].endswith("see /gw/api/docs")
    document = json.loads((await client.get("/gw/api/openapi.json")).content)
    assert all(path.startswith("/gw/api/") for path in document["paths"])
    slash = await client.get("/gw/api/nodes/")
    assert "it is /gw/api/nodes" in json.loads(slash.content)["detail"]


async def test_below_a_path_of_the_server_the_document_says_so() -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/below/api/v1/openapi.json"}
    scope |= {"root_path": "/below", "headers": [(b"host", b"localhost")], "query_string": b""}
    response = await answer(GatewayHandler(), scope | {"gateway.surface": PRIVATE})
    assert all(path.startswith("/below/api/v1/") for path in json.loads(response.content)["paths"])


def test_a_surface_s_urls_are_made_once() -> None:
    assert urls(PRIVATE, "/api/v1/") is urls(PRIVATE, "/api/v1/")
    assert urls(PRIVATE, "/api/v1/") is not urls(BOTH, "/api/v1/")


def test_the_chain_has_headers_first() -> None:
    assert module._CHAIN[0].__name__ == "HeadersMiddleware"
