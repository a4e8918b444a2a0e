"""The system checks: what each finds, and that the project's own settings pass."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.core.checks import CheckMessage, run_checks

from sockets import checks
from sockets.conf import Conf

MEMORY = "sockets.layers.memory.MemoryChannelLayer"


class NotALayer:
    """Importable, and no layer."""


class Ours:
    """As a class of `sockets.layers` would be, seen from a subclass of it."""

    __module__ = "sockets.layers.memory"


class Subclass(Ours):
    """A project's own variation."""


def ids(found: list[CheckMessage]) -> list[str | None]:
    assert all(message.hint for message in found), "a message without a remedy"
    return [message.id for message in found]


def test_the_project_has_nothing_to_say() -> None:
    ours = [message for message in run_checks() if str(message.id).startswith("gateway.")]
    assert not ours


def test_django_runs_them(settings: LazySettings) -> None:
    settings.CHANNEL_LAYERS = {}
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


@pytest.mark.parametrize(
    "layers",
    [
        {},
        {"default": {}},
        {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        {"default": {"BACKEND": "no.such.module.Layer"}},
        {"default": {"BACKEND": f"{__name__}.NotALayer"}},
        {"other": {"BACKEND": MEMORY}},
    ],
)
def test_e001_another_channel_layer(settings: LazySettings, layers: dict[str, Any]) -> None:
    settings.CHANNEL_LAYERS = layers
    [error] = checks.check_channel_layer()
    assert ids([error]) == ["gateway.E001"]
    assert MEMORY in str(error.hint)


def test_e001_is_silent_about_ours(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": MEMORY}}
    assert not checks.check_channel_layer()
    monkeypatch.setattr(checks, "import_string", lambda path: Subclass)
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "project.layers.Subclass"}}
    assert not checks.check_channel_layer()


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
    # Not through `settings`: Django warns when a test overrides DATABASES.
    monkeypatch.setattr(checks, "settings", type("Settings", (), {"DATABASES": {"x": database}}))
    messages = checks.check_sqlite_transactions()
    assert ids(messages) == found
    assert all("'x'" in message.msg for message in messages)


@pytest.mark.parametrize(
    ("environment", "session", "csrf", "named"),
    [
        ("production", "/", "/admin/", ["SESSION_COOKIE_PATH"]),
        ("production", "/admin/", "/", ["CSRF_COOKIE_PATH"]),
        ("production", "/admin/", "/admin/", []),
        ("development", "/", "/", []),
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


REDIS = "sockets.layers.redis.RedisChannelLayer"


@pytest.mark.parametrize("alias", ["default", "other"])
def test_the_core_layer_is_an_error_wherever_it_is(settings: LazySettings, alias: str) -> None:
    core = {"BACKEND": "channels_redis.core.RedisChannelLayer"}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS}, alias: core}
    assert ids(checks.check_core_layer()) == ["gateway.E002"]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS}}
    assert ids(checks.check_core_layer()) == []


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (None, 0),
        ([], 0),
        (["redis://h:1/0"], 0),
        ([("h", 6379)], 0),
        ([{"host": "h", "socket_timeout": None}], 0),
        ([{"host": "h", "socket_timeout": 5}], 1),
        ([{"address": "redis://h?socket_timeout=5"}], 1),
        (["redis://a", "redis://h?socket_timeout=5"], 1),
    ],
)
def test_a_timeout_that_cuts_idle_connections(
    settings: LazySettings, hosts: Any, found: int
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS, "CONFIG": {"hosts": hosts}}}
    assert ids(checks.check_layer_timeouts()) == ["gateway.E003"] * found


@pytest.mark.parametrize(
    ("backend", "config", "names"),
    [
        (MEMORY, {"capacity": 0}, "capacity"),
        (MEMORY, {"hosts": []}, "hosts"),
        ("sockets.layers.redis.RedisChannelLayer", {"group_expiry": 5}, "group_expiry"),
        (
            "sockets.layers.redis.RedisChannelLayer",
            {"hosts": [{"port": 1}], "expiry": -1},
            "expiry",
        ),
        ("sockets.layers.memory.NoSuchLayer", {}, "NoSuchLayer"),
        (MEMORY, {"expiry": 10**400}, "expiry"),
        ("sockets.layers.redis.RedisChannelLayer", {"hosts": [5]}, "hosts"),
        ("sockets.layers.redis.RedisChannelLayer", {"hosts": [("x",)]}, "hosts"),
        ("sockets.layers.redis.RedisChannelLayer", {"hosts": ["redis://a:port"]}, "hosts"),
        ("sockets.layers.redis.RedisChannelLayer", {"hosts": [{"address": 5}]}, "hosts"),
        ("sockets.layers.redis.RedisChannelLayer", {"hosts": "redis://localhost"}, "hosts"),
        ("sockets.layers.redis.RedisChannelLayer", {"prefix": 5}, "prefix"),
    ],
    ids=str,
)
def test_options_of_a_layer(
    settings: LazySettings, backend: str, config: dict[str, Any], names: str
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    (found,) = checks.check_layer_options()
    assert ids([found]) == ["gateway.E005"]
    assert names in found.msg
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": MEMORY, "CONFIG": {"capacity": 5}}}
    assert not checks.check_layer_options()


def test_a_secret_in_the_hosts_is_not_repeated(settings: LazySettings) -> None:
    layer = {"BACKEND": "sockets.layers.redis.RedisChannelLayer"}
    hosts = ["redis://:very/secret@localhost:6379/0"]
    settings.CHANNEL_LAYERS = {"default": {**layer, "CONFIG": {"hosts": hosts}}}
    (found,) = checks.check_layer_options()
    assert "very" not in found.msg and "secret" not in found.msg
