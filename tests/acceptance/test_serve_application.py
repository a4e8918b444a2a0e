"""`serve` with an ASGI_APPLICATION that is none, or serves no sockets: one line, and no start. All
sorts of them are in tests/unit/server/test_application.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway import ROOT, Gateway, wait_for
from tests.unit.server.test_application import SITE

UNSERVED = "does not serve the gateway's sockets"


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    (tmp_path / "bad_site.py").write_text(SITE)
    (tmp_path / "unready_site.py").write_text(
        "from django.core.exceptions import ImproperlyConfigured\n"
        "raise ImproperlyConfigured('STATIC_ROOT is empty: collect it first')\n"
    )
    settings(tmp_path, "")
    made = Gateway(
        tmp_path / "data",
        DJANGO_SETTINGS_MODULE="bad_settings",
        PYTHONPATH=f"{tmp_path}:{ROOT}",
        READY_LAG="30",
    )
    made.migrate()
    return made


def settings(folder: Path, line: str) -> None:
    (folder / "bad_settings.py").write_text(f"from gateway.settings import *\n{line}\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("del ASGI_APPLICATION", "it is not set"),
        ("ASGI_APPLICATION = 'no.such.module'", "No module named 'no'"),
        ("ASGI_APPLICATION = 'bad_site.django'", f"{UNSERVED} (ValueError: Django can only"),
        ("ASGI_APPLICATION = 'bad_site.denies'", f"{UNSERVED} (it refuses them)"),
    ],
)
def test_is_refused_in_one_line(gateway: Gateway, tmp_path: Path, line: str, said: str) -> None:
    settings(tmp_path, line)
    done = gateway.manage("serve", "--client-port=0", "--worker-port=0", check=False)
    assert done.returncode == 1
    assert "is ready" not in done.stdout
    [told] = [text for text in done.stderr.splitlines() if "[warning" not in text]
    assert "ASGI_APPLICATION: " in told and said in told
    assert "gateway.asgi.application" in told, "the remedy"


def test_one_that_passes_them_on_is_taken(gateway: Gateway, tmp_path: Path) -> None:
    settings(tmp_path, "ASGI_APPLICATION = 'bad_site.gateway'\nGATEWAY['ready_lag'] = 0")
    gateway.start()
    try:
        wait_for(lambda: "is ready" in gateway.log(), "the banner")
    finally:
        assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()


def test_the_projects_own_words_are_not_explained_away(gateway: Gateway, tmp_path: Path) -> None:
    settings(tmp_path, "ASGI_APPLICATION = 'unready_site.application'")
    done = gateway.manage("serve", "--client-port=0", "--worker-port=0", check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 1 and "STATIC_ROOT is empty: collect it first" in told
    assert "ASGI_APPLICATION" not in told and "Traceback" not in told
