"""What every channel layer of ours does: Channels' API as its own consumers use it, and sinks.

`LAYERS` has an entry for each backend: a context manager that yields an empty layer whose queues
hold `capacity` messages.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from math import isnan
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer
from channels.layers import channel_layers
from channels.testing import ApplicationCommunicator, WebsocketCommunicator
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.exceptions import InvalidMessage
from sockets.layers.memory import MemoryChannelLayer
from sockets.layers.redis import RedisChannelLayer
from tests.support.doubles import MovedClock, until
from tests.support.patience import PATIENCE
from tests.support.valkey import shared

CAPACITY = 3


@asynccontextmanager
async def memory(capacity: int, **options: Any) -> AsyncIterator[MemoryChannelLayer]:
    layer = MemoryChannelLayer(capacity=capacity, channel_capacity={"wide*": 6}, **options)
    yield layer
    await layer.close()


@asynccontextmanager
async def redis(capacity: int, **options: Any) -> AsyncIterator[RedisChannelLayer]:
    layer = RedisChannelLayer(
        hosts=[shared().url],
        prefix=f"t{new_id()}",
        capacity=capacity,
        channel_capacity={"wide*": 6},
        **options,
    )
    yield layer
    await layer.close()


Make = Callable[..., AbstractAsyncContextManager[Any]]
LAYERS: dict[str, Make] = {"memory": memory, "redis": redis}


@pytest.fixture(params=list(LAYERS.values()), ids=list(LAYERS))
async def layer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    make: Make = request.param
    async with make(CAPACITY) as made:
        yield made


@pytest.fixture(params=list(LAYERS.values()), ids=list(LAYERS))
def make(request: pytest.FixtureRequest) -> Make:
    """A layer with options of the test's own."""
    made: Make = request.param
    return made


async def soon(layer: Any, channel: str) -> Any:
    async with asyncio.timeout(PATIENCE):
        return await layer.receive(channel)


async def arrived(layer: Any) -> None:
    """Until what was sent before this has come back to this process."""
    heard: list[Any] = []
    await layer.group_add_sink("marker", heard.append)
    await layer.group_send("marker", {"type": "marker"})
    await until(lambda: heard)
    await layer.group_discard_sink("marker", heard.append)


async def refused(layer: Any, channel: str, from_thread: bool = False) -> None:
    """One message too many: the sender is told where it can be, and it is counted anyway."""
    message = {"type": "one too many"}

    async def send() -> None:
        if from_thread:
            await asyncio.to_thread(async_to_sync(layer.send), channel, message)
        else:
            await layer.send(channel, message)

    if isinstance(layer, MemoryChannelLayer):
        with pytest.raises(ChannelFull):
            await send()
        return
    before = metrics.dropped_layer._value.get()
    await send()
    await arrived(layer)
    assert metrics.dropped_layer._value.get() == before + 1


async def is_silent(layer: Any, channel: str) -> bool:
    """Whether nothing waits: what is sent now is the next that comes."""
    await layer.send(channel, {"type": "marker"})
    message: dict[str, Any] = await soon(layer, channel)
    return message == {"type": "marker"}


# --- channels


async def test_messages_come_in_order_and_whole(layer: Any) -> None:
    channel = await layer.new_channel()
    sent = [
        {"type": "t", "n": 1, "text": "한 🙂", "raw": b"\x00\xff", "list": [1, {"a": None}]},
        {"type": "t", "n": 2, "big": 2**62, "float": 0.1, "yes": True},
    ]
    for message in sent:
        await layer.send(channel, message)
    assert [await soon(layer, channel) for _ in sent] == sent


async def test_a_receiver_may_wait_first(layer: Any) -> None:
    channel = await layer.new_channel()
    waiting = asyncio.ensure_future(soon(layer, channel))
    await asyncio.sleep(0)
    await layer.send(channel, {"type": "t", "n": 1})
    assert (await waiting)["n"] == 1


async def test_new_channels_differ_and_are_valid(layer: Any) -> None:
    names = {await layer.new_channel(prefix) for prefix in ("specific", "x", "specific") * 20}
    assert len(names) == 60
    assert all(layer.require_valid_channel_name(name) for name in names)
    assert sum(name.startswith("x") for name in names) == 20


async def test_capacity_is_kept_and_told(layer: Any) -> None:
    channel = await layer.new_channel()
    for n in range(CAPACITY):
        await layer.send(channel, {"type": "t", "n": n})
    await refused(layer, channel)
    assert [(await soon(layer, channel))["n"] for _ in range(CAPACITY)] == list(range(CAPACITY))
    assert await is_silent(layer, channel)


async def test_capacity_by_name(layer: Any) -> None:
    wide = await layer.new_channel("wide")
    for n in range(6):
        await layer.send(wide, {"type": "t", "n": n})
    await refused(layer, wide)


BAD_NAMES = ["", "a b", "한", "a/b", "x" * 100, "a:b", 5, None]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
async def test_names_are_checked(layer: Any, name: Any) -> None:
    def sink(message: Any) -> None: ...

    for call in (
        layer.send(name, {"type": "t"}),
        layer.receive(name),
        layer.group_add(name, "c"),
        layer.group_add("g", name),
        layer.group_discard(name, "c"),
        layer.group_discard("g", name),
        layer.group_send(name, {"type": "t"}),
        layer.group_add_sink(name, sink),
        layer.group_discard_sink(name, sink),
    ):
        with pytest.raises(TypeError):
            await call


@pytest.mark.parametrize("message", [None, "text", ["type"], 5], ids=ascii)
async def test_messages_are_dictionaries(layer: Any, message: Any) -> None:
    with pytest.raises(TypeError):
        await layer.send("c", message)
    with pytest.raises(TypeError):
        await layer.group_send("g", message)


# --- groups


async def test_a_group_reaches_its_channels_and_no_others(layer: Any) -> None:
    one, two, other = [await layer.new_channel() for _ in range(3)]
    for channel in (one, two, one):
        await layer.group_add("g", channel)
    await layer.group_add("h", other)
    await layer.group_send("g", {"type": "t", "n": 1})
    for channel in (one, two):
        assert (await soon(layer, channel))["n"] == 1
    assert await is_silent(layer, one), "added twice is added once"
    assert await is_silent(layer, other)


async def test_whoever_left_hears_nothing(layer: Any) -> None:
    one, two = [await layer.new_channel() for _ in range(2)]
    for channel in (one, two):
        await layer.group_add("g", channel)
    await layer.group_discard("g", one)
    await layer.group_discard("g", one)
    await layer.group_discard("never", one)
    await layer.group_send("g", {"type": "t", "n": 1})
    assert await is_silent(layer, one)
    assert (await soon(layer, two))["n"] == 1


async def test_a_group_of_nobody_takes_anything(layer: Any) -> None:
    await layer.group_send("nobody", {"type": "t"})


async def test_a_full_channel_stops_no_other_and_is_counted(layer: Any) -> None:
    full, free = [await layer.new_channel() for _ in range(2)]
    heard: list[int] = []
    for channel in (full, free):
        await layer.group_add("g", channel)
    await layer.group_add_sink("g", lambda message: heard.append(message["n"]))
    before = metrics.dropped_layer._value.get()
    for n in range(CAPACITY + 2):
        await layer.group_send("g", {"type": "t", "n": n})
        assert (await soon(layer, free))["n"] == n
    await arrived(layer)
    assert metrics.dropped_layer._value.get() == before + 2
    assert heard == list(range(CAPACITY + 2))
    assert [(await soon(layer, full))["n"] for _ in range(CAPACITY)] == list(range(CAPACITY))


async def test_receivers_share_nothing(layer: Any) -> None:
    one, two = [await layer.new_channel() for _ in range(2)]
    for channel in (one, two):
        await layer.group_add("g", channel)
    sent: dict[str, Any] = {"type": "t", "list": [1]}
    await layer.group_send("g", sent)
    sent["list"].append("the sender's")
    (await soon(layer, one))["list"].append("the first receiver's")
    assert (await soon(layer, two))["list"] == [1]


async def test_flush_forgets_messages_and_groups(layer: Any) -> None:
    channel = await layer.new_channel()
    heard: list[Any] = []
    await layer.group_add("g", channel)
    await layer.group_add_sink("g", heard.append)
    await layer.send(channel, {"type": "t"})
    await layer.flush()
    await layer.group_send("g", {"type": "t"})
    receiving = asyncio.ensure_future(soon(layer, channel))
    await arrived(layer)
    assert heard == []
    await layer.send(channel, {"type": "new"})
    assert await receiving == {"type": "new"}


def test_the_extensions_are_declared() -> None:
    assert {"groups", "flush"} <= set(MemoryChannelLayer.extensions)


# --- sinks


async def test_a_sink_hears_each_message_of_its_group_once(layer: Any) -> None:
    heard: list[tuple[str, int]] = []

    def first(message: Any) -> None:
        heard.append(("first", message["n"]))

    def second(message: Any) -> None:
        heard.append(("second", message["n"]))

    for sink in (first, first, second):
        await layer.group_add_sink("g", sink)
    await layer.group_send("g", {"type": "t", "n": 1})
    await layer.group_send("h", {"type": "t", "n": 2})
    await arrived(layer)
    await layer.group_discard_sink("g", first)
    await layer.group_discard_sink("g", first)
    await layer.group_send("g", {"type": "t", "n": 3})
    await arrived(layer)
    assert heard == [("first", 1), ("second", 1), ("second", 3)]


async def test_a_failing_sink_stops_nobody_and_is_counted(layer: Any) -> None:
    channel = await layer.new_channel()
    heard: list[int] = []

    def fail(message: Any) -> None:
        raise RuntimeError("a bad receiver")

    await layer.group_add_sink("g", fail)
    await layer.group_add_sink("g", lambda message: heard.append(message["n"]))
    await layer.group_add("g", channel)
    before = metrics.LAYER_ERRORS._value.get()
    await layer.group_send("g", {"type": "t", "n": 1})
    await arrived(layer)
    assert heard == [1]
    assert (await soon(layer, channel))["n"] == 1
    assert metrics.LAYER_ERRORS._value.get() == before + 1


# --- other threads


async def test_sync_code_in_threads_reaches_receivers_on_the_main_loop(layer: Any) -> None:
    channel = await layer.new_channel()
    heard: list[tuple[int, threading.Thread]] = []
    await layer.group_add("wide", channel)
    await layer.group_add_sink("wide", lambda m: heard.append((m["n"], threading.current_thread())))
    for n in range(CAPACITY):
        await asyncio.to_thread(async_to_sync(layer.group_send), "wide", {"type": "t", "n": n})
    assert [(await soon(layer, channel))["n"] for _ in range(CAPACITY)] == list(range(CAPACITY))
    assert heard == [(n, threading.current_thread()) for n in range(CAPACITY)]


async def test_a_full_channel_is_told_to_a_sender_in_a_thread(layer: Any) -> None:
    channel = await layer.new_channel()
    receiving = asyncio.ensure_future(soon(layer, channel))
    await asyncio.sleep(0)
    for n in range(CAPACITY + 1):
        await asyncio.to_thread(async_to_sync(layer.send), channel, {"type": "t", "n": n})
    assert (await receiving)["n"] == 0
    await refused(layer, channel, from_thread=True)


async def test_many_threads_at_once_lose_nothing(layer: Any) -> None:
    heard: list[tuple[int, int]] = []
    await layer.group_add_sink("g", lambda message: heard.append((message["who"], message["n"])))

    def work(who: int) -> None:
        async def all() -> None:
            for n in range(20):
                await layer.group_send("g", {"type": "t", "who": who, "n": n})

        asyncio.run(all())

    await asyncio.gather(*[asyncio.to_thread(work, who) for who in range(5)])
    await arrived(layer)
    assert len(heard) == 100
    for who in range(5):
        assert [n for one, n in heard if one == who] == list(range(20)), "each sender's own order"


# --- what nobody waits for


def dropped() -> float:
    value: float = metrics.dropped_layer._value.get()
    return value


async def test_a_channel_that_nobody_waits_on_goes_by_itself(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither full nor sent to: with its messages and its groups, and with a word in the log."""
    async with make(CAPACITY, expiry=1.5) as layer:
        before = dropped()
        one, other = [await layer.new_channel() for _ in range(2)]
        for channel in (one, other):
            await layer.group_add("g", channel)
        await layer.send(one, {"type": "t"})
        await until(lambda: one not in layer._queues and other not in layer._queues)
        assert "g" not in layer._fanout
        assert dropped() == before + 1
        for channel in (one, other):
            assert f"channel {channel}: nobody has waited" in caplog.text
        assert not layer._queues


async def test_a_channel_that_is_waited_on_stays(make: Make) -> None:
    clock = MovedClock()
    async with make(CAPACITY, expiry=60, clock=clock) as layer:
        channel = await layer.new_channel()
        receiving = asyncio.ensure_future(soon(layer, channel))
        await until(lambda: channel in layer._queues)
        await layer.group_add("g", channel)
        for _ in range(3):
            clock.advance(61)
            await layer.group_add("g", channel)
            await layer.group_discard("h", channel)
        await layer.group_send("g", {"type": "t", "n": 1})
        assert (await receiving)["n"] == 1


async def test_a_message_that_is_too_old_is_not_delivered(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    clock = MovedClock()
    async with make(4, expiry=60, clock=clock) as layer:
        channel = await layer.new_channel()
        before = dropped()
        for n in range(3):
            await layer.send(channel, {"type": "t", "n": n})
        await arrived(layer)  # their age counts from then
        clock.advance(50)
        assert (await soon(layer, channel))["n"] == 0
        clock.advance(10)
        await layer.send(channel, {"type": "t", "n": 3})
        assert (await soon(layer, channel))["n"] == 3
        assert dropped() == before + 2
        assert caplog.text.count(f"channel {channel}: a message is dropped") == 1


async def test_what_a_full_channel_misses_is_logged_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async with make(CAPACITY) as layer:
        full, other = [await layer.new_channel() for _ in range(2)]
        for channel in (full, other):
            await layer.group_add("g", channel)
        for n in range(CAPACITY + 3):
            await layer.group_send("g", {"type": "t", "n": n})
        await arrived(layer)
        for channel in (full, other):
            assert caplog.text.count(f"channel {channel}: a message is dropped") == 1


async def test_a_consumer_that_was_busy_for_too_long_can_join_again(make: Make) -> None:
    clock = MovedClock()
    async with make(CAPACITY, expiry=60, clock=clock) as layer:
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        clock.advance(61)
        await layer.new_channel()
        await layer.group_add("h", channel)
        assert "g" not in layer._fanout
        await layer.group_send("h", {"type": "t", "n": 1})
        assert (await soon(layer, channel))["n"] == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("expiry", 0),
        ("expiry", "60"),
        ("expiry", float("nan")),
        ("expiry", True),
        ("capacity", 0),
        ("capacity", 1.5),
        ("capacity", "100"),
        ("channel_capacity", [("a", 1)]),
        ("channel_capacity", {"a": 0}),
        ("channel_capacity", {5: 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [MemoryChannelLayer, RedisChannelLayer])
def test_a_wrong_option_is_told_when_the_layer_is_made(kind: Any, option: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=option):
        kind(**{option: value})


@pytest.mark.parametrize("option", ["group_expiry", "on_disconnect", "capasity", "canary_timeout"])
def test_an_unknown_option_is_told_when_the_layer_is_made(option: str) -> None:
    kind: Any = RedisChannelLayer
    with pytest.raises(ImproperlyConfigured, match=option):
        kind(**{option: -1})


# --- the consumers of Channels itself


class Ticker(AsyncConsumer):
    """A consumer on a named channel."""

    async def tick(self, message: dict[str, Any]) -> None:
        await self.channel_layer.send(message["reply_to"], {"type": "t", "n": message["n"] + 1})


class SyncTicker(SyncConsumer):
    """The same in a thread, as most Django code would write it."""

    def tick(self, message: dict[str, Any]) -> None:
        async_to_sync(self.channel_layer.send)(
            message["reply_to"], {"type": "t", "n": message["n"] + 1}
        )


class Row(NamedTuple):
    a: int
    b: str


class Chat(AsyncJsonWebsocketConsumer):
    """The tutorial's chat, async."""

    groups = ["chat"]

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.channel_layer.group_send("chat", {"type": "chat.message", "text": content})

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json(event["text"])


class SyncChat(WebsocketConsumer):
    """The tutorial's chat, sync."""

    groups = ["chat"]

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        async_to_sync(self.channel_layer.group_send)(
            "chat", {"type": "chat.message", "text": text_data}
        )

    def chat_message(self, event: dict[str, Any]) -> None:
        self.send(text_data=event["text"])


@pytest.fixture
def default(layer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The layer as Channels' own code finds it."""
    monkeypatch.setattr(channel_layers, "backends", {"default": layer})
    return layer


@pytest.mark.parametrize("consumer", [Ticker, SyncTicker])
@pytest.mark.django_db(transaction=True)  # Channels closes old database connections
async def test_a_stock_consumer_takes_messages_of_the_layer(default: Any, consumer: Any) -> None:
    running = ApplicationCommunicator(consumer.as_asgi(), {"type": "channel", "channel": "ticks"})
    reply_to = await default.new_channel()
    await running.send_input({"type": "tick", "n": 1, "reply_to": reply_to})
    assert (await soon(default, reply_to))["n"] == 2
    await running.send_input({"type": "tick", "n": 5, "reply_to": reply_to})
    assert (await soon(default, reply_to))["n"] == 6


@pytest.mark.django_db(transaction=True)
async def test_stock_websocket_consumers_hear_their_group(default: Any) -> None:
    tabs = [WebsocketCommunicator(Chat.as_asgi(), "/") for _ in range(2)]
    for tab in tabs:
        assert (await tab.connect(PATIENCE))[0]
    await tabs[0].send_json_to({"한": 1})
    for tab in tabs:
        assert await tab.receive_json_from(PATIENCE) == {"한": 1}
    await tabs[0].disconnect(timeout=PATIENCE)
    await default.group_send("chat", {"type": "chat.message", "text": "left"})
    assert await tabs[1].receive_json_from(PATIENCE) == "left"
    await tabs[1].disconnect(timeout=PATIENCE)


@pytest.mark.django_db(transaction=True)
async def test_a_stock_sync_consumer_hears_its_group(default: Any) -> None:
    tab = WebsocketCommunicator(SyncChat.as_asgi(), "/")
    assert (await tab.connect(PATIENCE))[0]
    await tab.send_to("hello")
    assert await tab.receive_from(PATIENCE) == "hello"
    await tab.disconnect(timeout=PATIENCE)


@pytest.mark.django_db(transaction=True)
async def test_consumers_that_end_leave_no_queue_and_no_group(default: Any) -> None:
    for _ in range(3):
        tab = WebsocketCommunicator(Chat.as_asgi(), "/")
        assert (await tab.connect(PATIENCE))[0]
        await default.group_send("chat", {"type": "chat.message", "text": "x"})
        assert await tab.receive_json_from(PATIENCE) == "x"
        await tab.disconnect(timeout=PATIENCE)
        await default.group_send("chat", {"type": "chat.message", "text": "nobody is here"})
    if isinstance(default, MemoryChannelLayer):
        assert not default._queues
        assert "chat" not in default._fanout


# --- one message, and what arrives of it


class Text(str):
    """As `mark_safe` gives it."""


class Number(int):
    """As an enum of the project's has it."""


class Table(dict[str, Any]):
    """As a `defaultdict`, say."""


LOOP: list[Any] = []
LOOP.append(LOOP)

ARRIVES: dict[str, tuple[Any, Any]] = {
    "plain": ({"a": [1, 2.5, None, True, "한 🎉", b"\x00\xff"]},) * 2,
    "a tuple": ((1, (2, 3)), [1, [2, 3]]),
    "a named tuple": (Row(1, "x"), [1, "x"]),
    "a safe string": (mark_safe("<b>"), "<b>"),
    "subclasses": ([Text("a"), Number(1), Table(a=1)], ["a", 1, {"a": 1}]),
    "keys of bytes": ({b"k": 1},) * 2,
    "keys that are subclasses": ({Text("a"): 1}, {"a": 1}),
    "a bytearray": (bytearray(b"a"), b"a"),
    "infinity": (float("inf"), float("inf")),
    "the largest integers": ([2**64 - 1, -(2**63)],) * 2,
    "nested": ([[[[[[{"a": ()}]]]]]], [[[[[[{"a": []}]]]]]]),
}

NEVER: dict[str, Any] = {
    "lazy text": gettext_lazy("Yes"),
    "a lazy object": SimpleLazyObject(dict),
    "a set": {1, 2},
    "a decimal": Decimal("1.5"),
    "a moment": datetime(2026, 11, 29, tzinfo=UTC),
    "a UUID": UUID(int=7),
    "an object": object(),
    "a generator": (n for n in range(0)),
    "too large an integer": 2**64,
    "half an emoji": "\ud83c",
    "an int as a key": {1: "a"},
    "a key deep within": [{"a": {None: 1}}],
    "a tuple as a key": {(1, 2): 3},
    "deep within": [{"a": [{"b": {1}}]}],
    "itself": LOOP,
}


def way_of(layer: Any, way: str, channel: str) -> Callable[[Any], Any]:
    return partial(layer.send, channel) if way == "send" else partial(layer.group_send, "g")


@pytest.mark.parametrize("way", ["send", "group_send"])
@pytest.mark.parametrize(("value", "arrives"), ARRIVES.values(), ids=ARRIVES)
async def test_one_message_arrives_as_the_same_on_each_layer(
    layer: Any, way: str, value: Any, arrives: Any
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    heard: list[Any] = []
    await layer.group_add_sink("g", heard.append)
    await way_of(layer, way, channel)({"type": "t", "value": value})
    got = (await soon(layer, channel))["value"]
    assert got == arrives and repr(got) == repr(arrives), "of the very same types"
    if way == "group_send":
        await until(lambda: heard)
        assert repr(heard[0]["value"]) == repr(arrives)


async def test_not_a_number_arrives_as_it_is(layer: Any) -> None:
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "t", "value": float("nan")})
    assert isnan((await soon(layer, channel))["value"])


@pytest.mark.parametrize("way", ["send", "group_send"])
@pytest.mark.parametrize("value", NEVER.values(), ids=NEVER)
async def test_what_cannot_arrive_is_told_to_the_sender_on_each_layer(
    layer: Any, way: str, value: Any
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    with pytest.raises((TypeError, ValueError, OverflowError)):
        await way_of(layer, way, channel)({"type": "t", "value": value})
    assert await is_silent(layer, channel)


@pytest.mark.parametrize(
    "data", [float("nan"), [{"a": float("-inf")}], 10**400, {(1,): 2}, "\ud83c"], ids=repr
)
async def test_a_notification_that_has_no_json_form_is_told_to_the_sender(
    layer: Any, data: Any
) -> None:
    heard: list[Any] = []
    await layer.group_add_sink("u.42", heard.append)
    with pytest.raises(InvalidMessage, match="cannot be written as JSON"):
        await layer.group_send("u.42", {"type": "user.notify", "event": "e", "data": data})
    await arrived(layer)
    assert heard == []
    channel = await layer.new_channel()
    with pytest.raises(InvalidMessage, match="cannot be written as JSON"):
        await layer.send(channel, {"type": "user.notify", "event": "e", "data": data})
    assert await is_silent(layer, channel)


@pytest.mark.parametrize("body", [b"b", b"", b'{"event":"e"}', b'"id":1'])
async def test_a_body_that_the_gateway_has_not_written_is_told_to_the_sender(
    layer: Any, body: Any
) -> None:
    """It would go to browsers as it is, behind the head of a message."""
    heard: list[Any] = []
    await layer.group_add_sink("u.42", heard.append)
    with pytest.raises(InvalidMessage, match="send `event` and `data`"):
        await layer.group_send("u.42", {"type": "user.notify", "event": "e", "body": body})
    await arrived(layer)
    assert heard == []


async def test_what_the_sender_does_with_it_afterwards_is_not_meant(layer: Any) -> None:
    channel = await layer.new_channel()
    value = [1]
    message = {"type": "t", "value": value}
    await layer.send(channel, message)
    value.append(2)
    message["type"] = "other"
    assert await soon(layer, channel) == {"type": "t", "value": [1]}
