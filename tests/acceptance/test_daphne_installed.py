"""`"daphne"` in INSTALLED_APPS, as every Channels shop has it: `serve` begins in a fresh
interpreter, and the other commands are as they were."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_signals import catches
from tests.support.gateway import ROOT, Gateway, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import client, http_get
from tests.support.site import Site

SERVE = ("serve", "--client-port=0", "--worker-port=0")
DELAYS = (0.8, pytest.param(0.0, marks=pytest.mark.soak))

from_the_very_start = pytest.mark.usefixtures("from_the_very_start")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("shop"), "daphne")
    made.migrate()
    return made


@pytest.fixture
def site(shop: Site) -> Iterator[Site]:
    """The shop, with nothing of another test in it."""
    shop.log_path.unlink(missing_ok=True)
    yield shop
    shop.kill()


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


@from_the_very_start
async def test_serve_is_the_same_process_on_its_own_reactor(site: Site) -> None:
    """Rule 14."""
    site.start()
    [facts] = site.facts()
    assert (facts["pid"], facts["reactor"]) == (site.pid, "ResetSafeReactor")
    assert site.log().count("settings of") == 2, "once by the reactor of others, once by ours"
    peer = await client(site, "u")
    assert peer.welcome["user"] == "u"
    site.signal(signal.SIGTERM)
    assert (await peer.receive())["type"] == "closing"
    assert await asyncio.to_thread(site.wait) == 0
    assert "Traceback" not in site.log(), site.log()


@from_the_very_start
def test_a_project_without_it_starts_once(tmp_path: Path) -> None:
    """Rule 14."""
    site = Site(tmp_path)
    site.migrate()
    site.start()
    try:
        assert site.log().count("settings of") == 1
        assert command_line(site.pid)[1] == "manage.py"
    finally:
        assert site.stop() == 0


@from_the_very_start
def test_options_arguments_and_environment_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 14: those of Python, of Django, and the shop's own."""
    extra = site.data_dir / "extra"
    extra.mkdir()
    (extra / "other_settings.py").write_text("from shop.settings import *\n")
    options = ("-W", "error::UserWarning", "-sXutf8")
    own = ("--settings=other_settings", f"--pythonpath={extra}")
    monkeypatch.delitem(site.environment, "PYTHONWARNINGS")
    monkeypatch.setitem(site.environment, "OF_THE_SHOP", "kept")
    try:
        # From elsewhere: nothing may depend on the folder.
        site.folder, folder = site.data_dir, site.folder
        site.spawn(*options, str(folder / "manage.py"), *SERVE, *own)
        site.wait_until_ready()
    finally:
        site.folder = folder
    [facts] = site.facts()
    assert facts == {
        "pid": site.pid,
        "argv": [*SERVE, *own],
        "path": str(extra),
        "settings": "other_settings",
        "variable": "kept",
        "warnings": ["error::UserWarning"],
        "utf8": 1,
        "isolated": 1,
        "reactor": "ResetSafeReactor",
        "in_main_thread": True,
    }
    assert site.stop() == 0


@from_the_very_start
def test_as_a_module(site: Site) -> None:
    """Rule 14: `python -m django serve`."""
    site.environment["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    try:
        site.spawn("-m", "django", *SERVE)
        site.wait_until_ready()
    finally:
        del site.environment["DJANGO_SETTINGS_MODULE"]
    [facts] = site.facts()
    assert (facts["path"], facts["argv"]) == (str(site.folder), list(SERVE))
    assert site.stop() == 0


@from_the_very_start
@pytest.mark.parametrize("delay", DELAYS)
def test_a_signal_ends_it_whenever_it_comes(site: Site, delay: float) -> None:
    """Rule 14."""
    site.spawn("manage.py", *SERVE)
    wait_for(lambda: catches(site.pid, signal.SIGTERM), "a handler")
    time.sleep(delay)  # what is tested
    site.signal(signal.SIGTERM)
    assert site.wait(15) == 0
    assert "Traceback" not in site.log(), site.log()


@from_the_very_start
def test_a_signal_between_the_two_interpreters_waits(site: Site) -> None:
    """Rule 14: the new one has no handler yet; the signal would end it in the wrong way."""
    site.spawn("manage.py", *SERVE)
    deadline = time.monotonic() + 20
    while not any(word.endswith("__main__.py") for word in command_line(site.pid)):
        assert time.monotonic() < deadline and not site.ended(), site.log()
    site.signal(signal.SIGTERM)
    assert site.wait(15) == 0


def test_what_is_wrong_is_one_line(site: Site) -> None:
    """Rule 14: as without a second interpreter."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = site.manage("serve", f"--client-port={port}", "--worker-port=0", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"port {port} is in use" in done.stderr.splitlines()[-1]


@from_the_very_start
def test_an_error_of_the_shop_is_shown_as_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 14: only the second interpreter meets it, and its traceback begins with manage.py."""
    monkeypatch.delitem(site.environment, "PYTHONWARNINGS")
    (site.folder / "broken_settings.py").write_text(
        "from shop.settings import *\nimport sys\n"
        "if 'sockets.server.reactor' in sys.modules:\n    raise RuntimeError('of the shop')\n"
    )
    done = site.manage(*SERVE, "--settings=broken_settings", check=False)
    assert done.returncode == 1
    lines = done.stderr[done.stderr.index("Traceback") :].splitlines()
    assert lines[1] == f'  File "{site.folder / "manage.py"}", line 22, in <module>'
    assert lines[-1] == "RuntimeError: of the shop"


@from_the_very_start
def test_it_is_not_begun_anew_for_ever(site: Site, tmp_path: Path) -> None:
    """Rule 14: whatever comes first in every interpreter here has a reactor of its own."""
    (tmp_path / "sitecustomize.py").write_text("import twisted.internet.reactor\n")
    site.environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    try:
        done = site.manage(*SERVE, check=False)
    finally:
        site.environment["PYTHONPATH"] = str(ROOT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("gateway: a Twisted reactor is installed")
    assert "Traceback" not in done.stderr


@from_the_very_start
def test_a_program_that_calls_it_is_told_how(site: Site) -> None:
    """Rule 14: nobody's program is replaced."""
    script = (
        "import django\ndjango.setup()\n"
        "from django.core.management import CommandError, call_command\n"
        "try:\n    call_command('serve', client_port=0, worker_port=0)\n"
        "except CommandError as error:\n    print('told:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=site.folder,
        env=site.environment | {"DJANGO_SETTINGS_MODULE": "shop.settings"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = done.stdout.splitlines()[-1]
    assert told.startswith("told: a Twisted reactor is installed already") and "serve" in told


def test_other_commands_are_as_they_were(site: Site) -> None:
    """Rule 14."""
    assert "no issues" in site.manage("check").stdout
    assert "No changes" in site.manage("makemigrations", "--check", "--dry-run").stdout
    assert "--reload" in site.manage("serve", "--help").stdout


@from_the_very_start
def test_runserver_is_as_it_was(site: Site) -> None:
    """Rule 14: daphne's, on daphne's reactor, with the whole site."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        site.client_port = free.getsockname()[1]
    try:
        site.spawn("manage.py", "runserver", "--noreload", f"{site.client_port}")
        wait_for(lambda: site.ended() or site.listens(), "runserver", PATIENCE)
        assert http_get(site.client_port, "/")[0] == 200
        assert http_get(site.client_port, "/admin/login/")[0] == 200
        [facts] = site.facts()
        assert facts["reactor"] == "AsyncioSelectorReactor"
    finally:
        site.signal(signal.SIGTERM)
        site.wait()
        site.client_port = 0


@from_the_very_start
def test_this_project_starts_once(gateway: Gateway) -> None:
    """Rule 14."""
    assert command_line(gateway.pid)[1] == "manage.py"
