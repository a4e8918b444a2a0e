"""What Channels and channels-redis test of their own layers, where `test_layers.py` does not."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels import DEFAULT_CHANNEL_LAYER
from channels.exceptions import InvalidChannelLayerError
from channels.layers import channel_layers, get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.test import override_settings

from sockets.base.ids import new_id
from sockets.layers.memory import MemoryChannelLayer
from sockets.layers.redis import RedisChannelLayer
from tests.contracts.test_layers import CAPACITY, LAYERS, Make, arrived, is_silent, soon
from tests.support.doubles import until
from tests.support.patience import PATIENCE
from tests.support.valkey import shared

MEMORY = {"BACKEND": "sockets.layers.memory.MemoryChannelLayer"}
REDIS = {"BACKEND": "sockets.layers.redis.RedisChannelLayer"}


@pytest.fixture(params=list(LAYERS.values()), ids=list(LAYERS))
async def layer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    make: Make = request.param
    async with make(CAPACITY) as made:
        yield made


def bare(name: str) -> Any:
    """A layer that no event loop has seen."""
    if name == "memory":
        return MemoryChannelLayer(capacity=CAPACITY)
    return RedisChannelLayer(hosts=[shared().url], prefix=f"t{new_id()}", capacity=CAPACITY)


both = pytest.mark.parametrize("name", LAYERS)


# --- several event loops


@both
def test_what_other_loops_send_is_received_in_order(name: str) -> None:
    """The receiver's loop does not run meanwhile, and each sender has a loop of its own."""
    layer = bare(name)
    with closing(asyncio.new_event_loop()) as loop:
        channel = loop.run_until_complete(layer.new_channel())
        for n in range(CAPACITY):
            async_to_sync(layer.send, force_new_loop=bool(n % 2))(channel, {"type": "t", "n": n})
        got = [loop.run_until_complete(soon(layer, channel))["n"] for _ in range(CAPACITY)]
        assert got == list(range(CAPACITY))


@both
def test_a_loop_that_ends_leaves_nothing(
    name: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """No connection, no task that is destroyed while it is pending."""
    layer = bare(name)

    async def all_of_it() -> None:
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        await layer.group_send("g", {"type": "t", "n": 1})
        assert (await soon(layer, channel))["n"] == 1
        await layer.group_discard("g", channel)
        await layer.send(channel, {"type": "left"})

    for _ in range(3):
        async_to_sync(all_of_it, force_new_loop=True)()
        asyncio.run(all_of_it())
    if name == "redis":
        assert not layer._layers
    assert not caplog.records and not recwarn.list


@both
def test_a_loop_that_ends_with_a_receiver_opens_nothing_again(name: str) -> None:
    layer = bare(name)
    loop = asyncio.new_event_loop()
    channel = loop.run_until_complete(layer.new_channel())
    waiting = loop.create_task(layer.receive(channel))
    loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    loop.close()
    assert loop.is_closed() and not getattr(layer, "_layers", None)
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]


def test_receive_on_another_loop_than_the_layers_is_refused() -> None:
    """It would wait for ever: what arrives wakes nobody on another loop."""
    layer = MemoryChannelLayer()

    async def receives() -> Any:
        return await asyncio.wait_for(layer.receive("c"), PATIENCE)

    with closing(asyncio.new_event_loop()) as home:
        home.run_until_complete(layer.group_add("g", "c"))
        home.run_until_complete(layer.send("c", {"type": "t", "n": 1}))
        with pytest.raises(RuntimeError, match="close that loop first"):
            asyncio.run(receives())
        assert home.run_until_complete(layer.receive("c"))["n"] == 1, "and nothing is lost"
        home.run_until_complete(layer.send("c", {"type": "t", "n": 2}))
    assert asyncio.run(receives())["n"] == 2, "the next one is the home then"


async def test_in_redis_mode_each_loop_may_receive() -> None:
    layer = bare("redis")
    await layer.group_add("g", await layer.new_channel())

    async def elsewhere() -> Any:
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "t", "n": 1})
        return await soon(layer, channel)

    assert (await asyncio.to_thread(asyncio.run, elsewhere()))["n"] == 1
    await layer.close()


# --- channels


async def test_a_named_channel_of_another_process_is_reached() -> None:
    prefix = f"t{new_id()}"
    here, there = [RedisChannelLayer(hosts=[shared().url], prefix=prefix) for _ in range(2)]
    waiting = asyncio.ensure_future(soon(there, "background"))
    try:
        # Whoever is not listened to yet hears nothing: as in the stock layer.
        await until(lambda: there._links and there._link("background").subscriber.ready)
        await arrived(there)
        await here.send("background", {"type": "t", "n": 1})
        assert (await waiting)["n"] == 1
    finally:
        waiting.cancel()
        await here.close()
        await there.close()


async def test_channel_names_do_not_come_from_the_projects_seed(layer: Any) -> None:
    names = set()
    for _ in range(3):
        random.seed(1)
        names.add(await layer.new_channel())
    assert len(names) == 3


async def test_a_receive_that_is_given_up_ends_and_loses_nothing(layer: Any) -> None:
    channel = await layer.new_channel()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(layer.receive(channel), 0.01)
    await layer.send(channel, {"type": "t", "n": 1})
    assert (await soon(layer, channel))["n"] == 1


async def test_channels_of_one_prefix_are_told_apart(layer: Any) -> None:
    channels = [await layer.new_channel(prefix="same") for _ in range(3)]
    for channel in channels:
        await layer.group_add("g", channel)
    await layer.send(channels[0], {"type": "t", "n": 0})
    await layer.group_send("g", {"type": "t", "n": 1})
    assert (await soon(layer, channels[0]))["n"] == 0
    for channel in channels:
        assert (await soon(layer, channel))["n"] == 1
        assert await is_silent(layer, channel)


@pytest.mark.parametrize(
    "call", ["new_channel", "send", "receive", "group_add", "group_discard", "group_send", "flush"]
)
def test_calls_are_coroutine_functions(call: str) -> None:
    """By which `async_to_sync` and others know them."""
    for name in LAYERS:
        assert inspect.iscoroutinefunction(getattr(bare(name), call)), name


# --- flush


async def test_whoever_waits_during_a_flush_hears_what_comes_after_it(layer: Any) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    waiting = asyncio.ensure_future(soon(layer, channel))
    await until(lambda: layer._queues._queues[channel].receivers)
    await layer.flush()
    await layer.group_send("g", {"type": "t", "n": 0})
    assert not waiting.done(), "it is in no group any more"
    await layer.send(channel, {"type": "t", "n": 1})
    assert (await waiting)["n"] == 1
    await layer.group_add("g", channel)
    await layer.group_send("g", {"type": "t", "n": 2})
    assert (await soon(layer, channel))["n"] == 2


async def test_a_flush_at_the_moment_of_arrival_keeps_the_receiver() -> None:
    layer = bare("memory")
    waiting = asyncio.ensure_future(soon(layer, "c"))
    await until(lambda: "c" in layer._queues)
    await layer.send("c", {"type": "t", "n": 1})  # the receiver has been woken, and has not run
    await layer.flush()
    await layer.send("c", {"type": "t", "n": 2})
    assert (await waiting)["n"] == 2


# --- as Channels finds it


async def expiry_of(layer: Any) -> Any:
    return layer.expiry


@pytest.mark.parametrize("config", [MEMORY, REDIS], ids=LAYERS)
def test_a_backend_for_tests_has_its_options(config: dict[str, Any]) -> None:
    with (
        override_settings(CHANNEL_LAYERS={"default": config}),
        pytest.raises(InvalidChannelLayerError),
    ):
        channel_layers.make_test_backend(DEFAULT_CHANNEL_LAYER)
    with override_settings(
        CHANNEL_LAYERS={"default": config | {"TEST_CONFIG": {"expiry": 100_500}}}
    ):
        made: Any = channel_layers.make_test_backend(DEFAULT_CHANNEL_LAYER)
        assert type(made).__name__ == config["BACKEND"].rpartition(".")[2]
        assert asyncio.run(expiry_of(made)) == 100_500


@pytest.mark.parametrize("config", [MEMORY, REDIS], ids=LAYERS)
def test_other_settings_make_another_layer(config: dict[str, Any]) -> None:
    with override_settings(CHANNEL_LAYERS={"default": config}):
        first = get_channel_layer()
        assert get_channel_layer() is first
    with override_settings(CHANNEL_LAYERS={"default": config}):
        assert get_channel_layer() is not first


@pytest.mark.parametrize("form", ["msgpack", "json"])
def test_it_writes_messages_as_the_stock_layer_does(form: str) -> None:
    message: dict[str, Any] = {"a": True, "b": None, "c": {"d": []}}
    stock = RedisPubSubChannelLayer(hosts=[shared().url], serializer_format=form)
    ours: Any = RedisChannelLayer(hosts=[shared().url], serializer_format=form)
    assert ours.serialize(message) == stock.serialize(message)
    assert ours.deserialize(stock.serialize(message)) == message
