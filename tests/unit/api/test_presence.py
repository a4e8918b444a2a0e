"""Who is connected, asked and waited for by the Python API."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from sockets import api
from sockets.exceptions import (
    InvalidMessage,
)
from sockets.node.node import Node
from sockets.types import SessionInfo
from tests.support.doubles import (
    until,
)
from tests.support.patience import PATIENCE
from tests.unit.api.conftest import client


async def test_presence_and_position(node: Node) -> None:
    assert not await api.ais_online("42")
    session = await client(node)
    assert await api.ais_online("42")
    assert await api.asessions_of("42") == [session.info]
    assert isinstance((await api.asessions_of("42"))[0], SessionInfo)
    start = await api.astream_position("42")
    receipt = await api.anotify_user("42", "e")
    assert (receipt.epoch, receipt.offset) == (start.epoch, start.offset + 1)


async def test_what_is_no_user_id_is_told_whatever_is_asked(node: Node) -> None:
    """An id that is none would be answered "offline" for ever."""
    users: tuple[Any, ...] = ("", "x" * 1_025, True)
    for call in (api.ais_online, api.asessions_of, api.astream_position, api.adisconnect_user):
        for user in users:
            with pytest.raises(InvalidMessage):
                await call(user)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), 1e10, "5", True, None])
async def test_a_timeout_that_is_none(node: Node, timeout: Any) -> None:
    with pytest.raises(InvalidMessage, match="number of seconds"):
        await api.await_until_online("42", timeout)


async def test_waiting_for_somebody(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not await api.await_until_online("42", 0)
    asked, is_online = list[str](), node.presence.is_online

    async def noted(user: str) -> bool:
        asked.append(user)
        return await is_online(user)

    monkeypatch.setattr(node.presence, "is_online", noted)
    waiting = asyncio.ensure_future(api.await_until_online("42", 5))
    await until(lambda: asked)
    await client(node)
    assert await waiting


async def test_waiting_ends_though_a_cancellation_was_lost(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in libraries that have their answer just when they are cancelled."""

    async def is_online(_: str) -> bool:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)
        return False

    monkeypatch.setattr(node.presence, "is_online", is_online)
    async with asyncio.timeout(PATIENCE):
        assert not await api.await_until_online("42", 0.02)


async def test_too_many_users_at_once_and_one_that_is_a_list(node: Node) -> None:
    with pytest.raises(InvalidMessage, match="at most 10000"):
        await api.apresence_of_users(map(str, range(10_001)))
    with pytest.raises(InvalidMessage, match="list of ids"):
        await api.adisconnect_user("42", keep="01ARZ3NDEKTSV4RRFFQ69G5FAV")


async def test_one_id_is_no_list_of_ids(node: Node) -> None:
    """Its letters would be taken for ids."""
    for call in (
        lambda: api.apresence_of_users("42"),
        lambda: api.anotify_users("42", "e"),
        lambda: api.adisconnect_sessions("42"),
    ):
        with pytest.raises(InvalidMessage, match="list of"):
            await call()
