"""One WebSocket on daphne: bounded in both directions, any close code, never stuck.

What stock daphne does instead is in docs/why-our-own-server.md section 3. Each override names the
one it turns.
The buffer gauge reads Twisted's private buffers and assumes plain TCP: TLS ends at the proxy.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from autobahn.websocket.protocol import WebSocketProtocol as Autobahn
from autobahn.websocket.types import ConnectionDeny
from daphne.ws_protocol import WebSocketProtocol

from sockets.base import metrics
from sockets.base.rate import Bucket
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write, cut_reason
from sockets.server.target import date_now, phrase_of
from sockets.types import Kind, Surface

logger = logging.getLogger(__name__)

_OPEN, _CONNECTING, _CLOSED = Autobahn.STATE_OPEN, Autobahn.STATE_CONNECTING, Autobahn.STATE_CLOSED
_CLOSING = Autobahn.STATE_CLOSING

MAX_REASON = 100
"""Characters of the phrase with which a handshake is refused."""

SLICE = 4_096
"""Bytes of one socket that are parsed in one turn of the loop."""

MAX_AFTER_CLOSE = 32 * 1024
"""Bytes read behind our close frame, for the peer's: a flood costs as much to parse as ever."""


class InboundQueue(asyncio.Queue[dict[str, Any]]):
    """What the application has not received yet; the socket is not read while it is long.

    A cap that closes would cut honest bursts. A slice of what was read is parsed whole, so the
    queue may exceed `high` by the frames of SLICE bytes.
    """

    def __init__(self, protocol: GatewayWebSocket, high: int, low: int) -> None:
        super().__init__()
        self._protocol = protocol
        self._high = high
        self._low = low

    def put_nowait(self, item: dict[str, Any]) -> None:
        super().put_nowait(item)
        if self.qsize() >= self._high:
            self._protocol.pause_reading()

    async def get(self) -> dict[str, Any]:
        item = await super().get()
        if self.qsize() <= self._low:
            self._protocol.resume_reading()
        return item


class GatewayWebSocket(WebSocketProtocol):
    """daphne's protocol object for one socket; its `outbox` goes into the ASGI scope."""

    conf: Conf  # set on the subclass that a server makes
    transport: Any
    application_queue: InboundQueue

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outbox = FrameOutbox(self)
        self.written = 0  # bytes handed to the transport since the handshake
        self._paused_since: float | None = None
        self._closed_since: float | None = None
        self._writable: asyncio.Future[None] | None = None
        self._refusal: tuple[int, Any] = (0, ())
        self._refusal_body = b""
        self._unparsed = bytearray()  # read, and for the next turns
        self._slicing = False  # the next turn is ordered
        self._after_close = 0  # bytes that came behind our close frame
        self._deaf = False  # ... and there were too many
        self._pings: Bucket | None = None
        self._unanswered: bytes | None = None  # the newest ping, while the outbox is full

    # --- handshake

    def onConnect(self, request: Any) -> Any:
        # Believed from any client in stock daphne.
        request.headers.pop("daphne-root-path", None)
        # daphne unquotes it, and raises where it is not ASCII; `request.protocols` is the list.
        request.headers.pop("sec-websocket-protocol", None)
        return super().onConnect(request)

    def onOpen(self) -> None:
        # The HTTP channel is still the transport's producer, so nobody hears of a full buffer.
        self.transport.unregisterProducer()
        self.transport.bufferSize = self.conf.outbox_limit
        self.transport.registerProducer(self, True)
        # The kernel hides megabytes of what a stalled reader has not read.
        self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.conf.send_buffer)
        super().onOpen()

    def serverAccept(self, subprotocol: str | None = None, headers: Any = ()) -> None:
        """Accept, with the headers that stock daphne drops."""
        named: dict[str, list[str]] = {"Date": [date_now()]}
        for name, value in headers:
            named.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        self.handshake_deferred.callback((subprotocol, named))
        del self.handshake_deferred

    def _refuse_handshake(self) -> None:
        """The ASGI extension: a status, and a body for whoever shows it, instead of a handshake."""
        status, _ = self._refusal
        deny = ConnectionDeny(code=status, reason=phrase_of(status))
        self.handshake_deferred.errback(deny)
        del self.handshake_deferred
        self.server.protocol_disconnected(self)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        # autobahn quotes what it could not parse, however long.
        reason = "".join(filter(str.isprintable, reason))[:MAX_REASON]
        status, headers = self._refusal
        if code == status:
            responseHeaders = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers]
            responseHeaders.append(("Content-Length", str(len(self._refusal_body))))
        dated = [*(responseHeaders or ()), ("Date", date_now())]
        super().failHandshake(reason, code, dated)

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        super().sendHttpErrorResponse(code, reason, responseHeaders)
        if code == self._refusal[0] and self._refusal_body:
            self.sendData(self._refusal_body)

    # --- outbound

    @property
    def buffered(self) -> int:
        """Bytes that wait in the transport."""
        transport = self.transport
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return waiting

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self.written += len(data)
        if sync or chopsize or self.send_queue:
            super().sendData(data, sync, chopsize)
        else:
            # autobahn would make two coloured strings for a debug line that nobody reads.
            self.transport.write(data)

    def write_frame(self, data: bytes) -> None:
        """Write a ready frame behind what is queued; straight to the socket when nothing is.

        Half the cost of a transport write: no writer is added to and removed from the loop.
        Order holds because everything else leaves through the same buffers.
        """
        self.written += len(data)
        transport = self.transport
        if self.send_queue:  # autobahn is sending a message in fragments
            self.send_queue.append((data, False))
            return
        if not (transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting):
            try:
                sent = transport.socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                sent = 0  # the transport's own write finds the error, and reports it
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    def pauseProducing(self) -> None:
        """The transport's buffer is above the limit."""
        self.outbox.full = True
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty, or the transport is gone."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        self.outbox.drained()
        ping, self._unanswered = self._unanswered, None
        if ping is not None:
            super().onPing(ping)

    def stopProducing(self) -> None:
        self.resumeProducing()

    async def drain(self) -> None:
        """Wait until the buffer is empty: back-pressure for applications that use ASGI `send`.

        A socket that drains nothing for SLOW_TIMEOUT is closed 4002, which ends the wait.
        """
        seen = self.written - self.buffered
        while (writable := self._writable) is not None and self.state == _OPEN:
            await asyncio.wait({writable}, timeout=self.conf.slow_timeout)
            drained = self.written - self.buffered
            if self._writable is writable and drained == seen:
                metrics.SLOW_CONSUMERS.inc()
                self.close_with(CloseCode.SLOW_CONSUMER, "slow consumer: read faster")
            seen = drained

    # --- inbound

    def dataReceived(self, data: bytes) -> None:
        if self.state == _CONNECTING or (len(data) <= SLICE and not self._unparsed):
            self._parse(data)
            return
        self._unparsed += data
        self.transport.pauseProducing()
        self._next_slice()

    def _next_slice(self) -> None:
        """64 KiB may be two thousand frames: parsed at once they would stop everybody else, and
        overfill the queue. One slice a turn, until the application wants no more."""
        self._slicing = False
        if self._paused_since is None:
            piece = bytes(self._unparsed[:SLICE])
            del self._unparsed[:SLICE]
            self._parse(piece)
            self._go_on()

    def _go_on(self) -> None:
        """Parse what is left, else read the socket; unless nobody wants more now."""
        transport = self.transport
        if self._paused_since is not None or self._slicing or self._deaf:
            return
        if transport is None or not transport.connected:
            self._unparsed.clear()
        elif self._unparsed:
            self._slicing = True
            asyncio.get_running_loop().call_soon(self._next_slice)
        else:
            transport.resumeProducing()

    def _parse(self, data: bytes) -> None:
        if self.state in (_CLOSING, _CLOSED):
            self._after_close += len(data)
            if self._after_close > MAX_AFTER_CLOSE:
                # Whoever goes on sending is not read: it has until CLOSE_TIMEOUT to read us.
                self._deaf = True
                self._unparsed.clear()
                self.transport.pauseProducing()
                return
            if self.state == _CLOSED:
                return
        self._dataReceived(data)  # autobahn's own, without the coloured strings of a debug line

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        # Frames that come while we close are not processed (RFC 6455 section 1.4).
        if self.state == _OPEN:
            super().onMessage(payload, isBinary)

    def onMessageFrame(self, payload: Any) -> None:
        # A list of parts. Empty ones count for no limit of size, and autobahn keeps each.
        parts: Any = [part for part in payload if part]
        super().onMessageFrame(parts)

    def onPing(self, payload: bytes) -> None:
        """Pongs pass no queue of ours: who pings and does not read gets one for the newest ping
        (RFC 6455 section 5.5.3), when there is room; stock autobahn stores them all."""
        if self._is_flood():
            return
        if self.outbox.full:
            self._unanswered = payload
        else:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        if not self._is_flood():
            super().onPong(payload)

    def _is_flood(self) -> bool:
        """Pings and pongs pass no queue and no session: they have the rate of a session's frames,
        and nobody is told twice."""
        kind, rate, burst = self._control_rate
        if not rate:
            return False
        now = time.monotonic()
        if self._pings is None:
            self._pings = Bucket(now, rate=rate, burst=burst)
        if self._pings.take(now):
            return False
        metrics.rate_limited[kind].inc()
        self.close_with(CloseCode.RATE_LIMIT, "too many pings")
        return True

    @property
    def _control_rate(self) -> tuple[Kind, float, int]:
        conf = self.conf
        if self.server.surface_of(self.transport) is Surface.PUBLIC:
            return Kind.CLIENT, conf.client_rate, conf.client_burst
        return Kind.WORKER, conf.worker_rate, conf.worker_burst

    def pause_reading(self) -> None:
        """Stop reading the socket."""
        if self._paused_since is None and self.state == _OPEN:
            self._paused_since = time.monotonic()
            metrics.PAUSED.inc()
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read it again."""
        if self._paused_since is not None:
            self._paused_since = None
            metrics.PAUSED.dec()
            self._go_on()

    # --- closing

    def close_with(self, code: int, reason: str = "") -> None:
        """Close with any code; stock daphne raises for those that RFC 6455 reserves to servers."""
        if self.state == _OPEN:
            self.resume_reading()  # or the peer's half of the closing handshake is never seen
            self.sendCloseFrame(code=int(code), reasonUtf8=cut_reason(reason).encode() or None)

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        """The first violation closes. At the second one autobahn would drop the connection: with
        data unread that is a reset, which takes our close frame away from the peer."""
        if self.state != _CLOSING:
            super()._fail_connection(code, reason)

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> Any:
        done = super().onCloseFrame(code, reasonRaw)
        if self.failedByMe:
            # autobahn takes a malformed Close for one of 1000; what ended it is our own code.
            self.remoteCloseCode, self.remoteCloseReason = self.localCloseCode, None
        return done

    def dropConnection(self, abort: bool = False) -> None:
        # autobahn resets a peer whose Close comes after ours; what we have written may still be
        # on its way then, and always is where that Close itself is the violation we answer.
        super().dropConnection(abort and not self.wasClean)

    def _closeConnection(self, abort: bool = False) -> None:
        if not abort and self.failedByMe and self.transport is not None:
            # Who breaks the protocol may send on, and unread data would turn the end into a reset.
            self.transport.loseWriteConnection()
            self._go_on()
        else:
            super()._closeConnection(abort)

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None and self.transport.connected:
            self.transport.abortConnection()

    def onAutoPingTimeout(self) -> None:
        self.autoPingTimeoutCall = None
        self.close_with(CloseCode.NO_PONG, "no pong")

    def handle_reply(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "websocket.accept":
            self.serverAccept(message.get("subprotocol"), message.get("headers", ()))
        elif kind == "websocket.http.response.start":
            self._refusal = message["status"], message.get("headers", ())
        elif kind == "websocket.http.response.body":
            self._refusal_body += message.get("body", b"")
            if not message.get("more_body", False):
                self._refuse_handshake()
        elif kind == "websocket.close" and self.state != _CONNECTING:
            self.close_with(message.get("code") or 1000, message.get("reason") or "")
        elif kind == "websocket.send" and self.state != _CONNECTING:
            if self.state == _OPEN:  # sending after close is a no-op (ASGI), not an error
                text, data = message.get("text"), message.get("bytes")
                if (text is None) == (data is None):
                    raise ValueError("websocket.send needs either text or bytes")
                self.serverSend(data if text is None else text, text is None)
        else:
            super().handle_reply(message)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.resume_reading()
        self.resumeProducing()
        super().onClose(wasClean, code, reason)

    def connectionLost(self, *args: Any) -> None:
        super().connectionLost(*args)
        self.resume_reading()
        self.resumeProducing()

    def check_timeouts(self) -> None:
        """Called every two seconds."""
        now = time.monotonic()
        if self.state == _CLOSED and self.transport.connected:
            # A peer that said CLOSE and does not read: stock daphne waits for it for ever.
            if self._closed_since is None:
                self._closed_since = now
            elif now - self._closed_since > self.conf.close_timeout:
                self.abort()
        elif self._paused_since is not None and now - self._paused_since > self.conf.slow_timeout:
            self.close_with(CloseCode.TRY_AGAIN_LATER, "the server is behind with your frames")
        super().check_timeouts()


class FrameOutbox:
    """The outbox of frames on a daphne socket: ready ones, no ASGI message, no task.

    Bounded by what makes the transport pause: `outbox_limit` bytes and one frame.
    """

    __slots__ = ("_protocol", "_told", "full", "on_drain")

    def __init__(self, protocol: GatewayWebSocket) -> None:
        self._protocol = protocol
        self.full = False
        self._told = False
        self.on_drain: Callable[[], None] | None = None

    # Middleware copies scopes, and some code pickles them: a copy writes to the same socket, and
    # what is unpickled, maybe elsewhere, has none.

    def __copy__(self) -> FrameOutbox:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> FrameOutbox:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def write(self, frame: Frame) -> Write:
        protocol = self._protocol
        if protocol.state != _OPEN:
            return Write.CLOSED
        if self.full:
            self._told = True
            return Write.FULL
        protocol.write_frame(frame.wire)
        return Write.OK

    def drained(self) -> None:
        """From the protocol: there is room again, or the socket is gone."""
        self.full = False
        if self._told:
            self._told = False
            if self.on_drain is not None:
                self.on_drain()

    def close(self, code: int, reason: str) -> None:
        self._protocol.close_with(code, reason)

    def abort(self) -> None:
        self._protocol.abort()

    def flow(self) -> tuple[int, int]:
        waiting = self._protocol.buffered
        return waiting, self._protocol.written - waiting
