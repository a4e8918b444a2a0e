"""Messages between nodes: told, asked, answered; and what nobody answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sockets.cluster.bus import Bus
from sockets.exceptions import GatewayUnavailable
from sockets.layers.fanout import Message
from sockets.layers.groups import node_group
from sockets.layers.memory import MemoryChannelLayer
from tests.support.doubles import FailingLayer, until
from tests.support.patience import PATIENCE


async def two() -> tuple[Bus, Bus]:
    layer = MemoryChannelLayer()
    buses = Bus(layer, "a"), Bus(layer, "b")
    for bus in buses:
        await bus.listen()
    return buses


async def test_a_message_finds_the_handler_of_its_kind() -> None:
    a, b = await two()
    heard: list[Message] = []
    b.handlers["task"] = heard.append
    await a.tell("b", type="task.stop", task="t")
    await a.tell("nobody", type="task.stop", task="t")
    assert heard == [{"type": "task.stop", "task": "t"}]
    with pytest.raises(ValueError, match=r"'node.close' is not for a node"):
        b.receive({"type": "node.close"})


async def test_a_node_that_cannot_be_reached_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await Bus(FailingLayer("group_send"), "a").tell("b", type="node.close")
    assert "node.close did not reach node b" in caplog.text


async def test_a_question_is_answered_by_whoever_can() -> None:
    a, b = await two()
    tasks: list[asyncio.Task[None]] = []

    def answer(message: Message) -> None:
        tasks.append(asyncio.ensure_future(b.answer(message, double=2 * message["n"])))

    b.handlers["sum"] = answer
    answers = await a.ask(["b", "dead"], timeout=0.5, type="sum.double", n=21)
    assert {node: answer["double"] for node, answer in answers.items()} == {"b": 42}
    assert await a.ask([], timeout=5, type="sum.double", n=1) == {}
    await asyncio.gather(*tasks)


async def test_an_answer_that_comes_late_or_was_not_asked_for_harms_nobody() -> None:
    a, b = await two()
    asked: list[Message] = []
    b.handlers["sum"] = asked.append
    assert await a.ask(["b"], timeout=0.01, type="sum.double", n=1) == {}
    await b.answer(asked[0], double=2)
    await b.answer({"asker": "a", "ref": "of nobody"}, double=2)
    b.handlers["sum"] = lambda message: tasks.append(asyncio.ensure_future(b.answer(message, x=1)))
    tasks: list[asyncio.Task[None]] = []
    assert (await a.ask(["b"], timeout=5, type="sum.double", n=1))["b"]["x"] == 1
    assert not a._questions


@pytest.mark.parametrize("node", [None, 7, ["b"], "stranger"])
async def test_an_answer_of_nobody_who_was_asked_is_none(node: Any) -> None:
    a, b = await two()

    def answer(message: Message) -> None:
        a.receive({"type": "bus.answer", "ref": message["ref"], "node": node})

    b.handlers["sum"] = answer
    assert await a.ask(["b"], timeout=0.01, type="sum.double", n=1) == {}


async def test_a_node_that_answers_twice_takes_no_other_s_place() -> None:
    """Two processes have the name `b` for a while."""
    a, b = await two()
    asked: list[Message] = []
    b.handlers["sum"] = asked.append
    asking = asyncio.ensure_future(a.ask(["b", "c"], timeout=PATIENCE, type="sum.double", n=1))
    await until(lambda: asked)
    for node, double in (("b", 2), ("b", 3), ("stranger", 4), ("b", 5), ("c", 6)):
        a.receive({"type": "bus.answer", "ref": asked[0]["ref"], "node": node, "double": double})
    answers = await asking
    assert {node: answer["double"] for node, answer in answers.items()} == {"b": 2, "c": 6}


async def test_a_name_that_two_processes_have_is_asked_once_and_not_waited_for_twice() -> None:
    a, b = await two()
    asked: list[Message] = []

    def answer(message: Message) -> None:
        asked.append(message)
        a.receive({"type": "bus.answer", "ref": message["ref"], "node": "b"})

    b.handlers["sum"] = answer
    async with asyncio.timeout(PATIENCE):
        answers = await a.ask(["b", "b"], timeout=2 * PATIENCE, type="sum.double", n=1)
    assert set(answers) == {"b"} and len(asked) == 1


class SlowLayer(MemoryChannelLayer):
    """One of its hosts is half open: what goes to this group hangs."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if group == node_group("hangs"):
            await asyncio.sleep(2 * PATIENCE)
        await super().group_send(group, message)


async def test_a_node_that_cannot_be_told_in_time_costs_no_other_s_answer() -> None:
    a = Bus(SlowLayer(), "a")

    def answer(message: Message) -> None:
        a.receive({"type": "bus.answer", "ref": message["ref"], "node": "a", "n": message["n"]})

    await a.listen()
    a.handlers["sum"] = answer
    answers = await a.ask(["a", "hangs"], timeout=0.01, type="sum.double", n=1)
    assert {node: answer["n"] for node, answer in answers.items()} == {"a": 1}


async def test_who_stopped_hears_nothing() -> None:
    a, b = await two()
    heard: list[Message] = []
    b.handlers["task"] = heard.append
    await b.stop()
    await a.tell("b", type="task.stop")
    await until(lambda: True)
    assert heard == []


async def test_a_bus_that_takes_another_name_leaves_the_former_to_others() -> None:
    layer = MemoryChannelLayer()
    old, new, asks = Bus(layer, "a"), Bus(layer, "a"), Bus(layer, "b")
    heard: dict[str, list[str]] = {"old": [], "new": []}
    for name, bus in (("old", old), ("new", new)):
        bus.handlers["task"] = lambda message, name=name: heard[name].append(message["task"])  # type: ignore[misc]
        await bus.listen()
    await old.rename("a~1234")
    await asks.tell("a", type="task.stop", task="1")
    await asks.tell("a~1234", type="task.stop", task="2")
    assert heard == {"old": ["2"], "new": ["1"]}
    await old.stop()
    await asks.tell("a~1234", type="task.stop", task="3")
    assert heard["old"] == ["2"]


async def test_a_name_that_cannot_be_listened_to_is_not_taken() -> None:
    layer = FailingLayer()
    bus = Bus(layer, "a")
    await bus.listen()
    layer.failing = {"group_add_sink"}
    with pytest.raises(GatewayUnavailable):
        await bus.rename("a~1234")
    assert bus.node == "a"
    layer.failing = {"group_discard_sink"}
    await bus.rename("a~1234")
    assert bus.node == "a~1234", "what is left of the former name is no reason to stay with it"


async def test_who_has_heard_enough_waits_for_nobody_more() -> None:
    a, b = await two()
    tasks: list[asyncio.Task[None]] = []

    def answer(message: Message) -> None:
        tasks.append(asyncio.ensure_future(b.answer(message, found=message["n"] == 1)))

    b.handlers["look"] = answer

    async def ask(n: int, timeout: float) -> dict[str, Message]:
        return await a.ask(
            ["b", "dead"],
            timeout=timeout,
            enough=lambda message: message["found"],
            type="look.for",
            n=n,
        )

    assert set(await ask(1, 60.0)) == {"b"}
    assert set(await ask(2, 0.05)) == {"b"}, "and otherwise for the time-out"
