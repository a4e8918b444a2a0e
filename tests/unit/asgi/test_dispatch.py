"""`with_gateway`: the gateway round an application that knows nothing of it."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.urls import re_path

from sockets.asgi import dispatch, lifespan, with_gateway
from sockets.auth.admission import Admission
from sockets.base.client_address import Trusted
from sockets.conf import Conf
from sockets.types import Surface
from tests.support.gateway import ROOT
from tests.support.patience import PATIENCE

PUBLIC, PRIVATE, BOTH = Surface.PUBLIC, Surface.PRIVATE, Surface.BOTH


def test_a_plain_installation_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10."""
    monkeypatch.setitem(sys.modules, "sockets.asgi.dispatch", None)
    with pytest.raises(ImproperlyConfigured, match=r"django-gateway\[server\]"):
        with_gateway(App())


def test_it_may_be_imported_before_django_is_set_up() -> None:
    """Rule 11."""
    command = [sys.executable, "-W", "error", "-c", "import sockets.asgi, sockets.environment"]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")


class App:
    """Answers each request with "ok" and each handshake with a close, and keeps the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4242})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What this process has for a node, without starting one. `fails`: why none can start."""
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

    for module in (dispatch, lifespan):
        monkeypatch.setattr(module, "ensure_node", ensure_node)
    monkeypatch.setattr(lifespan, "stop_node", stop_node)
    return found


async def through(application: Any, scope: dict[str, Any], *messages: str) -> list[Any]:
    """What the application sends for this scope."""
    given = asyncio.Queue[Any]()
    for kind in messages:
        given.put_nowait({"type": kind})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(application(scope, given.get, send), PATIENCE)
    return sent


def request(path: str = "/", surface: Surface | None = None, **scope: Any) -> dict[str, Any]:
    given = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode()}
    given |= {"query_string": b"", "headers": [(b"host", b"localhost")]}
    given |= {"client": ("10.0.0.9", 4711)} | scope
    return given if surface is None else given | {"gateway.surface": surface}


def status(sent: list[Any]) -> Any:
    return sent[0].get("status", sent[0].get("code"))


@pytest.mark.parametrize(
    ("path", "surface", "given", "shown"),
    [
        ("/", PUBLIC, {}, False),
        ("/", None, {}, False),
        ("/", PUBLIC, {"public_site": True}, True),
        ("/any/where", PUBLIC, {"public_site": True}, True),
        ("/", PRIVATE, {}, True),
        ("/", BOTH, {}, True),
        ("/admin/", PRIVATE, {}, True),
        ("/healthz", PRIVATE, {}, False),
        ("/healthz", PUBLIC, {"public_site": True}, False),
        ("/gateway.js", PUBLIC, {"public_site": True}, False),
        ("/gateway.js", PRIVATE, {}, True),
        ("/metrics", PUBLIC, {"public_site": True}, True),
        ("/metrics", PRIVATE, {}, False),
        ("/api/v1/nodes", PUBLIC, {"public_site": True}, True),
        ("/api/v1/nodes", PRIVATE, {}, False),
        ("/api/v2/orders", PRIVATE, {}, True),
        ("/healthz/", PRIVATE, {}, True),
    ],
)
async def test_who_answers(
    node: Any, path: str, surface: Surface | None, given: dict[str, bool], shown: bool
) -> None:
    """Rules 2 and 4: the site is not public unless it is asked for, and ours come first, by an
    exact list."""
    app = App()
    messages = ["http.request"]
    await through(with_gateway(app, **given), request(path, surface), *messages)
    assert len(app.scopes) == shown


async def test_what_is_not_shown_is_not_there(node: Any) -> None:
    sent = await through(with_gateway(App()), request("/admin/", PUBLIC), "http.request")
    assert (status(sent), sent[1]["body"]) == (404, b"Not found\n")
    assert dict(sent[0]["headers"])[b"X-Content-Type-Options"] == b"nosniff"


async def test_the_application_gets_its_scope_as_it_came(node: Any) -> None:
    """Rule 4: whom the site trusts is its own matter."""
    app = App()
    forwarded = [(b"host", b"localhost"), (b"x-forwarded-for", b"192.0.2.7")]
    scope = request("/page", PRIVATE, headers=forwarded, extensions={"tls": {}})
    before = dict(scope)
    await through(with_gateway(app), scope, "http.request")
    assert app.scopes[0] is scope and scope == before


async def test_the_gateway_s_own_see_the_client_behind_the_proxy(
    node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "get_conf", lambda: Conf(trusted_proxies=Trusted(count=1)))
    gateway: Any = with_gateway(App())
    own = App()
    monkeypatch.setattr(gateway, "_own", own)
    forwarded = [(b"host", b"localhost"), (b"x-forwarded-for", b"192.0.2.7")]
    scope = request("/healthz", headers=forwarded)
    await through(gateway, scope)
    assert own.scopes[0]["client"] == ("192.0.2.7", 0)
    assert own.scopes[0]["gateway.surface"] is PUBLIC
    assert "gateway.surface" not in scope


async def test_the_site_needs_no_node(node: Any) -> None:
    """Rule 4."""
    node.fails = RuntimeError("Redis may throw away keys")
    app = App()
    assert status(await through(with_gateway(app), request("/", PRIVATE), "http.request")) == 200
    assert (
        status(await through(with_gateway(app), request("/healthz", PRIVATE), "http.request"))
        == 200
    )
    assert node.started == 0


async def test_without_a_node_there_is_no_api_and_no_socket_and_the_log_says_why_once(
    node: Any, caplog: pytest.LogCaptureFixture
) -> None:
    node.fails = RuntimeError("Redis may throw away keys")
    gateway = with_gateway(App())
    sent = await through(gateway, request("/api/v1/nodes", PRIVATE), "http.request")
    assert status(sent) == json.loads(sent[1]["body"])["status"] == 503
    handshake = request("/", PUBLIC, type="websocket", extensions={"websocket.http.response": {}})
    assert status(await through(gateway, handshake, "websocket.connect")) == 503
    handshake = request("/", PUBLIC, type="websocket")
    assert status(await through(gateway, handshake, "websocket.connect")) == 1013
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert told == [
        "no node can start, and there are no sockets and no API: Redis may throw away keys"
    ]


@pytest.mark.parametrize(
    ("path", "surface", "given", "theirs"),
    [
        ("/ws/chat/", PRIVATE, {}, True),
        ("/ws/chat/", BOTH, {}, True),
        ("/ws/chat/", PUBLIC, {"public_site": True}, True),
        ("/ws/chat/", PUBLIC, {}, False),
        ("/ws/worker/", PUBLIC, {"public_site": True}, True),
    ],
)
async def test_sockets_of_the_project_stay(
    node: Any, path: str, surface: Surface, given: dict[str, bool], theirs: bool
) -> None:
    """Rule 4."""
    app = App()
    handshake = request(path, surface, type="websocket")
    sent = await through(with_gateway(app, **given), handshake, "websocket.connect")
    assert [one["code"] for one in sent] == [4242 if theirs else 1008]
    assert len(app.scopes) == theirs


async def test_a_project_without_sockets_is_not_asked_for_them(node: Any) -> None:
    app = App()
    handshake = request("/none", PRIVATE, type="websocket")
    router = ProtocolTypeRouter({"http": app})
    sent = await through(with_gateway(router), handshake, "websocket.connect")
    assert [one["code"] for one in sent] == [1008]
    assert app.scopes == []


async def wrapped_django(scope: Any, receive: Any, send: Any) -> None:
    await ASGIHandler()(scope, receive, send)


async def wrapped_router(scope: Any, receive: Any, send: Any) -> None:
    await ProtocolTypeRouter({"http": App()})(scope, receive, send)


@pytest.mark.parametrize(
    "app",
    [
        wrapped_django,
        wrapped_router,
        ProtocolTypeRouter({"websocket": URLRouter([re_path("^ws/chat/$", cast(Any, App()))])}),
    ],
)
async def test_a_path_at_which_the_site_has_no_socket_is_403(node: Any, app: Any) -> None:
    """They raise for it, which is a traceback in the log for each handshake of a stranger."""
    handshake = request("/none", PUBLIC, type="websocket")
    gateway = with_gateway(app, public_site=True)
    sent = await through(gateway, handshake, "websocket.connect")
    assert [one["code"] for one in sent] == [1008]
    assert node.started == 0


@pytest.mark.parametrize("text", ["No route found for path 'none'.", "another"])
async def test_faults_of_the_site_s_sockets_stay_its_own(node: Any, text: str) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        if text != "another":
            await receive()
        raise ValueError(text)

    with pytest.raises(ValueError, match=text):
        handshake = request("/none", PRIVATE, type="websocket")
        await through(with_gateway(fails), handshake, "websocket.connect")


async def test_the_surface_that_the_server_says_wins(
    node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "get_conf", lambda: Conf(surface=PUBLIC))
    app = App()
    await through(with_gateway(app), request("/", PRIVATE), "http.request")
    assert len(app.scopes) == 1


async def test_below_a_path_ours_are_found_too(node: Any) -> None:
    app = App()
    scope = request("/below/healthz", PRIVATE, root_path="/below")
    assert status(await through(with_gateway(app), scope, "http.request")) == 200
    assert app.scopes == []


@pytest.fixture
def busy(node: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The node runs, behind a proxy, and 192.0.2.1 has all places that one address can have on the
    public surface."""
    conf = Conf(trusted_proxies=Trusted(count=1))
    node.admission = Admission(Conf(max_requests=8))
    for _ in range(2):
        assert node.admission.begin_request(PUBLIC, "192.0.2.1")
    monkeypatch.setattr(dispatch, "current_node", lambda: node)
    monkeypatch.setattr(dispatch, "get_conf", lambda: conf)
    return node


@pytest.mark.parametrize(
    ("path", "given", "limited"),
    [
        ("/none", {}, True),
        ("/gateway.js", {}, True),
        ("/readyz", {}, True),
        ("/page", {"public_site": True}, True),
        ("/metrics", {"public_site": True}, True),
        ("/healthz", {}, False),
        ("/healthz", {"public_site": True}, False),
    ],
)
async def test_each_request_is_one_of_max_requests(
    busy: Any, path: str, given: dict[str, bool], limited: bool
) -> None:
    """The site's too, by the client's own address; of health only where it is the gateway's."""
    gateway = with_gateway(App(), **given)

    async def ask(address: bytes) -> Any:
        forwarded = [(b"host", b"localhost"), (b"x-forwarded-for", address)]
        asked = request(path, PUBLIC, headers=forwarded)
        return status(await through(gateway, asked, "http.request"))

    assert (await ask(b"192.0.2.1") == 503) == limited
    assert await ask(b"192.0.2.2") != 503


async def test_under_another_server_the_site_s_limits_are_its_own(busy: Any) -> None:
    gateway = with_gateway(App(), public_site=True)
    forwarded = [(b"host", b"localhost"), (b"x-forwarded-for", b"192.0.2.1")]
    for path, expected in (("/page", 200), ("/gateway.js", 503)):
        asked = request(path, headers=forwarded)
        assert status(await through(gateway, asked, "http.request")) == expected


async def test_a_process_may_be_without_a_node(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 21: under `runserver` the site calls the gateway beside it."""
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver", "8000"])
    app = App()
    gateway = with_gateway(app)
    for surface in (PRIVATE, PUBLIC):  # daphne's has one port, and SURFACE has not been heard of
        assert status(await through(gateway, request("/", surface), "http.request")) == 200
    sent = await through(gateway, request("/api/v1/nodes", PRIVATE), "http.request")
    assert status(sent) == 503
    handshake = request("/", PUBLIC, type="websocket")
    assert status(await through(gateway, handshake, "websocket.connect")) == 1013
    assert node.started == 0
    await through(with_gateway(app, node=True), request("/api/v1/x", PRIVATE), "http.request")
    assert node.started == 1
