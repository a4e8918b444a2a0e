"""The gateway that a project's tests run: real code, and faults that are told to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.conf import LazySettings

from sockets import api
from sockets.exceptions import InvalidMessage
from sockets.testing.gateway import RunningGateway, running_gateway
from sockets.types import Disconnected


@pytest.fixture
async def gateway(settings: LazySettings) -> AsyncIterator[RunningGateway]:
    settings.CHANNEL_LAYERS = {}
    async with running_gateway(presence_grace=0) as running:
        yield running


async def test_a_message_arrives_with_its_position(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    await api.anotify_user("42", "order.paid", {"order": 7})
    frame = await page.message()
    assert (frame["event"], frame["data"], frame["offset"]) == ("order.paid", {"order": 7}, 1)
    assert page.position is not None and page.position.offset == 1
    assert (await page.ack())["ok"]
    await page.nothing()


async def test_others_hear_nothing_of_it(gateway: RunningGateway) -> None:
    other = await gateway.connect("43")
    await api.anotify_user("42", "e")
    await other.nothing()
    with pytest.raises(AssertionError, match="nothing was to come"):
        await api.anotify_user("43", "e")
        await other.nothing(5)


async def test_who_was_away_gets_what_it_missed(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    page.cut()
    await api.anotify_user("42", "e", 1)
    await page.reconnect()
    assert page.recovered is True
    assert (await page.message())["data"] == 1


async def test_what_the_layer_loses_is_found_by_its_offset(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    gateway.lose_messages()
    await api.anotify_user("42", "e", 1)
    await page.nothing()
    await api.anotify_user("42", "e", 2)
    assert [(await page.message())["data"] for _ in range(2)] == [1, 2]


async def test_a_store_that_has_forgotten_makes_pages_reload(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    await api.anotify_user("42", "e", 1)
    await page.message()
    gateway.forget_streams()
    await api.anotify_user("42", "e", 2)
    reset = await page.receive()
    assert reset["type"] == "reset" and page.position is not None
    assert page.position.epoch == reset["epoch"]


async def test_a_killed_gateway_has_cut_every_line(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    await gateway.kill()
    assert await page.closed() == (1006, "")
    await gateway.start()
    await page.reconnect()
    assert page.recovered is False
    await api.anotify_user("42", "e", 1)
    assert (await page.message())["offset"] == 1


async def test_time_passes_where_it_is_told_to(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    page.cut()
    await api.anotify_user("42", "e", 1, ttl=60)
    gateway.advance(61)
    await page.reconnect()
    await api.anotify_user("42", "e", 2)
    assert (await page.message())["data"] == 2


async def test_replies_and_presence(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    assert await api.ais_online("42")
    assert (await page.send("hello", {"n": 1}))["ok"]
    refused = await page.ask(type="dance")
    assert not refused["ok"] and refused["error"]["code"] == "unknown_type"
    async with asyncio.timeout(4):  # the page answers by itself
        assert await api.adisconnect_user("42", code=4321, reason="go") == Disconnected(1)
    assert await page.closed() == (4321, "go")
    await page.close()
    assert not await api.ais_online("42")


@pytest.mark.parametrize("event", [api.Event, None, 7, ""])
async def test_what_is_no_event_is_refused(gateway: RunningGateway, event: Any) -> None:
    for call in (
        api.anotify_user("42", event),
        api.anotify_users(["42"], event),
        api.abroadcast(event),
    ):
        with pytest.raises(
            InvalidMessage, match=r"event must be a string of 1 to 255|Event is a class"
        ):
            await call


async def test_one_at_a_time(gateway: RunningGateway) -> None:
    with pytest.raises(RuntimeError, match="runs in this process already"):
        async with running_gateway():
            pass


async def test_code_in_threads_reaches_it(gateway: RunningGateway) -> None:
    page = await gateway.connect("42")
    await asyncio.to_thread(api.notify_user, "42", "e", 1)
    assert (await page.message())["data"] == 1
