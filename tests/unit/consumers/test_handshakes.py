"""Which handshakes are refused before a consumer has them, and how."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from sockets.auth.admission import Admission
from sockets.base.client_address import Trusted
from sockets.conf import Conf
from sockets.consumers import handshakes
from sockets.consumers.handshakes import Handshakes
from sockets.types import Surface

PUBLIC, PRIVATE, BOTH = Surface.PUBLIC, Surface.PRIVATE, Surface.BOTH
REFUSES: dict[str, Any] = {"websocket.http.response": {}}


def node(**given: Any) -> Any:
    conf = Conf(**given)
    addresses = SimpleNamespace(client_socket_url="ws://gw.test")
    return SimpleNamespace(conf=conf, admission=Admission(conf), addresses=addresses)


def scope(path: str = "/", surface: Surface = PUBLIC, port: int = 1, **given: Any) -> Any:
    return {
        "path": path,
        "gateway.surface": surface,
        "headers": [],
        "client": ("10.0.0.1", port),
    } | given


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Consumers that note their names, in the place of the real ones."""
    found: list[str] = []

    def noting(name: str) -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            found.append(name)

        return serve

    monkeypatch.setattr(handshakes, "_CLIENT", noting("client"))
    monkeypatch.setattr(handshakes, "_WORKER", noting("worker"))
    return found


async def ask(given: Any, gateway: Any, serving: Handshakes | None = None) -> list[Any]:
    """What is sent for a handshake that has begun."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(
        (serving or Handshakes(gateway.conf)).serve(given, receive, send, gateway), 5
    )
    return sent


@pytest.mark.parametrize(
    ("surface", "path", "who"),
    [
        (PUBLIC, "/", "client"),
        (PUBLIC, "/ws/client", "client"),
        (PUBLIC, "/ws/client/", "client"),
        (PRIVATE, "/", "worker"),
        (PRIVATE, "/ws/worker/", "worker"),
        (BOTH, "/", "client"),
        (BOTH, "/ws/client", "client"),
        (BOTH, "/ws/worker", "worker"),
    ],
)
async def test_surface_and_path_decide(
    served: list[str], surface: Surface, path: str, who: str
) -> None:
    assert await ask(scope(path, surface), node()) == []
    assert served == [who]


@pytest.mark.parametrize(
    ("surface", "path"), [(PUBLIC, "/ws/worker/"), (PRIVATE, "/ws/client/"), (BOTH, "/ws")]
)
async def test_other_paths_are_refused(
    served: list[str], surface: Surface, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    refused = [{"type": "websocket.close", "code": 1008}]
    assert await ask(scope(path, surface, extensions=REFUSES), node()) == refused
    assert served == []
    assert caplog.records[-1].audit["path"] == path  # type: ignore[attr-defined]
    assert caplog.records[-1].audit["address"] == "10.0.0.1"  # type: ignore[attr-defined]


ORIGIN = [(b"origin", b"https://evil.test")]


async def test_a_foreign_page_is_refused(served: list[str]) -> None:
    given = scope(headers=ORIGIN, extensions=REFUSES)
    assert await ask(given, node(environment="test")) == [{"type": "websocket.close", "code": 1008}]
    start, body = await ask(given, node(environment="development"))
    assert start["status"] == 403
    assert b"CLIENT_ORIGIN=https://evil.test" in body["body"]
    without = scope(headers=ORIGIN)
    refused = [{"type": "websocket.close", "code": 1008}]
    assert await ask(without, node(environment="development")) == refused
    assert served == []


async def test_too_many_from_one_host_are_refused_whatever_their_ports(served: list[str]) -> None:
    gateway = node(connect_rate=1.0, connect_burst=1)
    assert await ask(scope(port=1), gateway) == []
    start, _ = await ask(scope(port=2, extensions=REFUSES), gateway)
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"5")
    assert await ask(scope(port=3), gateway) == [{"type": "websocket.close", "code": 1013}]
    assert await ask(scope("/ws/worker/", PRIVATE, port=4), gateway) == []
    assert served == ["client", "worker"]


async def test_an_unknown_proxy_is_warned_of_once(
    served: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    forwarded = [(b"x-forwarded-for", b"192.0.2.7")]
    serving, known = Handshakes(Conf()), Trusted(count=1)
    await ask(scope(headers=forwarded), node(trusted_proxies=known), serving)
    assert caplog.records == []
    for _ in range(2):
        await ask(scope(headers=forwarded), node(), serving)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "TRUSTED_PROXIES" in caplog.text


async def test_paths_are_settings(served: list[str]) -> None:
    gateway = node(client_paths=("/gw/",), worker_paths=("/pool",))
    serving = Handshakes(gateway.conf)
    for path in ("/gw", "/gw/"):
        assert serving.has(PUBLIC, path) and not serving.has(PRIVATE, path)
        assert await ask(scope(path), gateway, serving) == []
    await ask(scope("/pool", PRIVATE), gateway, serving)
    assert served == ["client", "client", "worker"]
    assert not serving.has(PUBLIC, "/")
    assert not serving.has(PUBLIC, "/ws/client")


async def test_a_server_may_stand_below_a_path(served: list[str]) -> None:
    assert await ask(scope("/below/ws/client", root_path="/below"), node()) == []
    assert served == ["client"]
