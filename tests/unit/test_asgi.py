"""`with_gateway`: the gateway round an application that knows nothing of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from sockets.asgi import with_gateway
from sockets.auth.admission import Admission
from sockets.base.client_address import Trusted
from sockets.conf import Conf
from sockets.node import node as node_module
from sockets.types import Surface
from tests.support.gateway import ROOT


def test_a_plain_installation_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10."""
    monkeypatch.setitem(sys.modules, "sockets.http.requests", None)
    with pytest.raises(ImproperlyConfigured, match=r"django-gateway\[server\]"):
        with_gateway(App())


class App:
    """Answers each request with "ok", and keeps the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What this process has for a node, without starting one."""
    conf = Conf(trusted_proxies=Trusted(count=1), max_requests=0)
    found = SimpleNamespace(
        conf=conf,
        admission=Admission(conf),
        addresses=SimpleNamespace(client_socket_url="ws://gw.test"),
        started=0,
        stopped=0,
        fails=None,
    )

    async def ensure_node() -> Any:
        if found.fails is not None:
            raise found.fails
        found.started += 1
        return found

    async def stop_node() -> None:
        found.stopped += 1

    monkeypatch.setattr(node_module, "ensure_node", ensure_node)
    monkeypatch.setattr(node_module, "stop_node", stop_node)
    return found


async def through(application: Any, scope: dict[str, Any], *messages: str) -> list[Any]:
    """What the application sends for this scope."""
    given = asyncio.Queue[Any]()
    for kind in messages:
        given.put_nowait({"type": kind})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(application(scope, given.get, send), 5)
    return sent


def request(path: str = "/", **scope: Any) -> dict[str, Any]:
    return {"type": "http", "path": path, "headers": [], "client": ("10.0.0.9", 4711)} | scope


async def test_requests_reach_the_application_with_surface_and_client(node: Any) -> None:
    app = App()
    forwarded = [(b"x-forwarded-for", b"192.0.2.7")]
    sent = await through(with_gateway(app), request(headers=forwarded))
    assert [message.get("status") for message in sent] == [200, None]
    (scope,) = app.scopes
    assert scope["gateway.surface"] is Surface.PUBLIC
    assert scope["client"] == ("192.0.2.7", 0)


async def test_the_surface_that_the_server_says_wins(node: Any) -> None:
    app = App()
    await through(with_gateway(app), request(**{"gateway.surface": Surface.PRIVATE}))
    assert app.scopes[0]["gateway.surface"] is Surface.PRIVATE


async def test_sockets_never_reach_the_application(node: Any) -> None:
    app = App()
    handshake = request("/none", type="websocket")
    sent = await through(with_gateway(app), handshake, "websocket.connect")
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert app.scopes == []


async def test_the_lifespan_is_the_nodes(node: Any) -> None:
    app = App()
    messages = ("lifespan.startup", "lifespan.shutdown")
    sent = await through(with_gateway(app), {"type": "lifespan"}, *messages)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert (node.started, node.stopped, app.scopes) == (1, 1, [])


async def test_a_node_that_cannot_start_is_told_in_one_line(node: Any) -> None:
    node.fails = RuntimeError("another process has this folder")
    sent = await through(with_gateway(App()), {"type": "lifespan"}, "lifespan.startup")
    assert sent == [
        {"type": "lifespan.startup.failed", "message": "another process has this folder"}
    ]


def test_it_may_be_imported_before_django_is_set_up() -> None:
    command = [sys.executable, "-W", "error", "-c", "import sockets.asgi, sockets.environment"]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
