"""What other nodes ask of this one, and its answers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from sockets.cluster.bus import Bus
from sockets.delivery import Delivery
from sockets.delivery.hub import Hub
from sockets.exceptions import GatewayUnavailable
from sockets.layers.fanout import Message
from sockets.layers.groups import user_group
from sockets.node.registration import Registration
from sockets.sessions.lifecycle import Sessions


def stop_this_process() -> None:
    """Send SIGTERM, as an operator would: the server's own handler does the rest."""
    os.kill(os.getpid(), signal.SIGTERM)


class Requests:
    """Belongs to the node's event loop.

    `draining`: whether it ends already; `stop`: ends this process in good order. `remove_rows`:
    deletes the rows of a user's sessions that connected until a time, in a thread; raises
    GatewayUnavailable.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        hub: Hub,
        sessions: Sessions,
        delivery: Delivery,
        registration: Registration,
        close_timeout: float,
        draining: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        remove_rows: Callable[[str, float], int],
        stop: Callable[[], None] = stop_this_process,
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._sessions = sessions
        self._delivery = delivery
        self._registration = registration
        self._close_timeout = close_timeout
        self._draining = draining
        self._spawn = spawn
        self._remove_rows = remove_rows
        self._stop = stop

    def receive(self, message: Message) -> None:
        """Do what a `node.…` or `delivery.…` message asks, from this node or another."""
        match message["type"]:
            case "node.close":
                self._sessions.close_local(message["sessions"], message["code"], message["reason"])
            case "node.end":
                self._spawn(self._end(message))
            case "node.who":
                if message["life"] != self._registration.life:
                    self._spawn(self._bus.answer(message))
            case "node.drain":
                self._spawn(self._drain(message))
            case "node.rows":
                self._spawn(self._erase_rows(message))
            case "delivery.ask":
                self._spawn(self._bus.answer(message, **self._deliveries(message)))
            case other:
                raise ValueError(f"type {other!r} is not for a node")

    async def _end(self, message: Message) -> None:
        """Close sessions, and answer which are closed then."""
        ids = message["sessions"].get(self._bus.node, ())
        here = self._sessions.close_local(ids, message["code"], message["reason"])
        still = await self._hub.until_gone(here, self._close_timeout)
        closed = [id for id in here if id not in still]
        await self._bus.answer(message, closed=closed, open=still)

    async def _erase_rows(self, message: Message) -> None:
        rows, problem = 0, ""
        loop = asyncio.get_running_loop()
        try:  # in a thread's own context: with that of another come connections of another
            rows = await loop.run_in_executor(
                None, self._remove_rows, message["user"], message["before"]
            )
        except GatewayUnavailable as error:
            problem = str(error)
        await self._bus.answer(message, rows=rows, problem=problem)

    async def _drain(self, message: Message) -> None:
        await self._bus.answer(message)
        if not self._draining():  # a second SIGTERM would hurry
            self._stop()

    def _deliveries(self, message: Message) -> dict[str, Any]:
        """Return what became of one message for each session of its user here, and how each
        stands."""
        epoch, offset = message["epoch"], message["offset"]
        room = self._hub.room(user_group(message["user"]))
        rows, entries = [], []
        for session in room.members if room else ():
            info = session.info
            acked_at = info.acked_at if info.has_acked(epoch, offset) else None
            outcome, sent_at = self._delivery.outcome(session, epoch, offset)
            rows.append((info.id, info.client_id, outcome, sent_at, acked_at))
            if (entry := self._sessions.books.entry(session)) is not None:
                entries.append(msgspec.to_builtins(entry))
        return {"sessions": rows, "entries": entries}
