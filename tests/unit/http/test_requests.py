"""So many requests at once, and what the others get."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from sockets.auth.admission import Admission
from sockets.conf import Conf
from sockets.http.requests import serve_request
from sockets.types import Surface


class SlowApp:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/fails":
            raise RuntimeError("as an application may")


@pytest.fixture
def node() -> Any:
    return SimpleNamespace(admission=Admission(Conf(max_requests=1)))


def scope(path: str, surface: Surface = Surface.PRIVATE, port: int = 1) -> dict[str, Any]:
    return {"path": path, "gateway.surface": surface, "client": ("10.0.0.1", port)}


async def ask(app: Any, given: dict[str, Any], node: Any) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await serve_request(app, given, None, send, node)
    return sent


@pytest.mark.parametrize(
    ("path", "surface", "kind"),
    [
        ("/api/v1/nodes", Surface.PRIVATE, b"application/problem+json"),
        ("/api/v1/nodes", Surface.PUBLIC, b"text/plain; charset=utf-8"),
        ("/admin/", Surface.PRIVATE, b"text/plain; charset=utf-8"),
    ],
)
async def test_one_too_many_is_503(node: Any, path: str, surface: Surface, kind: bytes) -> None:
    app = SlowApp()
    first = asyncio.ensure_future(ask(app, scope(path, surface), node))
    await asyncio.sleep(0)
    start, body = await ask(app, scope(path, surface, port=2), node)
    headers = dict(start["headers"])
    assert (start["status"], headers[b"retry-after"], headers[b"content-type"]) == (503, b"5", kind)
    if b"json" in kind:
        assert json.loads(body["body"])["status"] == 503
    else:
        assert body["body"] == b"Too many requests at once.\n"
    app.go_on.set()
    assert (await first)[0]["status"] == 200
    assert app.begun == 1
    assert (await ask(app, scope(path, surface), node))[0]["status"] == 200, "a place is free"


async def test_one_that_fails_gives_its_place_back(node: Any) -> None:
    app = SlowApp()
    app.go_on.set()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await ask(app, scope("/fails"), node)
    assert app.begun == 2


async def test_machines_that_look_after_the_node_always_get_in(node: Any) -> None:
    app = SlowApp()
    first = asyncio.ensure_future(ask(app, scope("/admin/"), node))
    others = [
        asyncio.ensure_future(ask(app, scope(path), node))
        for path in ("/healthz", "/readyz", "/metrics")
    ]
    await asyncio.sleep(0)
    app.go_on.set()
    for answer in await asyncio.gather(first, *others):
        assert answer[0]["status"] == 200
