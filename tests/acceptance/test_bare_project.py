"""Projects without Django's admin, sessions, messages or users; and whose titles stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE
from tests.support.projects import environment, in_a_project, make_project, run

FOREIGN = "admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"

LOADED = """
import sys, sockets.api, sockets.checks, sockets.tokens, sockets.models, sockets.environment
print([n for n in sys.modules if n.startswith("sockets.admin")
       or n in [f"django.contrib.{app}.models" for app in FOREIGN]])
"""

CALLS = """
from sockets.api import is_online, notify_user, user_group
from sockets.exceptions import GatewayUnreachable, InvalidMessage
for call in (lambda: notify_user(42, "e"), lambda: is_online("42")):
    try:
        call()
    except GatewayUnreachable:
        print("unreachable")
try:
    user_group(None)
except InvalidMessage:
    print(user_group(42))
"""


AS_IT_BEGINS = """
import os

del DATABASES["default"]["OPTIONS"]
DEBUG = "IN_PRODUCTION" not in os.environ
GATEWAY["jwt_secret"] = "0123456789abcdef" * 2
"""
"""What `startproject` has for its database and its logs."""


def test_an_installed_app_leaves_the_titles_alone() -> None:
    """Rule 15: found at the default site, which keeps its titles."""
    told = in_a_project(
        "admin auth contenttypes sessions messages",
        "from django.contrib.admin import AdminSite, site\n"
        "names = 'site_header site_title index_title site_url enable_nav_sidebar'.split()\n"
        "print([n for n in names if getattr(site, n) != getattr(AdminSite, n)])\n"
        "print(sorted(m.__name__ for m in site._registry if m._meta.app_label == 'sockets'))",
    )
    pages = ["GatewayUser", "LiveSession", "Overview", "Refusal", "Worker"]
    assert told.splitlines() == ["[]", str(sorted(["AccessKey", "Node", "Session", *pages]))]


def test_it_loads_nothing_of_apps_that_are_not_there() -> None:
    """Rule 15: nothing imports admin or sessions where they are not installed."""
    assert in_a_project("", f"FOREIGN = {FOREIGN!r}\n{LOADED}") == "[]"


def test_what_the_first_call_needs_is_imported_before_a_fork(tmp_path: Path) -> None:
    """Rule 12: the class of the project's own layer too, which is looked at."""
    core = """
GATEWAY |= {"redis_url": "redis://h"}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
"""
    make_project(tmp_path, "", core)
    wanted = "channels_redis.core", "sockets.layers.redis", "sockets.node.in_redis"
    code = "import django, sys\ndjango.setup()\n"
    assert run(tmp_path, "-c", f"{code}print({{*{wanted}}} - {{*sys.modules}})") == "set()"
    run(tmp_path, "-m", "django", "check")  # a warning stops nothing


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated project with Channels and the gateway alone."""
    folder = make_project(tmp_path_factory.mktemp("bare"), "", AS_IT_BEGINS)
    assert "no issues" in run(folder, "-m", "django", "check")
    run(folder, "-m", "django", "migrate", "--no-input")
    return folder


def test_it_notifies_without_an_admin(bare: Path) -> None:
    """Rule 15: as far as there is a gateway."""
    told = run(bare, "-c", f"import django\ndjango.setup()\n{CALLS}")
    assert told.split() == ["unreachable", "unreachable", "u.42"]


def test_keys_are_made_without_an_admin(bare: Path) -> None:
    """Rule 15."""
    assert "gw_" in run(bare, "-m", "django", "create_key", "shop", "--scope=notify")


@pytest.mark.parametrize("production", [True, False])
def test_it_serves_without_an_admin(bare: Path, production: bool) -> None:
    """Rules 12 and 15: `serve` alone says that its SQLite begins transactions deferred, and where
    the audit log goes; to nobody who has just begun."""
    ports, log = bare / "ports.json", bare / "log"
    ports.unlink(missing_ok=True)
    options = ("--client-port=0", "--worker-port=0", f"--ports-file={ports}")
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "serve", *options],
            cwd=bare,
            env=environment(bare) | ({"IN_PRODUCTION": "1"} if production else {}),
            stdout=written,
            stderr=written,
        )
    try:
        wait_for(lambda: ports.exists() or process.poll() is not None, "the gateway", PATIENCE)
        assert ports.exists(), log.read_text()
    finally:
        process.terminate()
        code = process.wait(30)
    assert (code, "Traceback" in log.read_text()) == (0, False), log.read_text()
    assert log.read_text().count("gateway.W001") == production
    assert log.read_text().count("LOGGING has no handler") == production
    if not production:
        first, *addresses = log.read_text().splitlines()
        assert first.startswith("gateway gateway is ready")
        assert all(line.startswith("  ") for line in addresses), log.read_text()
