"""The first sessions that fit, of one node."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockets.delivery.hub import Hub, LocalSession
from sockets.layers.memory import MemoryChannelLayer
from sockets.operations import find as module
from sockets.operations.find import census, find, first_of, parse_order
from sockets.operations.health import Look
from sockets.operations.wire import Query
from sockets.reports import Health
from sockets.types import Kind
from tests.support.doubles import NOON, local_session


def look() -> Look:
    return Look(0.0, NOON, 30.0, 2.0)


def hub_of(*sessions: LocalSession) -> Hub:
    hub = Hub(MemoryChannelLayer())
    for session in sessions:
        hub.add(session)
    return hub


async def users(hub: Hub, **given: Any) -> list[str]:
    found = await find(hub, Query(**given), look)
    return [one.info.user for one in found.sessions]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Five clients and a worker, in slices of two."""
    monkeypatch.setattr(module, "SLICE", 2)
    made = [
        local_session("b", connected_at=NOON + 1, address="192.0.2.1:5", agent="Firefox on Linux"),
        local_session("a", connected_at=NOON + 2, address="192.0.2.2:5", agent="Chrome"),
        local_session("d", connected_at=NOON + 3, address="198.51.100.1:5"),
        local_session("key", connected_at=NOON + 4, kind=Kind.WORKER),
        local_session("c", connected_at=NOON + 5),
    ]
    made[2].blocked = True
    made[0].connection.round_trip = 0.2
    made[4].connection.round_trip = 0.1
    return hub_of(*made)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("-connected_at", ["c", "key", "d", "a", "b"]),
        ("connected_at", ["b", "a", "d", "key", "c"]),
        ("user", ["a", "b", "c", "d", "key"]),
        ("-user", ["key", "d", "c", "b", "a"]),
    ],
)
async def test_they_are_in_order(hub: Hub, order: str, expected: list[str]) -> None:
    assert await users(hub, order=order) == expected
    assert await users(hub, order=order, limit=2) == expected[:2]


async def test_by_the_round_trip(hub: Hub) -> None:
    assert (await users(hub, order="-round_trip"))[:2] == ["b", "c"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": Kind.WORKER}, {"key"}),
        ({"kind": Kind.CLIENT}, {"a", "b", "c", "d"}),
        ({"address": "192.0.2."}, {"a", "b"}),
        ({"agent": "firefox"}, {"b"}),
        ({"health": Health.SLOW}, {"d"}),
        ({"born_after": NOON + 4}, {"c", "key"}),
        ({"born_before": NOON + 2}, {"a", "b"}),
        ({"born_before": NOON + 2, "agent": "chrome"}, {"a"}),
    ],
)
async def test_only_those_that_fit(hub: Hub, given: Any, expected: set[str]) -> None:
    found = await find(hub, Query(**given), look)
    assert {one.info.user for one in found.sessions} == expected
    assert (found.matching, found.total) == (len(expected), 5)
    limited = await find(hub, Query(**given, limit=1), look)
    assert (len(limited.sessions), limited.matching) == (1, len(expected))


async def test_by_their_own_ids_or_those_of_clients(hub: Hub) -> None:
    one, two, *_ = hub
    assert await users(hub, ids=frozenset((one.info.id, "unknown"))) == ["b"]
    assert await users(hub, ids=frozenset((one.info.id,)), kind=Kind.WORKER) == []
    for either in (two.info.client_id, two.info.id):
        assert await users(hub, ids=frozenset(), either=either) == ["a"]
    assert await users(hub, ids=frozenset((one.info.id,)), either=two.info.id) == ["a", "b"]


async def test_all_of_one_kind_are_found_without_a_walk(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a page asks for each second, at a node that has clients only."""
    clients = hub_of(*(one for one in hub if one.info.kind is Kind.CLIENT))
    monkeypatch.delattr(module, "slices")
    found = await find(clients, Query(kind=Kind.CLIENT, limit=2), look)
    assert [one.info.user for one in found.sessions] == ["c", "d"]
    assert (found.matching, found.total) == (4, 4)


async def test_others_get_their_turn_and_sessions_come_and_go_meanwhile(hub: Hub) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        for number in range(20):
            await asyncio.sleep(0)
            turns += 1
            hub.discard(next(iter(hub)))
            hub.add(local_session(f"new{number}"))

    other = asyncio.ensure_future(others())
    assert len(await users(hub, order="user")) >= 2
    assert turns >= 2
    await other


async def test_the_census(hub: Hub) -> None:
    counts = await census(hub, look)
    assert (counts[Health.SLOW], counts[Health.HEALTHY]) == (1, 4)


def test_an_order_that_is_none() -> None:
    for text in ("", "-", "--user", "age"):
        with pytest.raises(ValueError, match="valid Order"):
            parse_order(text)


def test_several_nodes_lists_are_one() -> None:
    made = [look().report(local_session(user)) for user in "bac"]
    merged = first_of(made, Query(order="user", limit=2))
    assert [one.info.user for one in merged] == ["a", "b"]
