"""A socket like `GatewayWebSocket`, round any parser of frames.

Both halves are the gateway's own: what is read is parsed in slices and not read while the
application is behind (`Inbound`), what is written is bounded and a peer that does not read is found
(`Outbound`). What a prototype leaves out: other refusals than 403, our own pings, the short cut for
pongs, UTF-8 that fails before its message is whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from math import inf
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

from autobahn.websocket.protocol import WebSocketProtocol as Autobahn

from bench.websocket_cores.handshake import Fields
from sockets.auth.handshake import SUBPROTOCOL
from sockets.base.timetable import NOT_LISTED
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.protocol.outbox import cut_reason
from sockets.server.inbound import Inbound
from sockets.server.outbound import Outbound
from sockets.server.target import date_now
from sockets.types import Surface

# The numbers that both halves ask for.
OPEN, CONNECTING, CLOSED = Autobahn.STATE_OPEN, Autobahn.STATE_CONNECTING, Autobahn.STATE_CLOSED
CLOSING = Autobahn.STATE_CLOSING

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

PROTOCOL_ERROR, NO_UTF8, TOO_BIG = 1002, 1007, 1009

_REFUSED = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return a ping, a pong or a close frame; `payload`: at most 125 bytes."""
    return bytes((0x80 | opcode, len(payload))) + payload


class CoreSocket:
    """One WebSocket. A subclass takes bytes apart, and knows how a closing handshake goes."""

    __slots__ = (
        "__weakref__",
        "_closed_since",
        "_early",
        "_parts",
        "_parts_are_binary",
        "_parts_size",
        "inbound",
        "key",
        "outbound",
        "outbox",
        "peer_code",
        "pinged_by_us",
        "queue",
        "server",
        "slot",
        "state",
        "transport",
    )

    conf: Conf  # set on the subclass that a server makes
    send_queue = ()  # what autobahn alone has, and `Outbound` asks for
    application_type = "websocket"

    def __init__(self, server: Any, transport: Any, key: bytes) -> None:
        self.server = server
        self.transport = transport
        self.key = key
        self.state: int = CONNECTING
        self.inbound = Inbound(self)
        self.outbound = Outbound(self)
        self.outbox = self.outbound.outbox
        self.slot = NOT_LISTED
        self.queue: asyncio.Queue[dict[str, Any]] | None = None
        self.pinged_by_us = False
        self.peer_code: int | None = None
        self._closed_since = 0.0  # monotonic
        self._early = b""  # what came before we have accepted
        self._parts: list[bytes] | None = None  # of a message in fragments
        self._parts_are_binary = False
        self._parts_size = 0

    # --- what a core does

    def open(self, fields: Fields) -> None:
        """Write the response that accepts, and be ready for frames."""
        raise NotImplementedError

    def parse(self, data: bytes) -> None:
        """Take bytes apart; each frame goes to `take`."""
        raise NotImplementedError

    def send(self, payload: bytes, *, is_binary: bool) -> None:
        """Write a message."""
        raise NotImplementedError

    def say_close(self, code: int, reason: str) -> None:
        """Write our close frame, of which the core must know."""
        raise NotImplementedError

    def fail(self, code: int, reason: str) -> None:
        """Write a close frame with what is wrong, and end."""
        raise NotImplementedError

    # --- handshake

    def begin(self, scope: dict[str, Any]) -> None:
        """Ask the application."""
        self.server.protocol_connected(self)
        self.queue = self.server.create_application(self, scope)
        assert self.queue is not None
        self.queue.put_nowait({"type": "websocket.connect"})

    def _accept(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None:
        transport = self.transport
        if not transport.connected:
            return
        transport.unregisterProducer()
        transport.bufferSize = self.conf.outbox_limit
        transport.registerProducer(self, True)
        transport.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, self.conf.send_buffer)
        fields = [("Date", date_now())]
        fields += [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        if subprotocol is not None:
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        self.pinged_by_us = subprotocol == SUBPROTOCOL
        self.state = OPEN
        self.open(fields)
        self.server.watch(self)
        early, self._early = self._early, b""
        if early:
            self.inbound.receive(early)

    # --- inbound

    def dataReceived(self, data: bytes) -> None:
        if self.state == CONNECTING:
            self._early += data
            if len(self._early) > self.conf.header_size:
                self.abort()
        else:
            self.inbound.receive(data)

    def take(self, opcode: int, payload: bytes, fin: bool) -> None:
        """Take one frame of a message, or a ping; frames that come while we close are dropped."""
        if self.state != OPEN:
            return
        if opcode == PING:
            self._answer(payload)
        elif opcode == PONG:
            self.inbound.is_flood()
        elif (opcode == CONTINUATION) is (self._parts is None):
            self.fail(PROTOCOL_ERROR, "a fragment that is out of place")
        elif fin and self._parts is None:
            self._deliver(payload, opcode == BINARY)
        else:
            self._take_part(opcode, payload, fin)

    def _take_part(self, opcode: int, payload: bytes, fin: bool) -> None:
        if self._parts is None:
            self._parts, self._parts_size, self._parts_are_binary = [], 0, opcode == BINARY
        if payload:  # empty ones count for no limit of size
            self._parts.append(payload)
        self._parts_size += len(payload)
        if self._parts_size > self.conf.max_frame_size:
            self.fail(TOO_BIG, "the message is too big")
        elif fin:
            whole, self._parts = b"".join(self._parts), None
            self._deliver(whole, self._parts_are_binary)

    def _deliver(self, payload: bytes, is_binary: bool) -> None:
        assert self.queue is not None
        if is_binary:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": payload})
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self.fail(NO_UTF8, "the text is not UTF-8")
        else:
            self.queue.put_nowait({"type": "websocket.receive", "text": text})

    def _answer(self, ping: bytes) -> None:
        if self.inbound.is_flood():
            return
        if self.outbox.full:
            self.outbound.unanswered = ping
        else:
            self.outbound.write(control_frame(PONG, ping))

    def paused(self) -> None:
        """From the inbound half: it is not read any more."""
        self.server.watch(self)

    def surface(self) -> Surface:
        """The surface that the peer came by."""
        surface: Surface = self.server.surface_of(self.transport)
        return surface

    # --- outbound

    def pauseProducing(self) -> None:
        self.outbound.pause()

    def resumeProducing(self) -> None:
        ping = self.outbound.resume()
        if ping is not None and self.state == OPEN:
            self.outbound.write(control_frame(PONG, ping))

    def stopProducing(self) -> None:
        self.resumeProducing()

    async def drain(self) -> None:
        """Wait until there is space again; see `Outbound.drain`."""
        await self.outbound.drain()

    # --- closing

    def close_with(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake."""
        if self.state == OPEN:
            self.inbound.resume()
            self.say_close(int(code), cut_reason(reason))
            self.closes(CLOSING)

    def closes(self, state: int) -> None:
        """Take note of an end. CLOSED: all is said, and the peer should close the connection."""
        if self.state == OPEN:
            self._closed_since = time.monotonic()
        self.state = state
        if state == CLOSED:
            # Not closed: what the peer has sent and nobody has read would turn it into a reset.
            self.transport.loseWriteConnection()
            self.inbound.go_on()
        self.server.watch(self)

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport.connected:
            self.transport.abortConnection()

    def connectionLost(self, _: Any = None) -> None:
        self.state = CLOSED
        self.inbound.resume()
        self.resumeProducing()
        if self.queue is not None:
            code = 1006 if self.peer_code is None else self.peer_code
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
            self.server.protocol_disconnected(self)

    # --- the server's side

    def handle_reply(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message.get("subprotocol"), message.get("headers", ()))
        elif kind == "websocket.close" and self.state == CONNECTING:
            self.transport.write(_REFUSED)
            self.transport.loseConnection()
        elif kind == "websocket.close":
            self.close_with(message.get("code") or 1000, message.get("reason") or "")
        elif kind == "websocket.send" and self.state == OPEN:
            text: str | None = message.get("text")
            self.send(message["bytes"] if text is None else text.encode(), is_binary=text is None)

    def handle_exception(self, _: Exception) -> None:
        self.close_with(1011)

    def due(self, now: float) -> float:
        """Return when `check_timeouts` may have something to do; `now`: monotonic seconds."""
        if self.state != OPEN:
            return now
        since = self.inbound.paused_since
        return inf if since is None else since + self.conf.slow_timeout

    def check_timeouts(self) -> None:
        """Close what takes too long."""
        now = time.monotonic()
        if self.state in (CLOSING, CLOSED) and self.transport.connected:
            if now - self._closed_since > self.conf.close_timeout:
                self.abort()
        elif self.inbound.paused_for(now) > self.conf.slow_timeout:
            self.close_with(CloseCode.TRY_AGAIN_LATER, "the server is behind with your frames")
