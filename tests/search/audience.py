"""Sessions that come back with their position and count everything; users who come and go."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from sockets.base.ids import new_id
from tests.search.link import reset
from tests.search.record import Heard
from tests.search.stage import PROVES
from tests.support.gateway import Gateway

PATIENCE = 12.0
"""Seconds of silence after which a client gives its socket up: three heartbeats."""
RETRY = 0.2
TASK_ENDS = frozenset({"task.done", "task.failed", "task.released", "task.lost", "task.cancelled"})


class Tab:
    """One session. `run` connects, listens and comes back, for ever."""

    def __init__(self, name: str, user: str, nodes: list[Gateway], node: int) -> None:
        self.heard = Heard(name, user)
        self.user = user
        self.nodes = nodes
        self.node = node
        self.client = new_id()
        self.epoch = ""
        self.offset = 0
        self.welcomed = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.socket: ClientConnection | None = None
        self._ids: set[str] = set()
        self._since = 0.0
        self._ours = False

    def url(self) -> str:
        given = {"user_id": self.user, "client_id": self.client}
        if self.epoch:
            given |= {"epoch": self.epoch, "offset": str(self.offset)}
        return self.nodes[self.node].client_url(**given)

    def elsewhere(self) -> None:
        """The next node, as a balancer would say."""
        self.node = (self.node + 1) % len(self.nodes)

    def drop(self, *, ours: bool = True) -> None:
        """Reset the socket, without a word. `ours`: the end is no news."""
        if self.socket is not None:
            self._ours = ours
            self._end_life()
            reset(_Writer(self.socket.transport))  # type: ignore[arg-type]

    async def run(self) -> None:
        while True:
            await self.visit()
            await asyncio.sleep(RETRY * random.uniform(0.5, 1.5))

    async def visit(self) -> None:
        """One connection, from its handshake to its end."""
        code, node, self._ours = 1006, self.node, False
        try:
            async with connect(
                self.url(),
                subprotocols=["gateway.v1"],  # type: ignore[list-item]
                open_timeout=PATIENCE,
                additional_headers={PROVES: self.user} if self.heard.proxied else None,
                ping_interval=None,
                close_timeout=0.5,
                proxy=None,
            ) as self.socket:
                await self._listen(self.socket)
                if self.socket.close_code is not None:
                    code = self.socket.close_code
        except InvalidHandshake as error:
            answer = getattr(error, "response", None)
            code = {503: 1013}.get(answer.status_code, answer.status_code) if answer else 1006
        except (OSError, WebSocketException, TimeoutError, EOFError):
            code = (self.socket.close_code if self.socket else None) or 1006
        except asyncio.CancelledError:
            self._ours = True
            raise
        finally:
            self._end_life()
            self.socket = None
            if not self._ours:
                self.heard.closes.append((time.time(), node, code))
        if self.node == node and not self._ours:
            self.elsewhere()

    async def _listen(self, socket: ClientConnection) -> None:
        with suppress(TimeoutError):
            while True:
                await self.reads.wait()
                async with asyncio.timeout(PATIENCE):
                    try:
                        text = await socket.recv()
                    except WebSocketException:
                        return
                await self._on(json.loads(text), socket)
        self.drop(ours=False)

    def _end_life(self) -> None:
        if self.welcomed:
            self.welcomed = False
            self.heard.lives.append((self._since, time.time(), self.node))

    def _wrong(self, kind: str, text: str) -> None:
        self.heard.wrong.append((time.time(), kind, text))

    async def _on(self, frame: dict[str, Any], socket: ClientConnection) -> None:
        match frame["type"]:
            case "welcome":
                self._welcome(frame)
            case "message" if "offset" in frame:
                self._message(frame)
            case "position":
                if frame["offset"] < self.offset:
                    self._wrong("a position goes back", f"{frame['offset']} after {self.offset}")
                self.offset = frame["offset"]
            case "reset":
                self._told(frame)
            case "closing":
                self.elsewhere()
            case "ping":
                with suppress(WebSocketException):
                    await socket.send('{"type":"pong"}')

    def _welcome(self, frame: dict[str, Any]) -> None:
        self.welcomed = True
        self._since = time.time()
        if self.epoch and frame["recovered"] is None:
            self._wrong("a position was not taken", f"{self.epoch} {self.offset}")
        if frame["recovered"] is not True:
            if self.epoch:
                self._told(frame)
            self.epoch, self.offset = frame["epoch"], frame["offset"]
        elif (frame["epoch"], frame["offset"]) != (self.epoch, self.offset):
            text = f"at {frame['epoch']} {frame['offset']}, not {self.epoch} {self.offset}"
            self._wrong("recovered elsewhere", text)

    def _told(self, frame: dict[str, Any]) -> None:
        self.heard.told.append(time.time())
        self.epoch, self.offset = frame["epoch"], frame["offset"]
        self._ids.clear()  # what was lost may be sent again

    def _message(self, frame: dict[str, Any]) -> None:
        if frame.get("prev", frame["offset"] - 1) != self.offset:
            before = frame.get("prev", frame["offset"] - 1)
            self._wrong("a gap", f"{frame['offset']} follows {before}, and it had {self.offset}")
        self.offset = frame["offset"]
        if frame["event"] in TASK_ENDS:
            end = (time.time(), frame["data"]["task"], frame["event"].removeprefix("task."))
            self.heard.task_ends.append(end)
        elif frame["event"] == "e":
            if frame["id"] in self._ids:
                self._wrong("a message twice", f"{frame['id']} at {frame['offset']}")
            self._ids.add(frame["id"])
            self.heard.messages.append((time.time(), frame["data"]["n"]))


class _Writer:
    """What `link.reset` needs of a writer."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def get_extra_info(self, name: str) -> Any:
        return self.transport.get_extra_info(name)


class Visitor(Tab):
    """Comes and goes; at `stay` it does what that says, and remains so."""

    stay: bool | None = None

    async def run(self) -> None:
        dice = random.Random(self.user)
        while True:
            if self.stay is not False:
                visit = asyncio.create_task(self.visit())
                try:
                    await self._until_tired(visit, dice)
                    if not visit.done():
                        await self._leave(dice)
                finally:
                    visit.cancel()
                    with suppress(asyncio.CancelledError):
                        await visit
                self.node = dice.randrange(len(self.nodes))
            await asyncio.sleep(RETRY if self.stay else dice.choice((0.3, 0.8, 3.0)))

    async def _until_tired(self, visit: asyncio.Task[None], dice: random.Random) -> None:
        end = time.monotonic() + dice.uniform(0.5, 6)
        while self.stay or (time.monotonic() < end and self.stay is None):
            await asyncio.wait({visit}, timeout=0.1)
            if visit.done():
                return

    async def _leave(self, dice: random.Random) -> None:
        if self.socket is not None and dice.random() < 0.7:
            self._end_life()
            self._ours = True
            with suppress(WebSocketException, OSError, TimeoutError):
                await asyncio.wait_for(self.socket.close(), 1)
        else:
            self.drop()
