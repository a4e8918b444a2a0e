"""A worker's one socket to the gateway: notify users, through whatever happens to the line.

`post` takes a notification and keeps it until the gateway has said that it has it. When the line
breaks, the link comes back with a growing, jittered pause, and repeats what got no reply under the
same idempotency key: the gateway may have had it after all, and must not send it twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from ulid import ULID
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
STABLE = 5.0
"""Seconds that a connection must have lived to make the next pause short again."""
WELCOME_TIMEOUT = 10.0
RETRY_REPLY = 1.0
"""Seconds until a notification is repeated that the gateway could not take just now."""


class Rejected(Exception):
    """The gateway does not want this worker: coming back would not help."""


@dataclass(slots=True)
class _Notification:
    frame: dict[str, Any]
    sent: bool = False

    @property
    def key(self) -> str | None:
        """Notifications of one user with the same key replace each other."""
        collapse = self.frame.get("collapse_key")
        return None if collapse is None else f"{self.frame['user']}\0{collapse}"


class WorkerLink:
    """Call `run` in a task; then `post`. Belongs to one event loop."""

    def __init__(self, url: str, key: str, *, name: str, worker_id: str | None = None) -> None:
        self.worker_id = worker_id or str(ULID())
        path = "" if urlsplit(url).path.strip("/") else "/ws/worker/"
        query = urlencode({"worker_id": self.worker_id, "name": name})
        self._url = f"{url.rstrip('/') if path else url}{path}?{query}"
        self._key = key
        self._socket: ClientConnection | None = None
        self._waiting: dict[str, _Notification] = {}  # by ref, in the order of `post`
        self._reconnect_after: float | None = None
        self._wake = asyncio.Event()
        self.online = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()

    def post(self, user: str, event: str, data: Any, *, collapse_key: str | None = None) -> None:
        """Notify a user, durably. Returns at once; `idle` is set when nothing waits any more."""
        ref = str(ULID())
        frame: dict[str, Any] = {
            "type": "notify", "ref": ref, "user": user, "event": event, "data": data,
            "durable": True, "idempotency_key": ref,
        }  # fmt: skip
        if collapse_key is not None:
            frame["collapse_key"] = collapse_key
        new = _Notification(frame)
        if new.key is not None:  # what never left and is outdated never leaves
            for old, waiting in list(self._waiting.items()):
                if waiting.key == new.key and not waiting.sent:
                    del self._waiting[old]
        self._waiting[ref] = new
        self.idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Stay connected until cancelled. Raises Rejected."""
        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._connected()
                reason = "closed"
            except InvalidStatus as error:
                status = error.response.status_code
                if status in (401, 403, 404):
                    raise Rejected(f"the gateway refuses the handshake: HTTP {status}") from None
                reason = f"HTTP {status}"
            except ConnectionClosed as error:
                code, text = _close_code(error)
                if 4500 <= code < 5000:
                    raise Rejected(f"the gateway closed with {code}: {text}") from None
                reason = f"closed with {code} {text}".strip()
            except (OSError, TimeoutError, WebSocketException) as error:
                reason = str(error) or type(error).__name__
            finally:
                self.online.clear()
                self._socket = None
            if loop.time() - began > STABLE:
                pause = FIRST_PAUSE
            planned, self._reconnect_after = self._reconnect_after, None
            wait = planned if planned is not None else pause * random.uniform(0.5, 1.0)
            pause = min(LONGEST_PAUSE, pause * 2)
            log.info("gateway away (%s): again in %.1f s", reason, wait)
            await asyncio.sleep(wait)

    async def _connected(self) -> None:
        """One connection, from the handshake to its end; raises unless it was closed normally."""
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
                raise WebSocketException(f"{welcome.get('type')!r} came instead of a welcome")
            log.info("connected to node %s", welcome.get("node"))
            for waiting in self._waiting.values():
                waiting.sent = False
            self._socket = socket
            self.online.set()
            self._wake.set()
            sender = asyncio.create_task(self._send_waiting(socket))
            try:
                async for text in socket:
                    await self._received(socket, json.loads(text))
            finally:
                sender.cancel()

    async def _send_waiting(self, socket: ClientConnection) -> None:
        """Send what waits, in order, whenever there is something."""
        while True:
            self._wake.clear()
            for waiting in [w for w in self._waiting.values() if not w.sent]:
                waiting.sent = True
                try:
                    await socket.send(json.dumps(waiting.frame))
                except ConnectionClosed:
                    return  # the reader sees it too, and `run` starts anew
            await self._wake.wait()

    async def _received(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        match frame.get("type"):
            case "ping":
                await socket.send('{"type":"pong"}')
            case "reply":
                self._replied(frame)
            case "closing":
                self._reconnect_after = float(frame.get("reconnect_after", 0.0))
            case _:
                pass  # unknown types are for newer workers

    def _replied(self, frame: dict[str, Any]) -> None:
        ref = str(frame.get("ref"))
        waiting = self._waiting.get(ref)
        if waiting is None:
            return
        error = frame.get("error") or {}
        if not frame.get("ok") and error.get("code") == "unavailable":
            loop = asyncio.get_running_loop()
            loop.call_later(RETRY_REPLY, self._repeat, ref)
            return
        if not frame.get("ok"):  # our mistake: repeating it would not help
            log.error("%s was refused: %s", waiting.frame["event"], error.get("message"))
        del self._waiting[ref]
        if not self._waiting:
            self.idle.set()

    def _repeat(self, ref: str) -> None:
        if waiting := self._waiting.get(ref):
            waiting.sent = False
            self._wake.set()


def _close_code(error: ConnectionClosed) -> tuple[int, str]:
    return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")
