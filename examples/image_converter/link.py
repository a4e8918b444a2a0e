"""A worker's one socket to the gateway: its tasks, through whatever happens to the line.

When the line breaks, the tasks go on: the link comes back with a growing, jittered pause, as the
same worker, and says again what got no reply. The gateway's welcome names the tasks that this
worker still holds; what is not among them is somebody else's now.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from ulid import ULID
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

log = logging.getLogger(__name__)

Frame = dict[str, Any]

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
STABLE = 5.0
"""Seconds that a connection must have lived to make the next pause short again."""
WELCOME_TIMEOUT = 10.0
RETRY_REPLY = 1.0
"""Seconds until an outcome is repeated that the gateway could not take just now."""
_PROGRESS = "progress:"


_DISCONNECTED = 4504  # by an operator, or by the application


class Rejected(Exception):
    """The gateway does not want this worker: coming back would not help."""


class Disconnected(Rejected):
    """Somebody wanted this worker to go."""


class Hands(Protocol):
    """Who does the work. Called on the link's event loop; none of these may block."""

    def takes(self, offer: Frame) -> bool:
        """Whether to accept; from then on the place is taken until `start` or `dropped`."""

    def start(self, offer: Frame) -> None:
        """The task is ours."""

    def dropped(self, offer: Frame) -> None:
        """It went to another."""

    def stop_task(self, task: str, reason: str) -> None:
        """The task is not ours any more; it may be unknown, or over already."""


class WorkerLink:
    """Call `run` in a task. Belongs to one event loop."""

    def __init__(
        self, url: str, key: str, *, name: str, pool: str, capacity: int, worker_id: str = ""
    ) -> None:
        self.worker_id = worker_id or str(ULID())
        path = "" if urlsplit(url).path.strip("/") else "/ws/worker/"
        given = {"worker_id": self.worker_id, "name": name, "pools": pool, "capacity": capacity}
        self._url = f"{url.rstrip('/') if path else url}{path}?{urlencode(given)}"
        self._key = key
        self._hands: Hands
        self._socket: ClientConnection | None = None
        self._accepting: dict[str, Frame] = {}  # by offer: accepted by us, not confirmed
        self._outcomes: dict[str, Frame] = {}  # by task: said, not confirmed
        self._running: set[str] = set()
        self._return_at: float | None = None  # by the loop's clock, as `closing` announced
        self.idle = asyncio.Event()
        """Set while every outcome has been confirmed."""
        self.idle.set()

    @property
    def online(self) -> bool:
        """Whether somebody hears what is said now."""
        return self._socket is not None

    # --- what the hands say

    async def progress(self, task: str, data: Any) -> None:
        """A sign of life. Lost if the line is down: the next one says more."""
        if task in self._running:
            ref = f"{_PROGRESS}{task}"
            await self._send({"type": "progress", "ref": ref, "task": task, "data": data})

    async def ended(self, task: str, outcome: str, **members: Any) -> None:
        """`done`, `failed` or `release`: repeated until the gateway has confirmed it."""
        if task not in self._running:
            return
        self._running.discard(task)
        await self._send(self._kept(task, outcome, members))

    # --- the line

    async def run(self, hands: Hands) -> None:
        """Stay connected until cancelled. Raises Rejected."""
        self._hands = hands
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                reason = await self._connected()
            finally:
                self._socket = None
            if loop.time() - began > STABLE:
                pause = FIRST_PAUSE
            planned, self._return_at = self._return_at, None
            if planned is not None:
                wait = max(0.0, planned - loop.time())
            else:
                wait = pause * random.uniform(0.5, 1.0)
            pause = min(LONGEST_PAUSE, pause * 2)
            log.info("gateway away (%s): again in %.1f s", reason, wait)
            await asyncio.sleep(wait)

    async def _connected(self) -> str:
        """One connection, from the handshake to its end; returns why it ended. Raises Rejected."""
        try:
            async with connect(
                self._url,
                additional_headers={"Authorization": f"Bearer {self._key}"},
                subprotocols=["gateway.v1"],  # type: ignore[list-item]
                compression=None,
                open_timeout=WELCOME_TIMEOUT,
                close_timeout=2,
            ) as socket:
                async with asyncio.timeout(WELCOME_TIMEOUT):
                    welcome = json.loads(await socket.recv())
                if welcome.get("type") != "welcome":
                    raise WebSocketException(f"{welcome.get('type')!r} came, and no welcome")
                self._socket = socket
                log.info("connected to node %s", welcome.get("node"))
                await self._compare(set(welcome.get("tasks", ())))
                async for text in socket:
                    await self._received(json.loads(text))
            return "closed"
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403, 404):
                raise Rejected(f"the gateway refuses the handshake: HTTP {status}") from None
            return f"HTTP {status}"
        except ConnectionClosed as error:
            code, text = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")
            if 4500 <= code < 5000:
                kind = Disconnected if code == _DISCONNECTED else Rejected
                raise kind(f"the gateway closed with {code}: {text}") from None
            return f"closed with {code} {text}".strip()
        except (OSError, TimeoutError, WebSocketException) as error:
            return str(error) or type(error).__name__

    async def _compare(self, held: set[str]) -> None:
        """What we think that we hold with what the gateway says."""
        for task in self._running - held:
            self._lost(task, "lost")
        accepting, self._accepting = self._accepting, {}
        for offer in accepting.values():  # the reply to our accept was lost, not the answer
            self._confirmed(offer, offer["task"] in held)
        for task in held - self._running - self._outcomes.keys():
            self._kept(task, "release", {})  # nobody here works on it
        for frame in list(self._outcomes.values()):
            await self._send(frame)

    async def _received(self, frame: Frame) -> None:
        match frame.get("type"):
            case "ping":
                await self._send({"type": "pong"})
            case "task":
                await self._offered(frame)
            case "task.cancel":
                self._lost(str(frame["task"]), str(frame.get("reason", "cancelled")))
            case "reply":
                self._replied(frame)
            case "closing":
                wait = float(frame.get("reconnect_after", 0.0))
                self._return_at = asyncio.get_running_loop().time() + wait
            case _:
                pass  # unknown types are for newer workers

    async def _offered(self, offer: Frame) -> None:
        taken = self._hands.takes(offer)
        if taken:
            self._accepting[offer["offer"]] = offer
        await self._send(
            {
                "type": "accept" if taken else "reject",
                "ref": offer["offer"],
                "task": offer["task"],
                "offer": offer["offer"],
            }
        )

    def _replied(self, frame: Frame) -> None:
        ref, ok = str(frame.get("ref")), bool(frame.get("ok"))
        code = (frame.get("error") or {}).get("code")
        task = ref.partition(":")[2]
        if (offer := self._accepting.pop(ref, None)) is not None:
            self._confirmed(offer, ok)
        elif code == "unavailable" and task in self._outcomes:
            asyncio.get_running_loop().call_later(RETRY_REPLY, self._repeat, task)
        elif ref.startswith(_PROGRESS):
            if code == "task_lost":
                self._lost(task, "lost")
        elif task in self._outcomes:
            if not ok:
                log.info("%s: its end was not taken (%s)", task, code)
            self._settled(task)

    def _kept(self, task: str, outcome: str, members: Frame) -> Frame:
        """The frame that says so, until it is confirmed."""
        frame = {"type": outcome, "ref": f"ended:{task}", "task": task, **members}
        self._outcomes[task] = frame
        self.idle.clear()
        return frame

    def _confirmed(self, offer: Frame, ours: bool) -> None:
        if ours:
            self._running.add(offer["task"])
            self._hands.start(offer)
        else:
            self._hands.dropped(offer)

    def _lost(self, task: str, reason: str) -> None:
        self._running.discard(task)
        self._hands.stop_task(task, reason)

    def _settled(self, task: str) -> None:
        self._outcomes.pop(task, None)
        if not self._outcomes:
            self.idle.set()

    def _repeat(self, task: str) -> None:
        frame = self._outcomes.get(task)
        if frame is not None and self._socket is not None:
            self._later = asyncio.ensure_future(self._send(frame))

    async def _send(self, frame: Frame) -> None:
        """Now or not at all: after a return, `_compare` says what must be said again."""
        if self._socket is not None:
            with suppress(ConnectionClosed):  # the reader sees it too, and `run` starts anew
                await self._socket.send(json.dumps(frame))
