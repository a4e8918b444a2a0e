"""What one node answers about itself."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.base import refusals
from sockets.cluster.bus import Bus
from sockets.operations import local
from sockets.operations.shared import TooManyQuestions
from sockets.operations.wire import Condition, Found, Query, Refused, body_of, read
from sockets.reports import Health
from sockets.types import Kind
from tests.support.doubles import StillNode


async def ask(node: StillNode, kind: Any, **question: Any) -> Any:
    other = Bus(node.layer, "other")
    await other.listen()
    answers = await other.ask(["here"], timeout=1.0, **question)
    await other.stop()
    return read(answers["here"], kind)


async def condition(node: StillNode) -> Condition:
    found: Condition = await ask(node, Condition, type="operations.overview", after={})
    return found


async def test_the_node_itself(here: StillNode) -> None:
    await here.open("1")
    await here.open_worker("p")
    found = await condition(here)
    assert (found.clients, found.workers, found.users) == (1, 1, 1)
    assert found.state == here.unready_because and found.redis, "it has not begun"
    assert (found.webhooks, found.database, found.steps) == (0, "", [])


async def test_sessions_are_counted_by_their_health_now_and_then(here: StillNode) -> None:
    session = await here.open("1")
    session.blocked = True
    assert (await condition(here)).slow == 1
    session.blocked = False
    assert (await condition(here)).slow == 1
    here.clock.advance(local.CENSUS_FOR)
    assert (await condition(here)).slow == 0


async def test_two_who_look_for_the_same_cost_one_walk(
    here: StillNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = 0

    async def counted(*args: Any) -> Found:
        nonlocal walks
        walks += 1
        return Found([], 0, 0)

    monkeypatch.setattr(local, "find", counted)
    for agent in ("firefox", "firefox", "chrome"):
        query = body_of(Query(agent=agent))
        await ask(here, Found, type="operations.find", body=query)
    assert walks == 2


async def test_a_session_in_grace(here: StillNode) -> None:
    session = await here.open("1")
    session.connection.expires_at = here.clock() + here.conf.token_grace
    found = await ask(
        here, Found, type="operations.find", body=body_of(Query(health=Health.IN_GRACE))
    )
    assert [one.info.id for one in found.sessions] == [session.info.id]


async def test_refusals_are_a_part_of_the_ring(here: StillNode) -> None:
    for code in range(4500, 4505):
        refusals.note(Kind.WORKER, code, "why", address="203.0.113.77")
    question = {"type": "operations.refusals", "user": "", "address": "203.0.113.77", "limit": 2}
    found = await ask(here, Refused, **question)
    assert [one.code for one in found.lines] == [4504, 4503] and found.more == 3


async def test_who_asks_too_much_is_told_so_and_does_not_wait(
    here: StillNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: Any) -> Found:
        raise TooManyQuestions

    monkeypatch.setattr(here.local_operations._shared, "get", busy)
    found = await here.operations.find("", None, lambda now: Query())
    assert found.silent == ["here"]
    assert (await here.operations.overview()).silent == [], "it answers what it can"


def test_what_is_no_question_is_an_error(here: StillNode) -> None:
    with pytest.raises(ValueError, match="is not for a node"):
        here.local_operations.receive({"type": "operations.unknown"})
