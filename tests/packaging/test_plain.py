"""The plain installation, in an environment that has nothing else: all of a web process."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import Shop
from tests.support.gateway import ROOT
from tests.support.valkey import Server

OF_A_SERVER = {
    *("autobahn", "cryptography", "daphne", "httpx", "jwt", "ninja", "prometheus_client"),
    *("pydantic", "servestatic", "structlog", "twisted", "uvloop"),
}
"""What `[server]` brings, as it is imported."""

PUBLIC = (
    *("api", "asgi", "codes", "conf", "environment", "exceptions", "logs", "signals"),
    *(
        "signatures",
        "tokens",
        "types",
        "layers.memory.MemoryChannelLayer",
        "layers.redis.RedisChannelLayer",
    ),
)


@pytest.fixture(scope="module")
def seen(plain: Shop) -> dict[str, Any]:
    """What a web process of the site did and saw."""
    told: dict[str, Any] = json.loads(plain.run(ROOT / "tests/packaging/site_probe.py"))
    return told


def test_nothing_of_a_server_is_installed(plain: Shop) -> None:
    """Rule 10."""
    assert all(find_spec(name) for name in OF_A_SERVER), "here it is"
    listing = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert plain.run("-c", listing, *sorted(OF_A_SERVER)).strip() == "[]"


def test_it_is_the_wheel(seen: dict[str, Any], plain: Shop) -> None:
    assert Path(seen["where"]).is_relative_to(plain.environment.folder)


def test_a_view_notifies_and_asks_under_wsgi(seen: dict[str, Any]) -> None:
    """Rule 10: in the request's thread, in a pool of threads, after a fork."""
    first = seen["first"]
    assert (first["status"], first["online"], first["state"]) == ("200 OK", False, "offline")
    begin = first["offset"]
    assert seen["threads"] == list(range(begin + 1, begin + 9))
    assert seen["child"] == first | {"offset": begin + 9}


def test_it_loads_no_reactor(seen: dict[str, Any]) -> None:
    """Rule 10."""
    assert {"sockets", "django", "redis"} <= set(seen["modules"])
    assert not OF_A_SERVER & set(seen["modules"])


def test_django_s_users_are_watched(seen: dict[str, Any], redis: Server) -> None:
    """Rule 10: `django_accounts` works in a web process of the plain installation."""
    assert seen["complaints"] == []
    assert redis.ask(b"EXISTS gw:{1}:revoked") == b":1\r\n", "of kim, the first user"


def test_the_admin_shows_its_pages(seen: dict[str, Any]) -> None:
    """Rule 10."""
    assert seen["admin"] == dict.fromkeys(("session", "node", "accesskey", "accesskey/add"), 200)


@pytest.mark.parametrize(
    "way",
    [
        *("forks", "gevent-async-first"),  # which call in threads, too
        *(pytest.param(w, marks=pytest.mark.soak) for w in ("shell", "threads", "gevent-forks")),
    ],
)
def test_every_function_of_the_api(plain: Shop, way: str) -> None:
    """Rule 10: with none of a server's packages, in any order, thread, child or greenlet."""
    assert plain.run("-W", "ignore", ROOT / "tests/acceptance/api_caller.py", way) == ""


def test_the_project_is_sound(plain: Shop) -> None:
    """Rule 10: its checks say nothing, and it lacks no migration."""
    assert "no issues" in plain.manage("check")
    assert "No changes" in plain.manage("makemigrations", "--check", "--dry-run")


def test_commands_that_only_ask(plain: Shop) -> None:
    assert "live sessions: 0" in plain.manage("notify", "42", "order.paid", '{"order": 7}')
    assert plain.manage("sessions")
    assert "of 'backend': notify" in plain.manage("create_key", "backend", "--scope", "notify")


def test_serve_names_what_is_missing(plain: Shop) -> None:
    """Rule 10: in one line, with the remedy."""
    told = plain.manage("serve", check=False)
    assert told.strip().splitlines()[-1].endswith("pip install 'django-gateway[server]'")
    assert "Traceback" not in told and len(told.strip().splitlines()) == 1


def test_the_environment_is_read(plain: Shop) -> None:
    """Rule 10: what needs cryptography is judged where a node starts."""
    read = "import sockets.environment as e; print(e.read()['jwt_public_keys'])"
    done = plain.environment.run("-c", read, cwd=plain.folder, JWT_PUBLIC_KEYS="manage.py")
    assert "DJANGO_SETTINGS_MODULE" in done.stdout


def test_the_public_modules_can_be_imported(plain: Shop) -> None:
    """Rule 18."""
    paths = [f"sockets.{name}" for name in PUBLIC]
    assert plain.run(ROOT / "tests/support/import_paths.py", *paths) == ""
