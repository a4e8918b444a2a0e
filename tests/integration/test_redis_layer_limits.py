"""The Redis layer when there is too much, when nobody reads, and when keys are used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from redis.asyncio import Redis

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.exceptions import GatewayUnavailable
from sockets.layers import publisher as publisher_module
from sockets.layers.redis import RedisChannelLayer
from sockets.redis import connect, connect_sync
from tests.support.doubles import MovedClock, until, until_told
from tests.support.patience import PATIENCE
from tests.support.valkey import Server, shared


@pytest.fixture
def prefix() -> str:
    return f"t{new_id()}"


@pytest.fixture
async def layer(prefix: str) -> AsyncIterator[Any]:
    made = RedisChannelLayer(hosts=[shared().url], prefix=prefix, capacity=3)
    yield made
    await made.close()


@pytest.fixture
async def client() -> AsyncIterator[Redis]:
    made = connect(shared().url)
    yield made
    await made.aclose()


async def test_encrypted_messages_are_read_with_the_key_only(prefix: str) -> None:
    options: dict[str, Any] = {"hosts": [shared().url], "prefix": prefix}
    one: Any = RedisChannelLayer(**options, symmetric_encryption_keys=["key"])
    two: Any = RedisChannelLayer(**options, symmetric_encryption_keys=["new", "key"])
    blind: Any = RedisChannelLayer(**options)
    heard: list[Any] = []
    unread: list[Any] = []
    before = metrics.LAYER_ERRORS._value.get()
    try:
        assert blind.wire.scriptable
        assert not one.wire.scriptable
        await two.group_add_sink("g", heard.append)
        await blind.group_add_sink("g", unread.append)
        await one.group_send("g", {"type": "t", "n": 1})
        await until(lambda: heard)
        await until(lambda: metrics.LAYER_ERRORS._value.get() == before + 1)
        assert (heard, unread) == ([{"type": "t", "n": 1}], [])
    finally:
        for made in (one, two, blind):
            await made.close()


async def channels_of(client: Redis, prefix: str) -> set[str]:
    """What is subscribed to on the server, canaries apart."""
    names = {name.decode() for name in await client.pubsub_channels(f"{prefix}*")}
    return {name for name in names if "__canary__" not in name}


async def test_messages_on_their_way_when_the_last_member_leaves_are_kept_by_nobody(
    layer: Any, prefix: str
) -> None:
    sync = connect_sync(shared().url)
    heard: list[Any] = []
    await layer.group_add_sink("g", heard.append)
    for _ in range(3):  # the loop stands still meanwhile: they wait in our socket
        sync.publish(f"{prefix}__group__g", layer.wire.encode({"type": "t"}))
    sync.close()
    await layer.group_discard_sink("g", heard.append)
    await layer.group_add_sink("end", heard.append)
    await layer.group_send("end", {"type": "end"})
    await until(lambda: heard == [{"type": "end"}])
    assert len(layer._queues._queues) == 0


async def test_a_channel_nobody_reads_is_buried_and_its_groups_are_left(
    client: Redis, prefix: str
) -> None:
    clock = MovedClock()
    layer: Any = RedisChannelLayer(
        hosts=[shared().url], prefix=prefix, capacity=2, expiry=60, clock=clock
    )
    try:
        channel = await layer.new_channel(f"{prefix}.dead")
        await layer.group_add("g", channel)
        before = metrics.dropped_layer._value.get()
        for n in range(3):
            await layer.group_send("g", {"type": "t", "n": n})
        await until(lambda: metrics.dropped_layer._value.get() == before + 1)
        assert len(await channels_of(client, prefix)) == 2
        clock.advance(61)
        await layer.group_send("g", {"type": "t", "n": 3})
        await until(lambda: metrics.dropped_layer._value.get() == before + 3)
        await layer.group_send("g", {"type": "t", "n": 4})  # after the UNSUBSCRIBE, or nearly

        async def all_are_left() -> bool:
            return not await channels_of(client, prefix)

        await until_told(all_are_left)
        assert len(layer._queues._queues) == 0
    finally:
        await layer.close()


async def test_an_unused_queue_goes_and_is_unsubscribed(client: Redis, prefix: str) -> None:
    clock = MovedClock()
    layer: Any = RedisChannelLayer(hosts=[shared().url], prefix=prefix, expiry=60, clock=clock)
    try:
        old = await layer.new_channel(f"{prefix}.old")
        clock.advance(61)
        new = await layer.new_channel(f"{prefix}.new")

        async def only_the_new_one() -> bool:
            return await channels_of(client, prefix) == {new}

        await until_told(only_the_new_one)
        assert old not in layer._queues._queues
    finally:
        await layer.close()


async def test_more_than_the_queue_takes_is_refused(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "MAX_PUBLISHING", 50)
    heard: list[int] = []
    await layer.group_add_sink("g", lambda message: heard.append(message["n"]))
    sends = [layer.group_send("g", {"type": "t", "n": n}) for n in range(80)]
    results = await asyncio.gather(*sends, return_exceptions=True)
    refused = [n for n, result in enumerate(results) if result is not None]
    assert len(refused) >= 30
    errors = [result for result in results if isinstance(result, GatewayUnavailable)]
    assert len(errors) == len(refused)
    assert {error.outcome for error in errors} == {"nothing"}
    await layer.group_send("g", {"type": "t", "n": 100})
    await until(lambda: 100 in heard)
    assert heard == [*(n for n in range(80) if n not in refused), 100]


async def test_a_large_message_too_many_is_refused(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "MAX_PUBLISHING_BYTES", 10_000)
    with pytest.raises(GatewayUnavailable, match="too slow"):
        await layer.group_send("g", {"type": "t", "text": "x" * 20_000})
    await layer.group_send("g", {"type": "t"})


async def test_threads_and_close_leave_no_connection(prefix: str) -> None:
    server = Server()
    layer: Any = RedisChannelLayer(hosts=[server.url], prefix=prefix)
    watch = connect(server.url)
    try:
        heard: list[Any] = []
        await layer.group_add_sink("g", heard.append)
        for n in range(10):
            await asyncio.to_thread(async_to_sync(layer.group_send), "g", {"type": "t", "n": n})
        await until(lambda: len(heard) == 10)

        async def open_are(count: int) -> bool:
            names = [one["name"] for one in await watch.client_list()]
            return names.count("gateway-layer") == count

        await until_told(lambda: open_are(2))
        await layer.close()
        await until_told(lambda: open_are(0))
    finally:
        await layer.close()
        await watch.aclose()
        server.stop()


async def test_only_channels_of_this_process_join_groups(prefix: str) -> None:
    """As in the stock layer: messages of a group go to the queues of the process that joined."""
    one: Any = RedisChannelLayer(hosts=[shared().url], prefix=prefix)
    other: Any = RedisChannelLayer(hosts=[shared().url], prefix=prefix)
    try:
        foreign = await other.new_channel()
        for channel in (foreign, "a-name", f"specific.{'0' * 16}.{'0' * 16}"):
            with pytest.raises(RuntimeError, match=r"self\.channel_name"):
                await one.group_add("g", channel)
        assert "g" not in one._fanout
        with pytest.raises(TypeError):
            await one.group_add("a b", foreign)
    finally:
        await one.close()
        await other.close()


async def test_what_is_given_up_is_unsubscribed(client: Redis, prefix: str) -> None:
    """With no message that would find it."""
    layer: Any = RedisChannelLayer(hosts=[shared().url], prefix=prefix, expiry=0.05)
    try:
        channel = await layer.new_channel(prefix)
        await layer.group_add("g", channel)

        async def nothing_is_left() -> bool:
            return not await channels_of(client, prefix)

        await until_told(nothing_is_left)
        assert "g" not in layer._fanout
    finally:
        await layer.close()


async def test_a_channel_that_joins_while_its_receive_fails_is_listened_to_later(
    prefix: str,
) -> None:
    server = Server()
    layer: Any = RedisChannelLayer(hosts=[server.url], prefix=prefix, join_timeout=1.5)
    try:
        await layer.group_add_sink("h", print)
        server.freeze()
        receiving = asyncio.ensure_future(layer.receive("named"))
        await until(lambda: "named" in layer._queues)
        joining = asyncio.ensure_future(layer.group_add("g", "named"))
        with pytest.raises(GatewayUnavailable):
            await receiving
        with suppress(GatewayUnavailable):
            await joining
        server.thaw()
        await layer.group_add("g", "named")
        await layer.group_send("g", {"type": "t", "n": 1})
        assert (await asyncio.wait_for(layer.receive("named"), PATIENCE))["n"] == 1
    finally:
        await layer.close()
        server.kill()


async def test_a_queue_that_goes_during_a_flush_opens_nothing(prefix: str) -> None:
    layer: Any = RedisChannelLayer(hosts=[shared().url], prefix=prefix, expiry=0.02)
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    (link,) = layer._links
    close = link.close

    async def slow() -> None:
        await asyncio.sleep(0.1)
        await close()

    link.close = slow
    await layer.flush()
    assert layer._links == []
