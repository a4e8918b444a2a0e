"""What other nodes ask of one, and what it answers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sockets.cluster.bus import Bus
from sockets.node.inbox import Requests
from tests.support.doubles import House, until


class Asked:
    """A house whose requests are heard, and another node that asks."""

    def __init__(self) -> None:
        self.house = House(close_timeout=0.05)
        self.other = Bus(self.house.layer, "other")
        self.stopped = 0
        self.requests = Requests(
            bus=self.house.bus,
            hub=self.house.hub,
            sessions=self.house.sessions,
            registration=SimpleNamespace(life="here:1"),  # type: ignore[arg-type]
            close_timeout=0.05,
            draining=lambda: self.stopped > 0,
            spawn=self.house.spawn,
            stop=self._stop,
        )

    def _stop(self) -> None:
        self.stopped += 1

    async def ask(self, seconds: float = 1.0, **question: Any) -> dict[str, Any]:
        return await self.other.ask(["here"], timeout=seconds, **question)


@pytest.fixture
async def asked() -> Asked:
    made = Asked()
    made.house.bus.handlers["node"] = made.requests.receive
    await made.house.bus.listen()
    await made.other.listen()
    return made


async def test_who_is_answered_by_another_life_of_the_name_and_never_by_itself(
    asked: Asked,
) -> None:
    assert await asked.ask(type="node.who", life="here:2")
    assert not await asked.ask(0.05, type="node.who", life="here:1")


async def test_a_drain_is_confirmed_before_the_process_ends(asked: Asked) -> None:
    assert await asked.ask(type="node.drain")
    await until(lambda: asked.stopped == 1)


async def test_a_drain_that_is_asked_for_twice_is_not_hurried(asked: Asked) -> None:
    """By an operator who tries again, or behind a SIGTERM: a second signal cuts everybody off."""
    for _ in range(2):
        assert await asked.ask(type="node.drain")
    await asyncio.sleep(0.01)
    assert asked.stopped == 1


async def test_what_is_closed_and_what_still_is_open_is_told_apart(asked: Asked) -> None:
    deaf, gone = await asked.house.open(), await asked.house.open()
    ids = [deaf.info.id, gone.info.id, "elsewhere"]
    question = {"type": "node.end", "sessions": {"here": ids}, "code": 4504, "reason": "r"}
    asking = asyncio.ensure_future(asked.ask(**question))
    await until(lambda: gone.close_code == 4504)
    await asked.house.sessions.close(gone, 4504, "r")
    answer = (await asking)["here"]
    assert (answer["closed"], answer["open"]) == ([gone.info.id], [deaf.info.id])


async def test_what_is_asked_of_another_node_is_not_ours(asked: Asked) -> None:
    session = await asked.house.open()
    question = {"sessions": {"there": [session.info.id]}, "code": 4504, "reason": "r"}
    answer = (await asked.ask(type="node.end", **question))["here"]
    assert (answer["closed"], answer["open"]) == ([], []) and session.close_code is None


async def test_a_message_of_another_kind_is_not_for_a_node(asked: Asked) -> None:
    with pytest.raises(ValueError, match=r"'node.dance' is not for a node"):
        asked.requests.receive({"type": "node.dance"})
