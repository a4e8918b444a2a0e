"""Ending sessions, blocks and logins by the Python API; the nodes and their sessions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from sockets import api
from sockets.base.ids import new_id
from sockets.exceptions import (
    Blocked,
    GatewayUnreachable,
    InvalidMessage,
    Revoked,
)
from sockets.node.node import Node
from sockets.types import Disconnected
from tests.support.doubles import (
    outbox_of,
    until_told,
)
from tests.unit.api.conftest import client


@pytest.mark.usefixtures("no_node")
@pytest.mark.parametrize("call", [api.client_socket_url, api.worker_socket_url])
def test_without_a_gateway_there_is_no_address(call: Callable[[], str]) -> None:
    with pytest.raises(GatewayUnreachable):
        call()


async def test_disconnecting(node: Node) -> None:
    one, two, three = [await client(node) for _ in range(3)]
    unconfirmed = Disconnected(0, 1)  # these sockets close, and are never gone
    assert await api.adisconnect_session(one.info.id, reason="r") == unconfirmed
    assert await api.adisconnect_session(new_id()) == Disconnected(0)
    assert await api.adisconnect_user("42", client=two.info.client_id) == unconfirmed
    assert (one.close_code, two.close_code, three.close_code) == (4504, 4504, None)
    assert outbox_of(two).closed == (4504, "disconnected by the application")
    assert await api.adisconnect_user("42", code=4501, reason="r") == Disconnected(0, 2)
    assert outbox_of(three).closed == (4501, "r")


async def test_an_id_that_is_none_closes_nobody(node: Node) -> None:
    """A misspelt id to spare would close everybody."""
    one = await client(node)
    for wrong in ("", "x", one.info.client_id[1:], "\ud800", 7):
        options: list[dict[str, Any]] = [{"client": wrong}, {"session": wrong}, {"keep": [wrong]}]
        for option in options:
            with pytest.raises(InvalidMessage, match="ULID"):
                await api.adisconnect_user("42", **option)
    assert one.close_code is None
    assert await api.adisconnect_user("42", keep=[one.info.client_id.lower()]) == Disconnected(0)


async def test_a_code_that_no_close_frame_may_carry_is_told(node: Node) -> None:
    """RFC 6455 section 7.4: a peer fails the connection over it (1002), or the frame cannot be."""
    one = await client(node)
    for code in (0, 12, 999, 1005, 1006, 1015, 2999, 5000, 70_000):
        with pytest.raises(ValueError, match="code"):
            await api.adisconnect_user("42", code=code)
    assert one.close_code is None


async def test_the_addresses(node: Node) -> None:
    assert api.client_socket_url() == "ws://localhost:4000"
    assert api.worker_socket_url() == "ws://localhost:4001"


async def test_who_is_blocked_stays_out_until_the_time_has_come(node: Node) -> None:
    await client(node)
    done = await api.ablock_user("42", time.time() + 0.2, reason="too many")
    assert done.closed + done.unconfirmed == 1
    with pytest.raises(Blocked):
        await client(node)

    async def is_let_in() -> bool:
        with suppress(Blocked):
            return bool(await client(node))
        return False

    await until_told(is_let_in)
    assert not await api.aunblock_user("42")
    await api.ablock_user("42", timezone.now() + timedelta(hours=1))
    assert await api.aunblock_user("42")


@pytest.mark.parametrize(
    "until", [datetime(2030, 1, 1), float("inf"), float("nan"), "x", True, 1e12, 10**400]
)
async def test_an_end_of_a_block_that_is_none(node: Node, until: Any) -> None:
    with pytest.raises(InvalidMessage, match="until is"):
        await api.ablock_user("42", until)


async def test_a_block_of_some_length_is_by_the_clock_of_the_store(
    node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock is behind would end an earlier block by it, and call the user blocked."""
    now = await node.presence.now()
    monkeypatch.setattr("time.time", lambda: now - 7_200)
    with caplog.at_level(logging.INFO, "gateway.audit"):
        await api.ablock_user("42", seconds=3_600)
    until = await node.presence.blocked_until("42")
    assert until is not None and now + 3_600 <= until < now + 3_700
    (line,) = [one.audit for one in caplog.records if one.getMessage() == "blocked"]  # type: ignore[attr-defined]
    assert (line["seconds"], line["until"]) == (3_600.0, None)


@pytest.mark.parametrize("seconds", [0, -1, True, "60", float("nan"), float("inf"), 1e12])
async def test_a_length_of_a_block_that_is_none(node: Node, seconds: Any) -> None:
    with pytest.raises(InvalidMessage, match="seconds is"):
        await api.ablock_user("42", seconds=seconds)
    with pytest.raises(InvalidMessage, match="one of until and seconds"):
        await api.ablock_user("42", time.time() + 60, seconds=60)


async def test_revoking(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.audit")
    one, two = await client(node), await client(node, "7")
    assert await api.arevoke("42", sid="of nobody") == Disconnected(0)
    assert await api.arevoke("42") == Disconnected(0, 1)
    assert (one.close_code, two.close_code) == (4508, None)
    with pytest.raises(Revoked):
        await client(node)
    line = caplog.records[1]
    assert line.getMessage() == "revoked"
    assert line.audit == {  # type: ignore[attr-defined]
        "user": "42",
        "what": "user",
        "before": None,
        "closed": 0,
        "unconfirmed": 1,
    }


@pytest.mark.parametrize(
    "given",
    [
        {"sid": ""},
        {"jti": "x" * 256},
        {"jti": 7},
        {"sid": "\ud800"},
        {"sid": "a", "jti": "b"},
        {"before": time.time() + 3_600},
        {"before": datetime(2026, 1, 1)},
        {"before": "yesterday"},
        {"before": 1e13},
    ],
)
async def test_a_revocation_that_means_nothing(node: Node, given: dict[str, Any]) -> None:
    one = await client(node)
    with pytest.raises(InvalidMessage):
        await api.arevoke("42", **given)
    assert one.close_code is None


@pytest.mark.parametrize(
    "given",
    [
        {"client": ""},
        {"session": ""},
        {"client": 7},
        {"session": b"s"},
        {"keep": None},
        {"keep": 7},
        {"keep": [None]},
        {"keep": ["\ud800"]},
        {"code": True},
        {"code": "4504"},
        {"reason": None},
        {"reason": "\ud800"},
    ],
)
async def test_a_choice_that_is_none_closes_nobody(node: Node, given: dict[str, Any]) -> None:
    """Above all no empty one: in Redis it would mean all of the user's sessions."""
    one = await client(node)
    with pytest.raises(InvalidMessage):
        await api.adisconnect_user("42", **given)
    assert one.close_code is None


@pytest.mark.parametrize("limit", [0, -1, True, "5", None, 10_001])
async def test_a_limit_that_is_none(node: Node, limit: Any) -> None:
    with pytest.raises(InvalidMessage, match="limit"):
        await api.alive_sessions(limit=limit)


@pytest.mark.parametrize("cursor", ["", "!", "e30x", "W10", 7, "eyJub2RlIjo3fQ", "가"])
async def test_a_cursor_that_is_none(node: Node, cursor: Any) -> None:
    with pytest.raises(InvalidMessage, match="cursor"):
        await api.asession_page(cursor=cursor)


async def test_all_sessions_a_page_at_a_time(node: Node) -> None:
    made = {(await client(node, f"u{n % 20}")).info.id for n in range(30)}
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor:
        page = await api.asession_page(cursor=cursor, limit=6)
        seen += [info.id for info in page.sessions]
        cursor, pages = page.next, pages + 1
    assert sorted(seen) == sorted(made)
    assert pages == 4
    assert (await api.asession_page(node="elsewhere")).sessions == []


async def test_a_session_is_named_in_any_case(node: Node) -> None:
    one = await client(node)
    assert await api.adisconnect_session(one.info.id.lower()) == Disconnected(0, 1)
    with pytest.raises(InvalidMessage, match="NODE_NAME"):
        await api.adrain_node(7)  # type: ignore[arg-type]


async def test_the_nodes_and_their_sessions(node: Node) -> None:
    session = await client(node)
    (found,) = await api.anodes()
    assert (found.name, found.id) == ("here", node.registration.life)
    assert [info.id for info in await api.alive_sessions()] == [session.info.id]
    assert await api.alive_sessions(node="elsewhere") == []
    answer = await api.apresence_of_users(["42", "7"])
    assert answer.users["42"] == await api.apresence_of("42")
    assert not answer.users["7"].online
