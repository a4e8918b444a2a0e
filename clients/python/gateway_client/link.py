"""A worker's one socket to the gateway: its tasks, through whatever happens to the line.

When the line breaks, the tasks go on: the link comes back with a growing, random pause, as the same
worker, and says again what got no reply. The gateway's welcome names the tasks that this worker
still holds; what is not among them is somebody else's now.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from msgspec import Raw
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from gateway_client.errors import Rejected
from gateway_client.frames import LATER, Backoff, Frame, decode, encode, may_return
from gateway_client.notes import AGAIN, Notes

log = logging.getLogger("gateway_client.worker")

WELCOME_TIMEOUT = 10.0
MAX_FRAME = 16 * 2**20
"""Bytes of a frame from the gateway."""
REPORT_EVERY = 0.1
"""Seconds between two rounds of progress: of each task the newest is sent."""
MAX_ANSWERS = 4_096
"""Answers to the gateway that wait for the line; one more replaces the oldest."""
MAX_REASON = 1_000
"""Characters of the reason of `failed` and `release`."""
_REFUSING = (401, 403, 404)


class Hands(Protocol):
    """Who does the work. Called on the link's event loop; none of these may block."""

    def takes(self, offer: Frame) -> bool:
        """Whether to accept; from then on the place is taken until `start` or `dropped`."""

    def start(self, offer: Frame) -> None:
        """The task is ours."""

    def dropped(self, offer: Frame) -> None:
        """It went to another."""

    def lost(self, task: str, reason: str) -> None:
        """The task is not ours any more; it may be unknown, or over already."""


@dataclass
class _End:
    """How a task ended, until the gateway has confirmed it."""

    type: str
    text: str
    due: bool = True


class Link:
    """Call `run` in a task. Belongs to one event loop.

    `asked`: the parameters of the handshake (docs/reference/protocol.md section 4).
    """

    def __init__(self, url: str, key: str, asked: dict[str, Any], *, hands: Hands, buffer: int):
        path = "" if urlsplit(url).path.strip("/") else "/ws/worker/"
        self._url = f"{url.rstrip('/')}{path}?{urlencode(asked)}"
        self._key = key
        self._hands = hands
        self._due = asyncio.Event()
        self._now: deque[str] = deque()  # of this connection: pong, accept, reject
        self._accepting: dict[str, Frame] = {}  # by offer: accepted by us, not confirmed
        self._running: set[str] = set()
        self._ends: dict[str, _End] = {}  # by task
        self._progress: dict[str, str] = {}  # by task, the newest
        self._return_at: float | None = None  # by the loop's clock, as `closing` announced
        self.notes = Notes(buffer, self._due.set)
        self._quiet = True  # whether a progress without data is told to nobody
        self.node = ""
        """The gateway's process at the other end; "" while there is none."""
        self.answers_dropped = 0
        """Answers that the gateway did not get, because too many waited for the line."""

    @property
    def idle(self) -> bool:
        """Whether the gateway has confirmed all that it was told."""
        return not self._ends and not self.notes

    # --- what the hands say

    def progress(self, task: str, data: Any = None, known: bytes = b"") -> None:
        """Tell how far a task is: Raw JSON, or None for a mere sign of life.

        The newest replaces what waits; it is not kept over a broken line. `known`: the JSON that
        was told last, for a gateway that tells the user of every sign of life; `{}` where nothing
        was.
        """
        if task in self._running and self.node:
            if data is not None or task not in self._progress:
                told = self._sign(known) if data is None else {"data": data}
                self._progress[task] = encode("progress", ref=f"p:{task}", task=task, **told)
            self._due.set()

    def _sign(self, known: bytes = b"") -> dict[str, Any]:
        """Return the data of a sign of life: none, but for a gateway that would tell it as null."""
        return {} if self._quiet else {"data": Raw(known or b"{}")}

    def ended(self, task: str, type: str, **members: Any) -> None:
        """Tell how a task ended: `done`, `failed` or `release`, until that is confirmed."""
        if task in self._running:
            self._running.discard(task)
            self._progress.pop(task, None)
            self._keep(task, type, members)

    def _keep(self, task: str, type: str, members: dict[str, Any]) -> None:
        if "error" in members:
            members["error"] = members["error"][:MAX_REASON]
        self._ends[task] = _End(type, encode(type, ref=f"e:{task}", task=task, **members))
        self._due.set()

    # --- the line

    async def run(self) -> None:
        """Stay connected until cancelled. Raises Rejected."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            began = loop.time()
            try:
                reason = await self._connected()
            finally:
                self._away()
            pause = backoff.pause(loop.time() - began)
            planned, self._return_at = self._return_at, None
            if planned is not None:
                pause = max(0.0, planned - loop.time())
            log.info("gateway away (%s): again in %.1f s", reason, pause)
            await asyncio.sleep(pause)

    def _away(self) -> None:
        self.node = ""
        self._now.clear()
        self._progress.clear()
        self.notes.disconnected()

    async def _connected(self) -> str:
        """One connection, from the handshake to its end; returns why it ended. Raises Rejected."""
        try:
            async with self._connect() as socket:
                with suppress(ConnectionClosed):
                    await self._talk(socket)
                code, text = socket.close_code or 1006, socket.close_reason or ""
        except InvalidStatus as error:
            status = error.response.status_code
            if status in _REFUSING:
                text = f"the gateway refuses the handshake: HTTP {status}; check the URL"
                raise Rejected(text, status) from None
            return f"HTTP {status}"
        except (OSError, asyncio.TimeoutError, WebSocketException) as error:
            return str(error) or type(error).__name__
        if not may_return(code):
            raise Rejected(f"the gateway closed with {code}: {text}", code)
        return f"closed with {code} {text}".strip()

    def _connect(self) -> connect:
        return connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {self._key}"},
            subprotocols=[Subprotocol("gateway.v1")],
            compression=None,
            proxy=None,
            open_timeout=WELCOME_TIMEOUT,
            close_timeout=2,
            max_size=MAX_FRAME,
        )

    async def _talk(self, socket: ClientConnection) -> None:
        welcome = decode(await asyncio.wait_for(socket.recv(), WELCOME_TIMEOUT))
        if welcome is None or welcome.type != "welcome":
            raise WebSocketException("what came first is no welcome: is this the worker socket?")
        self._welcomed(welcome)
        writer = asyncio.create_task(self._write(socket))
        try:
            async for text in socket:
                if (frame := decode(text)) is not None:
                    self._received(frame)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, socket: ClientConnection) -> None:
        """Send what is due, as it becomes due; the reader notices when the line is gone."""
        loop = asyncio.get_running_loop()
        reported = 0.0
        while True:
            await self._due.wait()
            self._due.clear()
            for text in self._texts():
                await socket.send(text)
            if self._progress and (wait := reported + REPORT_EVERY - loop.time()) > 0:
                loop.call_later(wait, self._due.set)
                continue
            reported = loop.time()
            while self._progress:
                await socket.send(self._progress.pop(next(iter(self._progress))))

    def _texts(self) -> Iterator[str]:
        while self._now:
            yield self._now.popleft()
        for end in list(self._ends.values()):
            if end.due:
                end.due = False
                yield end.text
        yield from self.notes.due()

    # --- what the gateway says

    def _welcomed(self, welcome: Frame) -> None:
        """Compare what we think that we hold with what the gateway says; say again the rest."""
        self.node, self._quiet = welcome.node or "?", welcome.quiet
        log.info("connected to node %s", self.node)
        held = set(welcome.tasks)
        for task in self._running - held:
            self._lost(task, "lost")
        accepting, self._accepting = self._accepting, {}
        for offer in accepting.values():  # the reply to our accept was lost, not the answer
            self._confirmed(offer, offer.task in held)
        for task in held - self._running - self._ends.keys():
            self._keep(task, "release", {})
        for end in self._ends.values():
            end.due = True
        self.notes.returned(welcome.limits.message if welcome.limits else None)
        self._due.set()

    def _received(self, frame: Frame) -> None:
        match frame.type:
            case "ping":
                self._say("pong")
            case "task":
                self._offered(frame)
            case "task.cancel":
                self._lost(frame.task, frame.reason or "cancelled")
            case "reply":
                self._replied(frame)
            case "closing":
                now = asyncio.get_running_loop().time()
                self._return_at = now + frame.reconnect_after

    def _say(self, type: str, **members: Any) -> None:
        if len(self._now) == MAX_ANSWERS:
            self._now.popleft()
            self.answers_dropped += 1
            if self.answers_dropped == 1:
                log.warning(
                    "the gateway reads too slowly: of %d answers that wait the oldest is dropped; "
                    "later ones are counted in Worker.answers_dropped only",
                    MAX_ANSWERS,
                )
        self._now.append(encode(type, **members))
        self._due.set()

    def _offered(self, offer: Frame) -> None:
        taken = self._hands.takes(offer)
        if taken:
            self._accepting[offer.offer] = offer
        answer = "accept" if taken else "reject"
        self._say(answer, ref=f"a:{offer.offer}", task=offer.task, offer=offer.offer)

    def _replied(self, frame: Frame) -> None:
        kind, _, name = str(frame.ref).partition(":")
        later = frame.refusal in LATER
        if kind == "a" and name in self._accepting:
            if later:
                self._later(self._ask_after, name)
            else:
                self._confirmed(self._accepting.pop(name), frame.ok)
        elif kind == "p" and frame.refusal == "task_lost":
            self._lost(name, "lost")
        elif kind == "e" and name in self._ends:
            if later:
                self._later(self._again, name)
            else:
                self._end_replied(name, frame)
        elif kind == "n":
            self.notes.replied(frame)

    def _end_replied(self, task: str, frame: Frame) -> None:
        end = self._ends.pop(task)
        if frame.ok:
            return
        log.warning("%s: its end was not taken (%s)", task, frame.refusal)
        if end.type == "done" and frame.refusal != "task_lost":  # the task goes on
            text = frame.error.message if frame.error else ""
            self._keep(task, "failed", {"error": f"the result cannot be sent: {text}"})

    def _confirmed(self, offer: Frame, ours: bool) -> None:
        if ours and offer.task not in self._running:  # else it was offered twice, and is begun
            self._running.add(offer.task)
            self._hands.start(offer)
        else:
            self._hands.dropped(offer)

    def _lost(self, task: str, reason: str) -> None:
        self._running.discard(task)
        self._progress.pop(task, None)
        self._hands.lost(task, reason)

    def _later(self, act: Any, name: str) -> None:
        asyncio.get_running_loop().call_later(AGAIN, act, name)

    def _ask_after(self, offer: str) -> None:
        """Nobody knows whether the accept was taken: a sign of life is ok for the holder alone."""
        if (frame := self._accepting.get(offer)) is not None and self.node:
            self._say("progress", ref=f"a:{offer}", task=frame.task, **self._sign())

    def _again(self, task: str) -> None:
        if (end := self._ends.get(task)) is not None:
            end.due = True
            self._due.set()
