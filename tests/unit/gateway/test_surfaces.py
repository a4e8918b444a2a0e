"""Which surface answers what, through Django's whole stack with the scope that asgi.py makes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIRequest
from django.test import AsyncClient, Client

from sockets.auth.refused_pages import RefusalLog
from sockets.http import browser
from sockets.types import Shards, Surface
from tests.support.asgi_client import GatewayClient, project

PUBLIC, PRIVATE, BOTH = Surface.PUBLIC, Surface.PRIVATE, Surface.BOTH
ADMIN_FILE = "/static/admin/css/base.css"


@pytest.fixture
def get(monkeypatch: pytest.MonkeyPatch) -> Any:
    whole = project(monkeypatch)

    async def ask(path: str, surface: Surface | None, **extra: Any) -> Any:
        return await GatewayClient(surface, whole).get(path, **extra)

    return ask


@pytest.mark.parametrize(
    ("path", "public", "private"),
    [
        ("/healthz", 200, 200),
        ("/gateway.js", 200, 404),
        ("/gateway.js.map", 200, 404),
        ("/demo", 302, 404),
        ("/readyz", 404, 503),
        ("/favicon.ico", 404, 204),
        ("/metrics", 404, 200),
        ("/admin/", 404, 302),
        ("/admin", 404, 302),
        ("/admin/login/", 404, 200),
        (ADMIN_FILE, 404, 200),
        ("/static/", 404, 404),
        ("/static/admin/../../manage.py", 404, 404),
        ("/static/admin/css/none.css", 404, 404),
        ("/api/v1/nodes", 404, 401),
        ("/api/v1/docs", 404, 200),
        ("/api/v1/none", 404, 404),
        ("/.env", 404, 404),
    ],
)
async def test_who_answers_what(
    get: Any, path: str, public: int, private: int, sdk_file: Path
) -> None:
    assert (await get(path, PUBLIC)).status_code == public
    assert (await get(path, None)).status_code == public, "unknown never means private"
    assert (await get(path, PRIVATE)).status_code == private
    either = {public, private} - {404} or {404}
    assert (await get(path, BOTH)).status_code in either


async def test_the_demo_is_on_the_public_surface_only(get: Any) -> None:
    response = await get("/", PUBLIC)
    assert (response.status_code, response["Location"]) == (302, "/demo/")
    assert (await get("/", PRIVATE)).status_code == 404
    assert (await get("/demo/", PRIVATE)).status_code == 404


async def test_a_404_says_little(get: Any) -> None:
    response = await get("/admin/", PUBLIC)
    assert response.content == b"Not found\n"
    assert response["Content-Type"].startswith("text/plain")


async def test_foreign_host_names_are_refused_except_for_health(get: Any) -> None:
    host = {"headers": {"host": "evil.example"}}
    assert (await get("/gateway.js", PUBLIC, **host)).status_code == 400
    assert (await get("/admin/login/", PRIVATE, **host)).status_code == 400
    assert (await get("/healthz", PUBLIC, **host)).status_code == 200
    assert (await get("/metrics", PRIVATE, **host)).status_code == 200


async def test_headers_of_every_response(get: Any) -> None:
    for path in ("/healthz", ADMIN_FILE, "/none"):
        response = await get(path, PRIVATE)
        assert response["X-Content-Type-Options"] == "nosniff", path
        assert response["X-Frame-Options"] == "DENY", path


async def test_readyz_is_503_without_a_node(get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from sockets.node import node

    for current, status, reason in (
        (None, 503, "it is starting or stopping"),
        (SimpleNamespace(unready_because="Redis does not answer"), 503, "Redis does not answer"),
        (
            SimpleNamespace(unready_because=None, readiness=SimpleNamespace(shards=Shards())),
            200,
            None,
        ),
    ):
        monkeypatch.setattr(node, "current_node", lambda current=current: current)
        response = await get("/readyz", PRIVATE)
        assert response.status_code == status
        assert json.loads(response.content).get("reason") == reason


async def test_metrics_are_prometheus_text(get: Any) -> None:
    response = await get("/metrics", PRIVATE)
    assert response["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE " in response.content


async def test_only_safe_methods() -> None:
    for path in ("/healthz", "/gateway.js"):
        response = await GatewayClient(BOTH).post(path)
        assert response.status_code == 405, path


@pytest.fixture
async def sdk_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    file = tmp_path / "gateway.js"
    file.write_text("export const a = 1;\n")
    monkeypatch.setattr(browser, "SDK", file)
    browser._read.cache_clear()
    yield file
    browser._read.cache_clear()


async def test_the_sdk_is_a_module_for_any_origin(get: Any, sdk_file: Path) -> None:
    response = await get("/gateway.js", PUBLIC)
    assert response.content == b"export const a = 1;\n"
    assert response["Content-Type"] == "text/javascript; charset=utf-8"
    assert response["Access-Control-Allow-Origin"] == "*"
    assert "max-age" in response["Cache-Control"]
    again = await get("/gateway.js", PUBLIC, headers={"if-none-match": response["ETag"]})
    assert again.status_code == 304
    assert again.content == b""


class TestAdmin:
    """The admin works although its middleware runs for /admin/ alone and CSRF has none."""

    @pytest.fixture
    def staff(self, transactional_db: None) -> User:
        return User.objects.create_superuser("chief", password="a-long-passphrase")

    def post(self, client: Client, token: str | None) -> Any:
        form = {"username": "chief", "password": "a-long-passphrase", "next": "/admin/"}
        if token is not None:
            form["csrfmiddlewaretoken"] = token
        return client.post("/admin/login/", form)

    @pytest.fixture
    def client(self, monkeypatch: pytest.MonkeyPatch) -> Client:
        # The sync client has no scope: the surface is given in its place.
        monkeypatch.setattr(WSGIRequest, "scope", {"gateway.surface": PRIVATE}, raising=False)
        return Client(enforce_csrf_checks=True)

    def test_log_in_needs_the_csrf_token(self, client: Client, staff: User) -> None:
        assert self.post(client, None).status_code == 403
        page = client.get("/admin/login/")
        assert page.cookies["gateway_admin_csrf"]["path"] == "/admin/"
        response = self.post(client, page.context["csrf_token"])
        assert (response.status_code, response["Location"]) == (302, "/admin/")
        cookie = response.cookies["gateway_admin_session"]
        assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/admin/", True, "Lax")
        assert client.get("/admin/").status_code == 200

    @pytest.mark.parametrize(
        ("origin", "said"),
        [
            ("https://Admin.example", "set CSRF_TRUSTED_ORIGINS=https://admin.example and"),
            ("null", "python -m http.server"),
            ("https://evil.test/<script>", "scheme://host[:port]"),
        ],
    )
    def test_a_foreign_origin_is_told_what_to_set(
        self,
        origin: str,
        said: str,
        staff: User,
        monkeypatch: pytest.MonkeyPatch,
        settings: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """As behind a proxy that ends TLS; in development the answer says it too."""
        monkeypatch.setattr("sockets.auth.origins._refusals", RefusalLog())
        scope: dict[str, Any] = {"gateway.surface": PRIVATE}
        for environment in ("test", "development"):
            settings.DEBUG = environment == "development"
            settings.GATEWAY = {**settings.GATEWAY, "environment": environment}
            client = async_to_sync(AsyncClient(enforce_csrf_checks=True, **scope).post)
            response = client("/admin/login/", {}, headers={"origin": origin})
            assert response.status_code == 403
            text = response.content.decode()
            assert (said in text) is (environment == "development")
            assert "<script" not in text
        told = [line for line in caplog.records if line.name == "sockets.auth.refused_pages"]
        assert [said in line.getMessage() for line in told] == [True]

    def test_changes_need_the_csrf_token(self, client: Client, staff: User) -> None:
        client.force_login(staff)
        add = "/admin/auth/group/add/"
        assert client.post(add, {"name": "x"}).status_code == 403
        token = client.get(add).context["csrf_token"]
        form = {"name": "x", "csrfmiddlewaretoken": token}
        assert client.post(add, form).status_code == 302

    def test_the_session_is_unknown_elsewhere(self, client: Client, staff: User) -> None:
        client.force_login(staff)
        response = client.get("/favicon.ico")
        assert not hasattr(response.wsgi_request, "session")
        assert not hasattr(response.wsgi_request, "user")


async def test_the_map_that_the_browser_client_names_is_served(get: Any) -> None:
    named = browser.SDK.read_text().rpartition("sourceMappingURL=")[2].strip()
    response = await get(f"/{named}", PUBLIC)
    assert json.loads(response.content)["sources"] and response.content == browser.MAP.read_bytes()
    assert response["Content-Type"] == "application/json"
    assert response["Access-Control-Allow-Origin"] == "*"
