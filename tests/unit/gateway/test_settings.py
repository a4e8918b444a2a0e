"""The settings module as a whole, run again and again under different environments."""

from __future__ import annotations

import os
import runpy
import stat
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sockets.conf import Conf

SETTINGS = Path(__file__).resolve().parents[3] / "gateway" / "settings.py"
SECRET = "0123456789abcdef" * 2
JWT, KEY, HOOK = (f"{SECRET[1:]}{letter}" for letter in "xyz")
PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "JWT_SECRET": JWT}


class Load(Protocol):
    def __call__(self, **given: str) -> dict[str, Any]: ...


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Runs settings.py with these variables and nothing else."""

    def run(**given: str) -> dict[str, Any]:
        for name in list(os.environ):
            monkeypatch.delenv(name)
        for name, value in ({"DATA_DIR": str(tmp_path), "ENV_FILE": os.devnull} | given).items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(SETTINGS))

    return run


@pytest.fixture
def refused(load: Load) -> Any:
    """Expects a refusal of one line that begins with the variable's name."""

    def run(name: str, **given: str) -> str:
        with pytest.raises(ImproperlyConfigured) as error:
            load(**given)
        text = str(error.value)
        assert text.startswith(f"{name}: ")
        assert "\n" not in text
        assert ";" in text
        return text

    return run


class TestEnvironment:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, "development"),
            ({"NODE_ENV": "production", **PRODUCTION}, "production"),
            ({"NODE_ENV": "test"}, "test"),
            ({"NODE_ENV": "production", "ENVIRONMENT": "development"}, "development"),
            ({"ENVIRONMENT": "Development"}, "development"),
        ],
    )
    def test_values(self, load: Load, given: dict[str, str], expected: str) -> None:
        assert load(**given)["GATEWAY"]["environment"] == expected

    def test_node_env_alone_means_production(self, refused: Any) -> None:
        refused("SECRET_KEY", NODE_ENV="production", JWT_SECRET=SECRET)

    def test_a_missing_env_file_is_named(self, refused: Any) -> None:
        refused("ENV_FILE", ENV_FILE="/does/not/exist")

    def test_env_file(self, load: Load, tmp_path: Path) -> None:
        file = tmp_path / "my.env"
        file.write_text("NODE_NAME=from-file\nHEARTBEAT=3\n")
        gateway = load(ENV_FILE=str(file), HEARTBEAT="4")["GATEWAY"]
        assert (gateway["node_name"], gateway["heartbeat"]) == ("from-file", 4)


class TestDevelopment:
    def test_nothing_needs_to_be_set(self, load: Load, tmp_path: Path) -> None:
        settings = load()
        gateway = settings["GATEWAY"]
        assert gateway["auth"] == ("insecure",)
        assert (gateway["client_port"], gateway["worker_port"]) == (4000, 4001)
        assert settings["DEBUG"] is True, "rule 1: what is for developers alone needs it"
        assert settings["DATABASES"]["default"]["NAME"] == str(tmp_path / "gateway.sqlite3")
        assert "daphne" not in settings["INSTALLED_APPS"]
        assert "examples.image_converter" not in settings["INSTALLED_APPS"]

    def test_without_debug_it_is_production(self, refused: Any, load: Load) -> None:
        """Rule 1, whatever ENVIRONMENT says; but for test."""
        refused("AUTH", DEBUG="false", SECRET_KEY=SECRET)
        refused("AUTH", DEBUG="false", SECRET_KEY=SECRET, ENVIRONMENT="development")
        refused("AUTH", DEBUG="false", SECRET_KEY=SECRET, AUTH="insecure")
        assert load(DEBUG="false", ENVIRONMENT="test")["GATEWAY"]["auth"] == ("insecure",)
        found = load(DEBUG="false", SECRET_KEY=SECRET, JWT_SECRET=JWT)
        assert found["GATEWAY"]["environment"] == "production"

    def test_the_secret_key_is_made_once_and_kept(self, load: Load, tmp_path: Path) -> None:
        first = load()["SECRET_KEY"]
        assert len(first) >= 50
        assert load()["SECRET_KEY"] == first
        assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
        assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
    def test_a_kept_secret_that_cannot_be_used(
        self, refused: Any, tmp_path: Path, content: bytes | None
    ) -> None:
        if content is None:
            (tmp_path / "secret_key").mkdir()
        else:
            (tmp_path / "secret_key").write_bytes(content)
        refused("SECRET_KEY")

    def test_a_jwt_secret_turns_jwt_on(self, load: Load) -> None:
        assert load(JWT_SECRET=SECRET)["GATEWAY"]["auth"] == ("jwt",)

    def test_demo(self, load: Load) -> None:
        settings = load(DEMO="true", JWT_SECRET=SECRET)
        assert "examples.image_converter" in settings["INSTALLED_APPS"]

    def test_a_folder_that_cannot_be_made(self, refused: Any) -> None:
        refused("DATA_DIR", DATA_DIR="/dev/null/var")

    def test_sqlite_is_set_up_for_concurrent_writers(self, load: Load, tmp_path: Path) -> None:
        for given in ({}, {"DATABASE_URL": f"sqlite:///{tmp_path}/other.db"}):
            options = load(**given)["DATABASES"]["default"]["OPTIONS"]
            assert options["transaction_mode"] == "IMMEDIATE"
            assert "journal_mode=WAL" in options["init_command"]
            assert options["timeout"] == 20

    def test_postgres(self, load: Load) -> None:
        database = load(DATABASE_URL="postgres://a:b@c/d")["DATABASES"]["default"]
        assert database["ENGINE"] == "django.db.backends.postgresql"
        assert database["OPTIONS"]["connect_timeout"] == 5

    def test_a_postgres_that_is_gone_is_noticed(self, load: Load) -> None:
        """In both directions; what the URL says wins. libpq knows every one of these options."""
        url = "postgres://a:b@c/d?connect_timeout=9&tcp_user_timeout=7&sslmode=require"
        options = load(DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]
        assert (options["connect_timeout"], options["tcp_user_timeout"]) == (9, 7)
        assert options["sslmode"] == "require"
        assert options["keepalives_idle"] + 3 * options["keepalives_interval"] <= 30
        assert conninfo_to_dict(make_conninfo("", **options)).keys() == options.keys()


def test_hosts(load: Load) -> None:
    assert "localhost" in load()["ALLOWED_HOSTS"]
    urls = {"CLIENT_SOCKET_URL": "wss://GW.example/x", "WORKER_SOCKET_URL": "ws://[::2]:4001"}
    assert {"gw.example", "[::2]"} <= set(load(**urls)["ALLOWED_HOSTS"])
    assert load(ALLOWED_HOSTS="A.example, b", **urls)["ALLOWED_HOSTS"] == ["a.example", "b"]


def test_the_time_zone_is_djangos(load: Load) -> None:
    assert load()["TIME_ZONE"] == "UTC"
    assert load(TIME_ZONE="Asia/Seoul")["TIME_ZONE"] == "Asia/Seoul"


def test_apps_may_be_listed(load: Load) -> None:
    given = load(CLIENT_ORIGIN="capacitor://localhost", API_ORIGIN="tauri://localhost")["GATEWAY"]
    assert given["client_origins"] == ("capacitor://localhost",)
    assert given["api_origins"] == ("tauri://localhost",)


class TestProduction:
    def test_the_least_that_starts(self, load: Load) -> None:
        settings = load(**PRODUCTION)
        assert settings["GATEWAY"]["auth"] == ("jwt",)
        assert settings["SESSION_COOKIE_SECURE"] is settings["CSRF_COOKIE_SECURE"] is True
        assert settings["GATEWAY"]["hsts_seconds"] == 31_536_000
        assert load(**PRODUCTION, HSTS_SECONDS="0")["GATEWAY"]["hsts_seconds"] == 0

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("SECRET_KEY", {"SECRET_KEY": ""}),
            ("SECRET_KEY", {"SECRET_KEY": "short"}),
            ("AUTH", {"JWT_SECRET": ""}),
            ("AUTH", {"AUTH": "insecure"}),
            ("AUTH", {"AUTH": "jwt,insecure"}),
            ("CLIENT_ORIGIN", {"CLIENT_ORIGIN": "*"}),
            ("JWT_JWKS_URL", {"JWT_JWKS_URL": "http://login.example/keys"}),
            ("SURFACE", {"SURFACE": "both"}),
            ("DEBUG", {"DEBUG": "true"}),
            ("DEMO", {"DEMO": "true"}),
            ("ALLOWED_HOSTS", {"ALLOWED_HOSTS": "*"}),
            ("ALLOWED_HOSTS", {"ALLOWED_HOSTS": "gw.example.com,*"}),
            ("API_ORIGIN", {"API_ORIGIN": "*"}),
            ("CSRF_TRUSTED_ORIGINS", {"CSRF_TRUSTED_ORIGINS": "*"}),
            ("JWT_JWKS_URL", {"JWT_JWKS_URL": "http://id.example.com/keys"}),
            # short
            ("WORKER_KEYS", {"WORKER_KEYS": f"a:{KEY},b:{KEY[1:]}"}),
            ("API_KEYS", {"API_KEYS": f"a:{KEY[1:]}"}),
            ("API_KEYS", {"API_KEYS": "a:hunter2"}),
            # to be guessed
            ("SECRET_KEY", {"SECRET_KEY": "django-insecure-" + SECRET}),
            ("SECRET_KEY", {"SECRET_KEY": "x" * 64}),
            ("JWT_SECRET", {"JWT_SECRET": "abcdefg" * 8}),
            ("JWT_SECRET", {"JWT_SECRET": "Change-Me-" + SECRET}),
            ("JWT_SECRETS", {"JWT_SECRETS": f"a:{KEY},b:{'0' * 40}"}),
            ("WEBHOOK_SECRET", {"WEBHOOK_SECRET": "my-example-secret-" + SECRET}),
            ("WORKER_KEYS", {"WORKER_KEYS": f"a:password-{SECRET}"}),
            ("API_KEYS", {"API_KEYS": f"a:your_secret{SECRET}"}),
            # for two uses
            ("JWT_SECRET", {"JWT_SECRET": SECRET}),
            ("JWT_SECRETS", {"JWT_SECRETS": f"a:{SECRET}"}),
            ("WEBHOOK_SECRET", {"WEBHOOK_SECRET": JWT}),
            ("API_KEYS", {"WORKER_KEYS": f"a:{KEY}", "API_KEYS": f"b:{KEY}"}),
            ("WORKER_KEYS", {"WORKER_KEYS": f"a:{SECRET}"}),
            # what has another form is told by its own reader
            ("API_KEYS", {"API_KEYS": KEY}),
        ],
    )
    def test_refuses(self, refused: Any, name: str, change: dict[str, str]) -> None:
        said = refused(name, **(PRODUCTION | change))
        assert not any(secret in said for secret in (SECRET, JWT, KEY, "hunter2"))

    def test_good_secrets_are_taken(self, load: Load) -> None:
        load(
            **PRODUCTION,
            JWT_SECRETS=f"now:{JWT},old:{KEY}",  # the same with its kid: for rotation
            WORKER_KEYS=f"a:{'A' + KEY}, b:{'B' + KEY}",
            API_KEYS=f"a:{'C' + KEY}",
            WEBHOOK_SECRET=HOOK,
            ALLOWED_HOSTS="gw.example.com,.internal.example.com",
        )

    def test_elsewhere_they_may_be_weak(self, load: Load) -> None:
        load(SECRET_KEY="x", JWT_SECRET="x" * 32, WORKER_KEYS="a:b", API_KEYS="a:b")

    def test_makes_no_secret_of_its_own(self, refused: Any, tmp_path: Path) -> None:
        refused("SECRET_KEY", ENVIRONMENT="production", JWT_SECRET=SECRET)
        assert list(tmp_path.iterdir()) == []


class TestTokens:
    def test_keys_of_every_kind(self, load: Load, tmp_path: Path) -> None:
        private = ed25519.Ed25519PrivateKey.generate()
        pem = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (tmp_path / "issuer.pem").write_bytes(pem)
        file = tmp_path / "issuer.pem"
        found = load(
            JWT_SECRETS=f"old:{'o' * 32}, new:{'n' * 32}",
            JWT_PUBLIC_KEYS=f"id:{file},{file}",
            JWT_AUDIENCE="gateway, other",
            JWT_ISSUER="https://id.example.com",
        )["GATEWAY"]
        assert found["auth"] == ("jwt",)
        assert found["jwt_secrets"] == (("old", "o" * 32), ("new", "n" * 32))
        assert found["jwt_public_keys"] == (("id", pem.decode()), ("", pem.decode()))
        assert found["jwt_audience"] == ("gateway", "other")
        assert found["jwt_issuer"] == ("https://id.example.com",)
        assert "ooo" not in repr(Conf(**found))


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("ENVIRONMENT", {"ENVIRONMENT": "staging"}),
            ("NODE_ENV", {"NODE_ENV": "prod"}),
            ("JWT_SECRETS", {"JWT_SECRETS": f"a:{'x' * 31}"}),
            ("JWT_PUBLIC_KEYS", {"JWT_PUBLIC_KEYS": "a:/no/such/file"}),
            ("JWT_PUBLIC_KEYS", {"JWT_PUBLIC_KEYS": os.devnull}),
            ("JWT_LEEWAY", {"JWT_LEEWAY": "-1"}),
            ("DEMO", {"DEMO": "true", "JWT_SECRETS": f"a:{'x' * 32}"}),
            ("LOG_LEVEL", {"LOG_LEVEL": "loud"}),
            ("SURFACE", {"SURFACE": "all"}),
            ("CLIENT_SOCKET_PORT", {"CLIENT_SOCKET_PORT": "70000"}),
            ("WORKER_SOCKET_PORT", {"CLIENT_SOCKET_PORT": "5", "WORKER_SOCKET_PORT": "5"}),
            ("CLIENT_SOCKET_URL", {"CLIENT_SOCKET_URL": "http://localhost:4000"}),
            ("WORKER_SOCKET_URL", {"WORKER_SOCKET_URL": "localhost:4001"}),
            ("API_SERVER_URL", {"API_SERVER_URL": "ws://localhost"}),
            ("CLIENT_ORIGIN", {"CLIENT_ORIGIN": "localhost"}),
            ("AUTH", {"AUTH": "proxy"}),
            ("JWT_JWKS_URL", {"JWT_JWKS_URL": "login.example/keys"}),
            ("CLIENT_ORIGIN", {"CLIENT_ORIGIN": "https://*.com"}),
            ("API_ORIGIN", {"API_ORIGIN": "*"}),
            ("API_ORIGIN", {"API_ORIGIN": "https://*.com"}),
            ("CSRF_TRUSTED_ORIGINS", {"CSRF_TRUSTED_ORIGINS": "https://*.example.com"}),
            ("AUTH", {"AUTH": "ldap"}),
            ("TIME_ZONE", {"TIME_ZONE": "Mars/Olympus"}),
            ("API_ORIGIN", {"API_ORIGIN": "null"}),
            ("CSRF_TRUSTED_ORIGINS", {"CSRF_TRUSTED_ORIGINS": "capacitor://localhost"}),
            ("TRUSTED_PROXIES", {"TRUSTED_PROXIES": "nginx"}),
            ("TRUSTED_PROXIES", {"TRUSTED_PROXIES": "33"}),
            ("TRUSTED_PROXIES", {"TRUSTED_PROXIES": "10.0.0.1/8"}),
            ("SESSION_COOKIE", {"SESSION_COOKIE": "gateway_admin_session"}),
            ("SESSION_DATABASE_URL", {"SESSION_DATABASE_URL": "mysql://h/d"}),
            ("JWT_SECRET", {"AUTH": "jwt"}),
            ("JWT_SECRET", {"JWT_SECRET": "hunter2"}),
            ("WORKER_KEYS", {"WORKER_KEYS": "hunter2"}),
            ("API_KEYS", {"API_KEYS": "a:"}),
            ("DEBUG", {"DEBUG": "banana"}),
            ("NODE_NAME", {"NODE_NAME": "a b"}),
            ("DEMO", {"DEMO": "true"}),
            ("HEARTBEAT", {"HEARTBEAT": "25s"}),
            ("CLIENT_RATE", {"CLIENT_RATE": "50/s"}),
            ("OUTBOX_LIMIT", {"OUTBOX_LIMIT": "64K"}),
            ("LEASE_TTL", {"LEASE_TTL": "10", "LEASE_RENEW": "8"}),
            ("INBOUND_LOW", {"INBOUND_LOW": "64"}),
            ("DATABASE_URL", {"DATABASE_URL": "mysql://a/b"}),
            ("CSRF_TRUSTED_ORIGINS", {"CSRF_TRUSTED_ORIGINS": "*"}),
            ("REDIS_DB", {"REDIS_DB": "x"}),
            ("REDIS_URL", {"REDIS_URL": "localhost:6379"}),
            ("REDIS_URL", {"REDIS_URL": "redis://u:hunter2@localhost:6379/zero"}),
            ("REDIS_URL", {"REDIS_URL": "redis://u:hunter2@h/1", "REDIS_DB": "2"}),
            ("REDIS_URL", {"REDIS_URL": "redis+sentinel://:hunter2@h:x/0"}),
            ("LAYER_REDIS_URL", {"LAYER_REDIS_URL": "redis://h"}),
            ("LAYER_REDIS_URL", {"REDIS_URL": "redis://h", "LAYER_REDIS_URL": "redis://h, x"}),
            ("REDIS_DURABILITY", {"REDIS_DURABILITY": "never"}),
            ("WEBHOOKS", {"WEBHOOKS": "user_online,user_away"}),
            ("API_SERVER_URL", {"WEBHOOKS": "user_online", "WEBHOOK_SECRET": SECRET}),
            ("WEBHOOK_SECRET", {"WEBHOOKS": "user_online", "API_SERVER_URL": "http://h"}),
            ("WEBHOOK_SECRET", {"WEBHOOK_SECRET": "hunter2"}),
            ("WEBHOOK_PATH", {"WEBHOOK_PATH": "/events?key=hunter2"}),
        ],
    )
    def test_names_the_variable(self, refused: Any, name: str, given: dict[str, str]) -> None:
        assert "hunter2" not in refused(name, **given)

    @pytest.mark.parametrize(
        ("given", "url", "prefix"),
        [
            ({"REDIS_URL": "redis://h:6379"}, "redis://h:6379", "asgi"),
            ({"REDIS_URL": "redis://h", "REDIS_DB": "3"}, "redis://h/3", "asgi.3"),
            ({"REDIS_URL": "redis://h/3", "REDIS_DB": "3"}, "redis://h/3", "asgi.3"),
            ({"REDIS_URL": "rediss://:p@h/4"}, "rediss://:p@h/4", "asgi.4"),
            (
                {"REDIS_URL": "unix:///run/r.sock", "REDIS_DB": "2"},
                "unix:///run/r.sock?db=2",
                "asgi.2",
            ),
            ({"REDIS_URL": "unix:///r.sock?db=5"}, "unix:///r.sock?db=5", "asgi.5"),
            (
                {"REDIS_URL": "redis+sentinel://a:1,b/?service=m", "REDIS_DB": "1"},
                "redis+sentinel://a:1,b/1?service=m",
                "asgi.1",
            ),
            ({"REDIS_URL": "redis://h/1", "LAYER_PREFIX": "shop"}, "redis://h/1", "shop"),
        ],
    )
    def test_redis_mode(self, load: Load, given: dict[str, str], url: str, prefix: str) -> None:
        settings = load(**given)
        assert settings["GATEWAY"]["redis_url"] == url
        layer = settings["CHANNEL_LAYERS"]["default"]
        assert layer["BACKEND"] == "sockets.layers.redis.RedisChannelLayer"
        assert (layer["CONFIG"]["hosts"], layer["CONFIG"]["prefix"]) == ([url], prefix)

    def test_the_layer_may_have_servers_of_its_own(self, load: Load) -> None:
        settings = load(REDIS_URL="redis://h", LAYER_REDIS_URL="redis://a redis://b/2")
        assert settings["GATEWAY"]["layer_redis_urls"] == ("redis://a", "redis://b/2")
        hosts = settings["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"]
        assert hosts == ["redis://a", "redis://b/2"]

    def test_webhooks(self, load: Load) -> None:
        gateway = load(
            WEBHOOKS="user_online, SESSION_CLOSED",
            API_SERVER_URL="https://api.example/v1/",
            WEBHOOK_SECRET=SECRET,
        )["GATEWAY"]
        assert gateway["webhooks"] == ("user_online", "session_closed")
        assert gateway["webhook_secret"] == SECRET
        assert Conf(**gateway).webhook_url == "https://api.example/v1/gateway/events"

    def test_without_redis_it_is_memory_mode(self, load: Load) -> None:
        settings = load()
        assert settings["GATEWAY"]["redis_url"] == ""
        backend = settings["CHANNEL_LAYERS"]["default"]["BACKEND"]
        assert backend == "sockets.layers.memory.MemoryChannelLayer"

    def test_both_ports_may_be_free_ones(self, load: Load) -> None:
        gateway = load(CLIENT_SOCKET_PORT="0", WORKER_SOCKET_PORT="0")["GATEWAY"]
        assert gateway["client_port"] == gateway["worker_port"] == 0


class TestAllFaultsAtOnce:
    """An operator mends them in one go: each has its line, and none is told that another causes."""

    def told(self, load: Load, **given: str) -> list[str]:
        with pytest.raises(ImproperlyConfigured) as error:
            load(**given)
        lines = str(error.value).splitlines()
        assert all("; " in line for line in lines)
        assert not any(secret in str(error.value) for secret in (SECRET, JWT, KEY, "hunter2"))
        return [line.partition(": ")[0] for line in lines]

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ({"HEARTBEAT": "25s", "DEBUG": "banana"}, ["HEARTBEAT", "DEBUG"]),
            (
                {"WORKER_KEYS": "a:,hunter2,c c:d", "SESSION_COOKIE": "gateway_admin_session"},
                ["WORKER_KEYS", "WORKER_KEYS", "WORKER_KEYS", "SESSION_COOKIE"],
            ),
            ({"CLIENT_ORIGIN": "localhost,https://*.com"}, ["CLIENT_ORIGIN"] * 2),
            (
                {"LEASE_TTL": "10", "INBOUND_LOW": "64", "DATABASE_URL": "mysql://a/b"},
                ["LEASE_TTL", "INBOUND_LOW", "DATABASE_URL"],
            ),
            ({"WEBHOOKS": "user_online"}, ["API_SERVER_URL", "WEBHOOK_SECRET"]),
            ({"DATA_DIR": "/dev/null/var", "REDIS_DB": "x"}, ["REDIS_DB", "DATA_DIR"]),
            # production
            (
                {"ENVIRONMENT": "production", "AUTH": "insecure,proxy", "SURFACE": "both"},
                ["AUTH", "AUTH", "SURFACE", "SECRET_KEY"],
            ),
            ({"ENVIRONMENT": "production"}, ["AUTH", "SECRET_KEY"]),
            (
                PRODUCTION
                | {"ALLOWED_HOSTS": "*", "DEMO": "true", "DEBUG": "1", "CLIENT_ORIGIN": "*"},
                ["CLIENT_ORIGIN", "DEMO", "DEBUG", "ALLOWED_HOSTS"],
            ),
            (
                PRODUCTION
                | {"WORKER_KEYS": f"a:short,b:{'0' * 40},c:{KEY}", "API_KEYS": f"a:{KEY}"},
                ["WORKER_KEYS", "WORKER_KEYS", "API_KEYS"],
            ),
            (
                PRODUCTION | {"JWT_SECRETS": f"a:short,b:{'0' * 40}", "SECRET_KEY": "short"},
                ["JWT_SECRETS", "SECRET_KEY", "JWT_SECRETS"],
            ),
            (  # whatever else is wrong with the list
                PRODUCTION | {"WORKER_KEYS": "bad name:short,ok:short-too"},
                ["WORKER_KEYS", "WORKER_KEYS", "WORKER_KEYS"],
            ),
            (  # one secret for three purposes: told once each
                PRODUCTION | {"SECRET_KEY": KEY, "JWT_SECRET": KEY, "WEBHOOK_SECRET": KEY},
                ["JWT_SECRET", "WEBHOOK_SECRET"],
            ),
        ],
    )
    def test_each_is_told(self, load: Load, given: dict[str, str], names: list[str]) -> None:
        assert self.told(load, **given) == names

    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ({"LEASE_RENEW": "x", "LEASE_TTL": "8"}, "LEASE_RENEW"),
            ({"INBOUND_HIGH": "1e3", "INBOUND_LOW": "80"}, "INBOUND_HIGH"),
            ({"REDIS_URL": "localhost", "LAYER_REDIS_URL": "redis://h"}, "REDIS_URL"),
            ({"API_SERVER_URL": "api", "AUTH": "proxy"}, "API_SERVER_URL"),
            ({"CLIENT_SOCKET_PORT": "x", "WORKER_SOCKET_PORT": "4000"}, "CLIENT_SOCKET_PORT"),
            (
                {"JWT_SECRETS": "a:short", "ENVIRONMENT": "production", "SECRET_KEY": SECRET},
                "JWT_SECRETS",
            ),
            ({"JWT_SECRET": "short", "DEMO": "true"}, "JWT_SECRET"),
            (PRODUCTION | {"JWT_SECRET": "short"}, "JWT_SECRET"),
            ({"AUTH": "ldap", "DEMO": "1", "JWT_SECRET": SECRET}, "AUTH"),
            (PRODUCTION | {"AUTH": "ldap"}, "AUTH"),
            ({"WEBHOOKS": "user_away", "WEBHOOK_SECRET": SECRET}, "WEBHOOKS"),
        ],
    )
    def test_and_not_what_follows_from_one(
        self, load: Load, given: dict[str, str], name: str
    ) -> None:
        assert self.told(load, **given) == [name]

    def test_lines_of_the_file(self, load: Load, tmp_path: Path) -> None:
        file = tmp_path / "my.env"
        file.write_text("HEARTBEAT=x\nDEBUG true\n\nwhat\n")
        lines = self.told(load, ENV_FILE=str(file))
        assert lines == ["my.env, line 2", "my.env, line 4", "HEARTBEAT"]

    def test_nothing_is_written_before(self, load: Load, tmp_path: Path) -> None:
        self.told(load, HEARTBEAT="x", DATA_DIR=str(tmp_path / "new"))
        assert list(tmp_path.iterdir()) == []


def test_every_tunable_reaches_the_gateway(load: Load) -> None:
    """Each number of Conf is read from the variable of its name, in capitals."""
    from dataclasses import fields

    special = {"environment", "data_dir", "node_name", "surface", "demo", "client_origins"}
    special |= {"client_port", "worker_port", "auth"}
    plain = [f.name for f in fields(Conf) if f.name not in special]
    numbers = [name for name in plain if type(getattr(Conf(), name)) in (int, float)]
    assert len(numbers) > 20
    for name in numbers:
        value = getattr(Conf(), name) + 1
        assert load(**{name.upper(): str(value)})["GATEWAY"][name] == value
    assert set(load()["GATEWAY"]) == {f.name for f in fields(Conf)}


def test_the_admins_cookies_are_its_own(load: Load) -> None:
    settings = load()
    for cookie in ("SESSION_COOKIE", "CSRF_COOKIE"):
        assert settings[f"{cookie}_NAME"].startswith("gateway_admin_")
        assert settings[f"{cookie}_PATH"] == "/admin/"
        assert settings[f"{cookie}_HTTPONLY"] is True
        assert settings[f"{cookie}_SAMESITE"] == "Lax"
        assert settings[f"{cookie}_SECURE"] is False  # development has no https


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("API_RATE", "requests"),
        ("CLIENT_RATE", "frames"),
        ("WORKER_RATE", "frames"),
        ("USER_RATE", "frames"),
        ("CONNECT_RATE", "connections"),
        ("NODE_CONNECT_RATE", "connections"),
    ],
)
def test_a_wrong_rate_says_what_it_counts(refused: Any, name: str, what: str) -> None:
    told = refused(name, **{name: "many"})
    assert told.startswith(f"{name}: 'many' is not a number of {what} a second; ")
