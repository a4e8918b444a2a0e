"""The system checks: what each finds, and that the project's own settings pass."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.checks import CheckMessage, run_checks
from django.core.checks.registry import registry
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views import View

from sockets import checks
from sockets.asgi import with_gateway
from sockets.conf import Conf


def ids(found: list[CheckMessage]) -> list[str | None]:
    assert all(message.hint for message in found), "a message without a remedy"
    return [message.id for message in found]


def test_the_project_has_nothing_to_say() -> None:
    ours = [message for message in run_checks() if str(message.id).startswith("gateway.")]
    assert not ours


def test_django_runs_them(settings: LazySettings) -> None:
    settings.GATEWAY = {"layer": "no-such-alias"}
    assert "gateway.E001" in [message.id for message in run_checks(tags=["gateway"])]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lease_ttl": 10.0, "lease_renew": 6.0}, "LEASE_TTL"),
        ({"inbound_low": 64}, "INBOUND_LOW"),
        ({"auth": ("ldap",)}, "AUTH"),
        ({"no_such_thing": 1}, "no_such_thing"),
    ],
)
def test_e004_settings_that_contradict_each_other(
    settings: LazySettings, given: dict[str, Any], said: str
) -> None:
    settings.GATEWAY = given
    [error] = checks.check_settings()
    assert ids([error]) == ["gateway.E004"] and said in str(error.msg)
    assert checks.check_cookie_paths() == []


@pytest.mark.parametrize(
    ("given", "debug", "found"),
    [
        ({"auth": ("insecure",)}, False, ["E007 AUTH: insecure"]),
        ({"auth": ("insecure",), "environment": "development"}, False, ["E007 AUTH: insecure"]),
        ({"auth": ("insecure",), "environment": "test"}, False, []),
        ({"auth": ("insecure",)}, True, []),
        ({}, True, ["W005 AUTH: it is not set"]),
        ({}, False, ["W005 AUTH: production has no default"]),
        ({"auth": ["jwt"]}, False, ["W005 JWT_SECRET: AUTH has jwt"]),
        ({"auth": ["jwt"], "jwt_public_keys": [["k", "x"]]}, False, ["E007 JWT_PUBLIC_KEYS: "]),
        ({"auth": ["jwt"], "jwt_secret": "short"}, False, ["E007 JWT_SECRET: it has 5 of"]),
        ({"auth": ["jwt"], "jwt_secret": "short"}, True, ["W005 JWT_SECRET: it has 5 of"]),
        ({"auth": ["session"], "client_origins": ["*"]}, False, ["E007 CLIENT_ORIGIN: *"]),
        (
            {"auth": ["session"], "webhooks": ["user_online"], "weak_keys": ["API_KEYS: weak"]},
            False,
            ["E007 API_KEYS: weak", "W005 API_SERVER_URL: ", "W005 WEBHOOK_SECRET: "],
        ),
    ],
)
def test_e007_w005_what_a_node_refuses(
    settings: LazySettings, given: dict[str, Any], debug: bool, found: list[str]
) -> None:
    """Rule 1: an error where it must not run anywhere; a web process works without the rest."""
    settings.DEBUG, settings.GATEWAY = debug, given
    told = [f"{one.id}".removeprefix("gateway.") + f" {one.msg}" for one in checks.check_safety()]
    assert len(told) == len(found)
    assert all(line.startswith(start) for line, start in zip(told, found, strict=True))
    assert ids(checks.check_safety()) == [f"gateway.{line[:4]}" for line in found]


@pytest.mark.parametrize("name", ["client_origins", "api_origins"])
@pytest.mark.parametrize(
    "entry",
    ["null", "app.example.com", "", "https://a.example/", "ionic://*.a", "https://x:hunter2@a.b"],
)
def test_e006_an_origin_that_no_page_has(settings: LazySettings, name: str, entry: str) -> None:
    settings.GATEWAY = {name: ("https://a.example", entry, "capacitor://localhost")}
    [error] = checks.check_origins()
    assert ids([error]) == ["gateway.E006"]
    assert f"GATEWAY['{name}']" in str(error.msg) and "hunter2" not in str(error.msg)


def test_e006_only_client_sockets_may_be_open_to_any_page(settings: LazySettings) -> None:
    settings.GATEWAY = {"client_origins": ("*",), "api_origins": ("*",)}
    [error] = checks.check_origins()
    assert "api_origins" in str(error.msg)
    settings.GATEWAY = {"no_such_thing": 1}
    assert checks.check_origins() == []


SQLITE = "django.db.backends.sqlite3"


@pytest.mark.parametrize(
    ("database", "found"),
    [
        ({"ENGINE": SQLITE}, ["gateway.W001"]),
        ({"ENGINE": SQLITE, "OPTIONS": {"timeout": 20}}, ["gateway.W001"]),
        ({"ENGINE": SQLITE, "OPTIONS": {"transaction_mode": "DEFERRED"}}, ["gateway.W001"]),
        ({"ENGINE": SQLITE, "OPTIONS": {"transaction_mode": "immediate"}}, []),
        ({"ENGINE": "django.db.backends.postgresql"}, []),
    ],
)
def test_w001_sqlite(
    monkeypatch: pytest.MonkeyPatch,
    database: dict[str, Any],
    found: list[str],
) -> None:
    """Rule 12: of the database that has our tables, and by `serve` alone."""
    # Not through `settings`: Django warns when a test overrides DATABASES.
    databases = {"default": database, "of the shop": {"ENGINE": SQLITE}}
    monkeypatch.setattr(checks, "settings", type("Settings", (), {"DATABASES": databases}))
    messages = checks.sqlite_transactions()
    assert ids(messages) == found
    assert all("'default'" in message.msg for message in messages)


def test_w001_is_no_matter_of_check_and_migrate() -> None:
    """Rule 12."""
    names = {getattr(one, "__name__", "") for one in registry.registered_checks}
    assert "check_host_names" in names and "sqlite_transactions" not in names


@pytest.mark.parametrize(
    ("environment", "session", "csrf", "named"),
    [
        ("production", "/", "/admin/", ["SESSION_COOKIE_PATH"]),
        ("production", "/admin/", "/", ["CSRF_COOKIE_PATH"]),
        ("production", "/admin/", "/admin/", []),
        ("production", "/", "/", []),  # the site's cookies too, which it needs there
        ("development", "/", "/admin/", []),
    ],
)
def test_w002_cookie_paths(
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    environment: str,
    session: str,
    csrf: str,
    named: list[str],
) -> None:
    """Rule 12: only where the admin has cookies of its own."""
    monkeypatch.setattr(checks, "get_conf", lambda: Conf(environment=environment))
    settings.SESSION_COOKIE_PATH = session
    settings.CSRF_COOKIE_PATH = csrf
    found = checks.check_cookie_paths()
    assert ids(found) == ["gateway.W002"] * len(named)
    assert [message.msg.split()[0] for message in found] == named


PUBLIC = "wss://gw.example.com"


@pytest.mark.parametrize(
    ("client", "worker", "expected"),
    [
        (PUBLIC, "wss://gw-admin.example.net", []),
        (PUBLIC, "ws://gw.internal:4001", []),
        (PUBLIC, None, []),  # it stays on this machine
        (PUBLIC, "wss://gw.example.com:8443", ["gateway.W003"]),
        (PUBLIC, "ws://GW.EXAMPLE.COM:4001/", ["gateway.W003"]),
        (None, None, ["gateway.W003"]),
        (None, "ws://localhost:4001", ["gateway.W003"]),
        ("ws://127.0.0.1:4000", "ws://gw.internal", []),
        ("ws://[::1]:4000", "ws://gw.internal", []),
        ("ws://gw.example.com", "ws://gw.internal", ["gateway.W004"]),
        ("ws://gw.example.com", "ws://gw.example.com:1", ["gateway.W003", "gateway.W004"]),
    ],
)
def test_w003_w004_host_names(
    monkeypatch: pytest.MonkeyPatch, client: str | None, worker: str | None, expected: list[str]
) -> None:
    for environment, wanted in (("production", expected), ("development", []), ("test", [])):
        conf = Conf(environment=environment, client_socket_url=client, worker_socket_url=worker)
        monkeypatch.setattr(checks, "get_conf", lambda conf=conf: conf)
        assert ids(checks.check_host_names()) == wanted


def test_w003_is_no_matter_of_cookies_that_are_the_sites_too(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 12."""
    conf = Conf(environment="production", client_socket_url=PUBLIC, worker_socket_url=PUBLIC)
    monkeypatch.setattr(checks, "get_conf", lambda: conf)
    assert ids(checks.check_host_names()) == ["gateway.W003"]
    settings.SESSION_COOKIE_PATH = settings.CSRF_COOKIE_PATH = "/"
    assert ids(checks.check_host_names()) == []


def urls(*patterns: Any) -> Any:
    made: Any = ModuleType("urls")
    made.urlpatterns = list(patterns)
    return made


def test_w006_a_path_that_the_gateway_serves_itself(settings: LazySettings) -> None:
    """Rule 4."""
    settings.ROOT_URLCONF = urls(
        path("healthz", _view), path("api/v1/", include([path("", _view)])), path("orders/", _view)
    )
    found = checks.check_own_paths()
    assert ids(found) == ["gateway.W006"] * 2
    assert "/healthz" in str(found[0].msg) and "_view" in str(found[0].msg)
    settings.GATEWAY = {**settings.GATEWAY, "api_path": "/gw/"}
    assert len(checks.check_own_paths()) == 1
    settings.ROOT_URLCONF = urls(path("orders/", _view))
    assert checks.check_own_paths() == []


def test_w006_a_path_below_that_of_the_api(settings: LazySettings) -> None:
    """Rule 4: all that begins so is the gateway's."""
    settings.ROOT_URLCONF = urls(
        path("api/", include([path("v1/orders/", _view), path("v2/orders/", _view)])),
        re_path("^api/v1/books/[0-9]+$", _view),
    )
    (found,) = checks.check_own_paths()
    assert "from /api/v1/ to" in str(found.msg) and "(/api/v1/orders/)" in str(found.msg)
    settings.ROOT_URLCONF = urls(re_path("^api/v1/books/[0-9]+$", _view))
    assert ids(checks.check_own_paths()) == ["gateway.W006"]
    settings.ROOT_URLCONF = urls(path("api/v2/orders/", _view))
    assert checks.check_own_paths() == []


@pytest.mark.parametrize(
    "pattern",
    [re_path("^.*$", lambda request: HttpResponse()), path("<path:page>", View.as_view())],
)
def test_w006_is_silent_about_a_view_of_any_path(settings: LazySettings, pattern: Any) -> None:
    """As the page of an application in JavaScript: it waits for none of ours."""
    settings.ROOT_URLCONF = urls(pattern)
    assert checks.check_own_paths() == []
    settings.ROOT_URLCONF = urls(path("metrics", _view), pattern)
    assert ids(checks.check_own_paths()) == ["gateway.W006"]


def test_w006_is_silent_about_a_project_without_urls(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "no.such.module"
    assert checks.check_own_paths() == []


def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


shown = with_gateway(_view, public_site=True, public_admin=True)  # type: ignore[arg-type]
unseen = with_gateway(_view, public_site=True)  # type: ignore[arg-type]
partly = with_gateway(ASGIHandler(), public_site=True)
hidden = with_gateway(_view)  # type: ignore[arg-type]
wrapped = partial(shown, {})


@pytest.mark.parametrize(
    ("name", "told"),
    [("shown", 1), ("wrapped", 1), ("unseen", 1), ("partly", 0), ("hidden", 0), ("nothing", 0)],
)
def test_w007_a_public_admin(settings: LazySettings, name: str, told: int) -> None:
    """Rule 2."""
    settings.ASGI_APPLICATION = f"{__name__}.{name}"
    found = checks.check_public_admin()
    assert ids(found) == ["gateway.W007"] * told
    assert all(("No handler" in str(one.hint)) == (name == "unseen") for one in found)
    assert all(one.id != "gateway.W007" for one in run_checks()), "for deployments alone"


@pytest.mark.parametrize(
    ("given", "debug", "told"),
    [
        ({"auth": ["session"]}, False, 1),
        ({"auth": ["session"]}, True, 0),
        ({"auth": ["session"], "redis_url": "redis://h"}, False, 0),
        ({"auth": ["session"], "gateway_url": "http://h:4001", "gateway_key": "k"}, False, 0),
    ],
)
def test_w008_nobody_but_the_gateway_could_notify(
    settings: LazySettings, given: dict[str, Any], debug: bool, told: int
) -> None:
    settings.DEBUG, settings.GATEWAY = debug, given
    assert ids(checks.check_reach()) == ["gateway.W008"] * told
    assert all(one.id != "gateway.W008" for one in run_checks()), "a gateway alone is no fault"
    tagged = run_checks(tags=["gateway"], include_deployment_checks=True)
    assert [one.id for one in tagged].count("gateway.W008") == told
    settings.GATEWAY = {"no_such_thing": 1}
    assert checks.check_reach() == []
