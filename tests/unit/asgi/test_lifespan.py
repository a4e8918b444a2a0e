"""The lifespan of an ASGI server: the node's, round that of the project's application."""

from __future__ import annotations

from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from sockets.asgi import with_gateway
from tests.unit.asgi.test_dispatch import App, node, through

__all__ = ["node"]
BOTH_ENDS = ("lifespan.startup", "lifespan.shutdown")


class Living:
    """An application with a lifespan. `says`: what it answers to its start."""

    def __init__(
        self,
        node: Any,
        says: str = "lifespan.startup.complete",
        ends: str = "lifespan.shutdown.complete",
    ) -> None:
        self.node = node
        self.says, self.ends = says, ends
        self.seen: list[tuple[str, int, int]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        while True:
            message = await receive()
            self.seen.append((message["type"], self.node.started, self.node.stopped))
            start = message["type"] == "lifespan.startup"
            await send({"type": self.says if start else self.ends})
            if not start:
                return


def kinds(sent: list[Any]) -> list[str]:
    return [message["type"].removeprefix("lifespan.") for message in sent]


async def test_the_project_s_is_inside_the_node_s(node: Any) -> None:
    """Rule 4: whatever it asks of the gateway, it can from its start to its end."""
    app = Living(node)
    sent = await through(with_gateway(app), {"type": "lifespan"}, *BOTH_ENDS)
    assert kinds(sent) == ["startup.complete", "shutdown.complete"]
    assert app.seen == [("lifespan.startup", 1, 0), ("lifespan.shutdown", 1, 0)]
    assert (node.started, node.stopped) == (1, 1)


class Ends:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        return


class Fails:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise ValueError(f"No application configured for scope type {scope['type']!r}")


def no_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    raise ValueError("as an application of another kind")


@pytest.mark.parametrize(
    "app",
    [Ends(), Fails(), no_coroutine, get_asgi_application(), ProtocolTypeRouter({"http": App()})],
)
async def test_one_that_has_none_is_let_alone(node: Any, app: Any) -> None:
    sent = await through(with_gateway(app), {"type": "lifespan"}, *BOTH_ENDS)
    assert kinds(sent) == ["startup.complete", "shutdown.complete"]
    assert (node.started, node.stopped) == (1, 1)


async def test_a_node_that_cannot_start_is_told_in_one_line(node: Any) -> None:
    node.fails = RuntimeError("another process has this folder")
    app = Living(node)
    sent = await through(with_gateway(app), {"type": "lifespan"}, "lifespan.startup")
    assert sent == [
        {"type": "lifespan.startup.failed", "message": "another process has this folder"}
    ]
    assert app.seen == []


async def test_a_project_that_cannot_start_stops_the_node(node: Any) -> None:
    app = Living(node, says="lifespan.startup.failed")
    sent = await through(with_gateway(app), {"type": "lifespan"}, "lifespan.startup")
    assert kinds(sent) == ["startup.failed"]
    assert node.stopped == 1


async def test_a_project_that_does_not_end_well_is_told_when_the_node_has(node: Any) -> None:
    app = Living(node, ends="lifespan.shutdown.failed")
    sent = await through(with_gateway(app), {"type": "lifespan"}, *BOTH_ENDS)
    assert kinds(sent) == ["startup.complete", "shutdown.failed"]
    assert node.stopped == 1


async def test_without_a_node_the_project_s_is_served_all_the_same(node: Any) -> None:
    """Rule 21."""
    app = Living(node)
    sent = await through(with_gateway(app, node=False), {"type": "lifespan"}, *BOTH_ENDS)
    assert kinds(sent) == ["startup.complete", "shutdown.complete"]
    assert app.seen == [("lifespan.startup", 0, 0), ("lifespan.shutdown", 0, 0)]
