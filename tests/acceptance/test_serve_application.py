"""`serve` with an ASGI_APPLICATION that is none, or serves no sockets: one line, and no start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.gateway import ROOT, Gateway, wait_for

SITE = '''
"""Applications that do not serve the gateway."""
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

django = get_asgi_application()
number = 42


async def wrapped(scope, receive, send):
    await django(scope, receive, send)


async def denies(scope, receive, send):
    await send({"type": "websocket.close", "code": 1000})


async def returns(scope, receive, send):
    pass


def synchronous(environ, start_response):
    return []


class Chat(AsyncWebsocketConsumer):
    pass


router = ProtocolTypeRouter({"http": django})
elsewhere = ProtocolTypeRouter({"websocket": URLRouter([path("chat/", Chat.as_asgi())])})


async def gateway(scope, receive, send):
    from gateway.asgi import application
    await application(scope, receive, send)
'''
UNSERVED = "does not serve the gateway's sockets"


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    (tmp_path / "bad_site.py").write_text(SITE)
    (tmp_path / "broken_site.py").write_text("import nothing_like_this\n")
    (tmp_path / "worse_site.py").write_text("application = (\n")
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
        ("ASGI_APPLICATION = None", "it is not set"),
        ("ASGI_APPLICATION = ''", "it is not set"),
        ("ASGI_APPLICATION = 7", "it is int and no text"),
        ("ASGI_APPLICATION = 'application'", "cannot be imported"),
        ("ASGI_APPLICATION = 'no.such.module'", "No module named 'no'"),
        ("ASGI_APPLICATION = 'bad_site:nothing'", "nothing"),
        ("ASGI_APPLICATION = 'broken_site.application'", "No module named 'nothing_like_this'"),
        ("ASGI_APPLICATION = 'worse_site.application'", "SyntaxError"),
        ("ASGI_APPLICATION = 'bad_site.Chat'", "is a class"),
        ("ASGI_APPLICATION = 'bad_site.number'", "is int and no application"),
        ("ASGI_APPLICATION = 'bad_site.django'", f"{UNSERVED} (ValueError: Django can only"),
        ("ASGI_APPLICATION = 'bad_site.wrapped'", f"{UNSERVED} (ValueError: Django can only"),
        ("ASGI_APPLICATION = 'bad_site:router'", f"{UNSERVED} (ValueError: No application"),
        ("ASGI_APPLICATION = 'bad_site.elsewhere'", f"{UNSERVED} (ValueError: No route found"),
        ("ASGI_APPLICATION = 'bad_site.denies'", f"{UNSERVED} (it refuses them)"),
        ("ASGI_APPLICATION = 'bad_site.returns'", f"{UNSERVED} (it refuses them)"),
        ("ASGI_APPLICATION = 'bad_site.synchronous'", f"{UNSERVED} (TypeError"),
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
