"""What a peer sends: the socket is read no faster than the application takes frames.

A socket is not read while its queue is long, what was read is parsed in slices, and pings have a
rate. `GatewayWebSocket` calls these methods where Twisted and autobahn call it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from autobahn.websocket.protocol import WebSocketProtocol as Autobahn

from sockets.base import metrics
from sockets.base.rate import Bucket
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.types import Kind, Surface

_OPEN, _CONNECTING, _CLOSED = Autobahn.STATE_OPEN, Autobahn.STATE_CONNECTING, Autobahn.STATE_CLOSED
_CLOSING = Autobahn.STATE_CLOSING

SLICE = 4_096
"""Bytes of one socket that are parsed in one turn of the loop."""

MAX_AFTER_CLOSE = 32 * 1024
"""Bytes read after our close frame, for the peer's: a flood costs as much to parse as ever."""


class Socket(Protocol):
    """What this half needs of its protocol object."""

    conf: Conf
    state: int
    transport: Any

    def parse(self, data: bytes) -> None:
        """Take bytes apart into frames."""

    def surface(self) -> Surface:
        """The surface that the peer came by."""

    def paused(self) -> None:
        """Take note that this half does not read any more."""

    def close_with(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""


class Inbound:
    """Reads one socket.

    Two things stop it for a while: the application has enough frames (`pause`), or a part of what
    was read is still to be parsed. A peer that floods us after our close frame is not read again.
    `paused_since`: monotonic; None: the application takes more.
    """

    __slots__ = (
        "_after_close",
        "_flooded",
        "_pings",
        "_slicing",
        "_socket",
        "_unparsed",
        "paused_since",
    )

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self.paused_since: float | None = None
        self._unparsed = bytearray()  # read, and for the next turns
        self._slicing = False  # the next turn is ordered
        self._after_close = 0  # bytes that came after our close frame
        self._flooded = False  # ... and there were too many
        self._pings: Bucket | None = None

    def receive(self, data: bytes) -> None:
        """Parse what has been read, a slice of it in this turn of the loop."""
        if self._socket.state == _CONNECTING or (len(data) <= SLICE and not self._unparsed):
            self._parse(data)
            return
        self._unparsed += data
        self._socket.transport.pauseProducing()
        self._next_slice()

    def _next_slice(self) -> None:
        """64 KiB may be two thousand frames: parsed at once they would stop everybody else, and
        overfill the queue. One slice a turn, until the application wants no more."""
        self._slicing = False
        if self.paused_since is None:
            piece = bytes(self._unparsed[:SLICE])
            del self._unparsed[:SLICE]
            self._parse(piece)
            self.go_on()

    def go_on(self) -> None:
        """Parse what is left, or else read the socket; unless nobody wants more now."""
        transport = self._socket.transport
        if self.paused_since is not None or self._slicing or self._flooded:
            return
        if transport is None or not transport.connected:
            self._unparsed.clear()
        elif self._unparsed:
            self._slicing = True
            asyncio.get_running_loop().call_soon(self._next_slice)
        else:
            transport.resumeProducing()

    def _parse(self, data: bytes) -> None:
        state = self._socket.state
        if state in (_CLOSING, _CLOSED):
            self._after_close += len(data)
            if self._after_close > MAX_AFTER_CLOSE:
                # Whoever goes on sending is not read: it has until CLOSE_TIMEOUT to read us.
                self._flooded = True
                self._unparsed.clear()
                self._socket.transport.pauseProducing()
                return
            if state == _CLOSED:
                return
        self._socket.parse(data)

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was read waits to be parsed, and the application takes more."""
        return not self._unparsed and self.paused_since is None

    def pause(self) -> None:
        """Stop reading the socket: the application has enough."""
        if self.paused_since is None and self._socket.state == _OPEN:
            self.paused_since = time.monotonic()
            metrics.PAUSED.inc()
            self._socket.transport.pauseProducing()
            self._socket.paused()

    def resume(self) -> None:
        """Read it again."""
        if self.paused_since is not None:
            self.paused_since = None
            metrics.PAUSED.dec()
            self.go_on()

    def let_go(self) -> None:
        """Refer to the socket no more: it is gone."""
        self._socket = _GONE

    def paused_for(self, now: float) -> float:
        """Seconds since `pause`; 0 while it is read. `now`: monotonic."""
        return 0.0 if self.paused_since is None else now - self.paused_since

    def is_flood(self) -> bool:
        """Count a ping or a pong; True closes the socket, and the frame is dropped.

        They pass no queue and no session, so they have the rate of a session's frames. Nobody is
        warned first.
        """
        kind, rate, burst = self._control_rate()
        if not rate:
            return False
        now = time.monotonic()
        if self._pings is None:
            self._pings = Bucket(now, rate=rate, burst=burst)
        if self._pings.take(now):
            return False
        metrics.rate_limited[kind].inc()
        self._socket.close_with(CloseCode.RATE_LIMIT, "too many pings")
        return True

    def _control_rate(self) -> tuple[Kind, float, int]:
        conf = self._socket.conf
        if self._socket.surface() is Surface.PUBLIC:
            return Kind.CLIENT, conf.client_rate, conf.client_burst
        return Kind.WORKER, conf.worker_rate, conf.worker_burst


class _Gone:
    """In the place of any socket that is gone."""

    conf: Conf
    state = _CLOSED
    transport = None

    def parse(self, data: bytes) -> None:
        """Nobody gets it."""

    def surface(self) -> Surface:
        """Return the one that may least."""
        return Surface.PUBLIC

    def paused(self) -> None:
        """There is nothing to read."""

    def close_with(self, code: int, reason: str) -> None:
        """It is closed."""


_GONE = _Gone()


class InboundQueue:
    """What the application has not received yet; the socket is not read while it is long.

    A cap that closes would cut honest bursts. A slice of what was read is parsed whole, so the
    queue may exceed `high` by the frames of SLICE bytes. One of asyncio's own would have four
    deques and an Event, which is more than all the rest of an idle socket's inbound half.
    """

    __slots__ = ("_high", "_inbound", "_items", "_low", "_waiting")

    def __init__(self, inbound: Inbound, high: int, low: int) -> None:
        self._inbound = inbound
        self._high = high
        self._low = low
        self._items: list[dict[str, Any]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def qsize(self) -> int:
        """Return how many have not been received yet."""
        return len(self._items)

    def put_nowait(self, item: dict[str, Any]) -> None:
        """Add one; whoever waits for it gets it in another turn of the loop."""
        self._items.append(item)
        self._wake_next()
        if len(self._items) >= self._high:
            self._inbound.pause()

    async def get(self) -> dict[str, Any]:
        """Take the oldest, and wait for one where there is none."""
        while not self._items:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                elif self._items:
                    self._wake_next()  # it was for us, and is another's now
                raise
        item = self._items.pop(0)
        if len(self._items) <= self._low:
            self._inbound.resume()
        return item

    def _wake_next(self) -> None:
        while self._waiting:
            waiter = self._waiting.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
