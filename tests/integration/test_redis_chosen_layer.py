"""The channel layer of a project, and one of the gateway's own, on a real server: everything that
publishes uses it, in both forms, and what the project sends arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import LazySettings

from sockets.base.ids import new_id
from sockets.conf import Conf
from sockets.layers.chosen import REDIS, STOCK
from sockets.layers.groups import user_group
from sockets.layers.redis import RedisChannelLayer
from sockets.node.backends import backends, sync_backends
from sockets.node.state import Backends
from sockets.types import Notification
from tests.support.doubles import until
from tests.support.valkey import Server, shared

KEYS = {"symmetric_encryption_keys": ["key"]}


@pytest.fixture
def prefix() -> str:
    return f"t{new_id()}"


class Heard:
    """What comes to user 42, as a gateway in this process hears it."""

    def __init__(self, state: Backends) -> None:
        self.state, self.messages = state, list[Any]()

    async def __aenter__(self) -> list[Any]:
        await self.state.layer.group_add_sink(user_group("42"), self.messages.append)
        return self.messages

    async def __aexit__(self, *_: object) -> None:
        await self.state.layer.group_discard_sink(user_group("42"), self.messages.append)
        await self.state.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    yield shared()


async def notified(conf: Conf, heard: list[Any]) -> None:
    """Both ways of a thread: with the script that appends and publishes, and past it."""
    sync = sync_backends(conf)
    for durable in (True, False):
        note = Notification("42", f"durable {durable}", durable=durable)
        await asyncio.to_thread(sync.notifier.send, note)
    await until(lambda: len(heard) == 2)
    assert [one["event"] for one in heard] == ["durable True", "durable False"]


@pytest.mark.parametrize("options", [{}, KEYS], ids=str)
async def test_an_alias_is_used_everywhere(
    settings: LazySettings, prefix: str, options: dict[str, Any], server: Server
) -> None:
    """Rule 12: hosts, prefix and keys of the alias; in threads too; never closed by us."""
    own = {"hosts": [server.url], "prefix": prefix, **options}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
        "own": {"BACKEND": REDIS, "CONFIG": own},
    }
    conf = Conf(layer="own", redis_url=server.url, namespace=prefix, layer_prefix="other")
    layer: Any = get_channel_layer("own")
    theirs: list[Any] = []
    await layer.group_add_sink("of-the-project", theirs.append)
    async with Heard(backends(conf)) as heard:
        await notified(conf, heard)
    await layer.group_send("of-the-project", {"type": "t"})
    await until(lambda: theirs)
    await layer.close()


async def test_a_listener_for_gaps_may_go(prefix: str, server: Server) -> None:
    layer: Any = RedisChannelLayer(hosts=[server.url], prefix=prefix)
    calls: list[int] = []
    listeners = [lambda: calls.append(1), lambda: calls.append(2)]
    await layer.group_add_sink("g", lambda _: None)
    for listener in listeners:
        layer.add_gap_listener(listener)
    layer.discard_gap_listener(listeners[0])
    layer._get_layer()._on_ready(again=True)
    assert calls == [2]
    await layer.close()


async def test_the_layer_may_be_on_another_server(
    settings: LazySettings, prefix: str, server: Server
) -> None:
    """Rule 12: then the layer message follows the append."""
    other = Server()
    host = {"host": "127.0.0.1", "port": other.port}
    own = {"BACKEND": REDIS, "CONFIG": {"hosts": [host], "prefix": prefix}}
    settings.CHANNEL_LAYERS = {"default": own}
    conf = Conf(redis_url=server.url, namespace=prefix)
    try:
        async with Heard(backends(conf)) as heard:
            await notified(conf, heard)
            assert prefix.encode() not in server.ask(b"PUBSUB CHANNELS")
        await get_channel_layer().close()  # type: ignore[union-attr]
    finally:
        other.kill()


async def test_one_of_its_own_hears_the_stock_layer_of_the_project(
    settings: LazySettings, prefix: str, server: Server
) -> None:
    """Rule 12: the project keeps its default layer, and both reach each other."""
    stock = {"BACKEND": STOCK, "CONFIG": {"hosts": [server.url], "prefix": prefix}}
    settings.CHANNEL_LAYERS = {"default": stock}
    conf = Conf(redis_url=server.url.replace("/0", "/3"), namespace=prefix)
    state = backends(conf)
    async with Heard(state) as heard:
        await notified(conf, heard)
        message = {"type": "user.notify", "event": "plain", "data": 1}
        await get_channel_layer().group_send(user_group("42"), message)  # type: ignore[union-attr]
        await until(lambda: len(heard) == 3)
        assert heard[2] == message
    assert not state.layer.connected, "what it made it has closed"
    await get_channel_layer().flush()  # type: ignore[union-attr]
