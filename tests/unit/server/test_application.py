"""What `serve` makes of ASGI_APPLICATION before it says that it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from sockets.server.application import load_application, require_sockets

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
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_site.py").write_text(SITE)
    (tmp_path / "broken_site.py").write_text("import nothing_like_this\n")
    (tmp_path / "worse_site.py").write_text("application = (\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("sites")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "it is not set"),
        ("", "it is not set"),
        (7, "it is int and no text"),
        ("application", "cannot be imported"),
        ("no.such.module", "No module named 'no'"),
        ("bad_site:nothing", "nothing"),
        ("broken_site.application", "No module named 'nothing_like_this'"),
        ("worse_site.application", "SyntaxError"),
        ("bad_site.Chat", "is a class"),
        ("bad_site.number", "is int and no application"),
        ("bad_site.django", f"{UNSERVED} (ValueError: Django can only"),
        ("bad_site.wrapped", f"{UNSERVED} (ValueError: Django can only"),
        ("bad_site:router", f"{UNSERVED} (ValueError: No application"),
        ("bad_site.elsewhere", f"{UNSERVED} (ValueError: No route found"),
        ("bad_site.denies", f"{UNSERVED} (it refuses them)"),
        ("bad_site.returns", f"{UNSERVED} (it refuses them)"),
        ("bad_site.synchronous", f"{UNSERVED} (TypeError"),
    ],
)
async def test_what_serves_no_sockets_is_refused_in_one_line(path: Any, said: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        await require_sockets(load_application(path), path)
    told = str(refused.value)
    assert told.startswith("ASGI_APPLICATION: ") and said in told and "\n" not in told
    assert "gateway.asgi.application" in told, "the remedy"
