"""Messages between nodes: each node listens in a group of its own, and may ask and be answered.

They make things quick and never certain: what must happen is in the state store first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

from sockets.base.ids import new_id
from sockets.exceptions import GatewayError
from sockets.layers.base import Layer
from sockets.layers.fanout import Message
from sockets.layers.groups import node_group

logger = logging.getLogger(__name__)

Handler = Callable[[Message], None]
"""Must not await; what it raises is logged by the layer."""


class _Question:
    """The answers to one question: of each node that was asked the first one. Two processes may
    have its name for a while, and both answer."""

    def __init__(self, nodes: Collection[str]) -> None:
        self.answers: asyncio.Queue[tuple[str, Message]] = asyncio.Queue()
        self._awaited = set(nodes)

    def take(self, answer: Message) -> None:
        """Take an answer that has come; one of a node that is not waited for is dropped."""
        node = answer.get("node")
        if isinstance(node, str) and node in self._awaited:
            self._awaited.discard(node)
            self.answers.put_nowait((node, answer))


class Bus:
    """Sends messages to other nodes, and receives theirs. Belongs to the node's event loop.

    A message's `type` is "<kind>.<what>"; `handlers` by kind.
    """

    def __init__(self, layer: Layer, node: str) -> None:
        self.node = node
        self.handlers: dict[str, Handler] = {}
        self._layer = layer
        self._questions: dict[str, _Question] = {}  # by the `ref` of their answers

    async def listen(self) -> None:
        """Begin to receive messages. Raises GatewayUnavailable."""
        await self._layer.group_add_sink(node_group(self.node), self.receive)

    async def rename(self, node: str) -> None:
        """Change the name of this node. Raises GatewayUnavailable, and then nothing has changed."""
        before = node_group(self.node)
        await self._layer.group_add_sink(node_group(node), self.receive)
        self.node = node
        try:
            await self._layer.group_discard_sink(before, self.receive)
        except GatewayError as error:
            logger.warning("the group of the former name could not be left in order: %s", error)

    async def stop(self) -> None:
        """Receive no more messages."""
        await self._layer.group_discard_sink(node_group(self.node), self.receive)

    def receive(self, message: Message) -> None:
        """Pass on a message to this node, from itself or another."""
        if message["type"] == "bus.answer":
            if (question := self._questions.get(message["ref"])) is not None:
                question.take(message)
            return
        handler = self.handlers.get(message["type"].partition(".")[0])
        if handler is None:
            raise ValueError(f"type {message['type']!r} is not for a node")
        handler(message)

    async def tell(self, node: str, /, **message: Any) -> None:
        """Send a message to a node; where it cannot be reached, that is logged."""
        try:
            await self._layer.group_send(node_group(node), message)
        except GatewayError as error:
            logger.warning("%s did not reach node %s: %s", message["type"], node, error)

    async def ask(
        self,
        nodes: Collection[str],
        /,
        *,
        timeout: float,
        enough: Callable[[Message], bool] | None = None,
        **asked: Any,
    ) -> dict[str, Message]:
        """Ask nodes, and wait at most `timeout` seconds; those that did not answer are left out.

        `enough`: of an answer, whether the others need not be waited for.
        """
        ref, nodes = new_id(), frozenset(nodes)  # a name may be that of two processes
        question = self._questions[ref] = _Question(nodes)
        found: dict[str, Message] = {}
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(
                    *(self.tell(node, ref=ref, asker=self.node, **asked) for node in nodes)
                )
                while len(found) < len(nodes):
                    node, answer = await question.answers.get()
                    found[node] = answer
                    if enough is not None and enough(answer):
                        break
        except TimeoutError:
            # Where it was a node that could not even be told, the others have answered meanwhile.
            while not question.answers.empty():
                node, found[node] = question.answers.get_nowait()
        finally:
            del self._questions[ref]
        return found

    async def answer(self, question: Message, **answer: Any) -> None:
        """Answer a question."""
        await self.tell(
            question["asker"], type="bus.answer", ref=question["ref"], node=self.node, **answer
        )
