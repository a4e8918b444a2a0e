"""What other nodes ask of one, and what it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockets.cluster.bus import Bus
from tests.support.doubles import StillNode, still_node, until
from tests.support.patience import PATIENCE


class Asked:
    """A node, and another one that asks."""

    def __init__(self, node: StillNode) -> None:
        self.node = node
        self.other = Bus(node.layer, "other")

    async def ask(self, seconds: float = PATIENCE, **question: Any) -> dict[str, Any]:
        return await self.other.ask(["here"], timeout=seconds, **question)


@pytest.fixture
async def asked() -> Asked:
    made = Asked(await still_node(close_timeout=0.5, ready_lag=0))
    await made.other.listen()
    return made


async def test_who_is_answered_by_another_life_of_the_name_and_never_by_itself(
    asked: Asked,
) -> None:
    assert await asked.ask(type="node.who", life="here:2")
    assert not await asked.ask(0.05, type="node.who", life=asked.node.registration.life)


async def test_a_drain_is_confirmed_before_the_process_ends(asked: Asked) -> None:
    assert await asked.ask(type="node.drain")
    await until(lambda: asked.node.drains == 1)


async def test_a_drain_that_is_asked_for_twice_is_not_hurried(asked: Asked) -> None:
    """By an operator who tries again, or after a SIGTERM: a second one cuts everybody off."""
    for _ in range(2):
        assert await asked.ask(type="node.drain")
    await asyncio.sleep(0.01)
    assert asked.node.drains == 1


async def test_what_is_closed_and_what_still_is_open_is_told_apart(asked: Asked) -> None:
    deaf, gone = await asked.node.open(), await asked.node.open()
    ids = [deaf.info.id, gone.info.id, "elsewhere"]
    question: dict[str, Any] = {
        "type": "node.end",
        "sessions": {"here": ids},
        "code": 4504,
        "reason": "r",
    }
    asking = asyncio.ensure_future(asked.ask(**question))
    await until(lambda: gone.close_code == 4504)
    await asked.node.sessions.close(gone, 4504, "r")
    answer = (await asking)["here"]
    assert (answer["closed"], answer["open"]) == ([gone.info.id], [deaf.info.id])


async def test_what_is_asked_of_another_node_is_not_ours(asked: Asked) -> None:
    session = await asked.node.open()
    question: dict[str, Any] = {
        "sessions": {"there": [session.info.id]},
        "code": 4504,
        "reason": "r",
    }
    answer = (await asked.ask(type="node.end", **question))["here"]
    assert (answer["closed"], answer["open"]) == ([], []) and session.close_code is None


async def test_a_message_of_another_kind_is_not_for_a_node(asked: Asked) -> None:
    with pytest.raises(ValueError, match=r"'node.dance' is not for a node"):
        asked.node.requests.receive({"type": "node.dance"})
