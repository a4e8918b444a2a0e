"""One WebSocket on daphne: bounded in both directions, any close code, never stuck.

What stock daphne does instead is in docs/why-our-own-server.md section 3. Each override names the
one it turns. What a peer sends goes through `inbound`, what is written to it through `outbound`;
here is what concerns both: the handshake, the messages of ASGI, and the end.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any
from urllib.parse import unquote

from autobahn.twisted import websocket as adapter
from autobahn.twisted.util import peer2str
from autobahn.websocket import protocol
from autobahn.websocket.protocol import WebSocketProtocol as Autobahn
from autobahn.websocket.types import ConnectionDeny
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

from sockets.auth.handshake import SUBPROTOCOL
from sockets.base.timetable import NOT_LISTED
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.protocol.frames import PONG_SIZES, is_pong
from sockets.protocol.outbox import cut_reason
from sockets.server.inbound import Inbound
from sockets.server.outbound import Outbound
from sockets.server.target import date_now, phrase_of
from sockets.server.upgrade import Upgrade
from sockets.types import Surface

_OPEN, _CONNECTING, _CLOSED = Autobahn.STATE_OPEN, Autobahn.STATE_CONNECTING, Autobahn.STATE_CLOSED
_CLOSING = Autobahn.STATE_CLOSING


class _Shown:
    """What a function makes of an object for a log line, made when somebody looks."""

    __slots__ = ("_make", "_object")

    def __init__(self, make: Callable[[Any], str], shown: object) -> None:
        self._make, self._object = make, shown

    def __str__(self) -> str:
        return self._make(self._object)


# autobahn formats and colours what debug lines tell of each connection.
for _module, _names in ((protocol, ("pformat", "hltype", "hlval")), (adapter, ("hltype", "hlval"))):
    for _name in _names:
        setattr(_module, _name, partial(_Shown, vars(_module)[_name]))

MAX_REASON = 100
"""Characters of the phrase with which a handshake is refused."""


class _Verdict:
    """What the application says of a handshake, carried out at once: in place of a Deferred."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: GatewayWebSocket) -> None:
        self._protocol = protocol

    def callback(self, accepted: tuple[str | None, dict[str, list[str]]]) -> None:
        if accepted[0] is None or accepted[0] in self._protocol.websocket_protocols:
            self._protocol.succeedHandshake(accepted)
        else:
            self._protocol.failHandshake("the subprotocol was not offered", 500)

    def errback(self, deny: ConnectionDeny) -> None:
        self._protocol.failHandshake(deny.reason or "", deny.code)


class GatewayWebSocket(WebSocketProtocol):
    """daphne's protocol object for one socket, in two halves; `outbox` goes into the ASGI scope."""

    conf: Conf  # set on the subclass that a server makes
    transport: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inbound = Inbound(self)
        self.outbound = Outbound(self)
        self.outbox = self.outbound.outbox
        self._closed_since: float | None = None
        self.slot = NOT_LISTED  # of the server's timetable
        self.pinged_by_us = False  # by the session, in JSON, and not by the server below
        self._refusal: tuple[int, Any] = (0, ())
        self._refusal_body = b""

    # --- handshake

    def connectionMade(self) -> None:
        """Begin as autobahn does, but for a description of the transport that nobody reads."""
        self.peer = peer2str(self.transport)
        with suppress(AttributeError, OSError):  # a Unix socket
            self.transport.setTcpNoDelay(True)
        self._connectionMade()

    def set_valid_events(self, valid_events: Any = None) -> None:
        """Keep no list: nobody listens to events of autobahn's here."""

    def begin(self, upgrade: Upgrade) -> None:
        """Ask the application, as `processHandshake` and `onConnect` do for what they have read."""
        server = self.server = self.factory.server_class
        server.protocol_connected(self)
        self.request = upgrade
        self.root_path = server.root_path
        self.socket_opened = self.last_ping = time.monotonic()
        peer, host = self.transport.getPeer(), self.transport.getHost()
        # A Unix socket has neither; daphne types them as lists.
        self.client_addr, self.server_addr = None, None  # type: ignore[assignment]
        if hasattr(peer, "host") and hasattr(peer, "port"):
            self.client_addr = [str(peer.host), peer.port]
            self.server_addr = [str(host.host), host.port]
        self.path = upgrade.path.encode()
        # What autobahn looks at once the handshake is over.
        self.websocket_version = 13
        self.websocket_protocols, self.websocket_extensions = upgrade.protocols, []
        self._wskey = upgrade.key
        self.handshake_deferred: Any = _Verdict(self)
        scope = {
            "type": "websocket",
            "path": unquote(upgrade.path),
            "raw_path": self.path,
            "root_path": self.root_path,
            "headers": upgrade.headers,
            "query_string": upgrade.query,
            "client": self.client_addr,
            "server": self.server_addr,
        }
        self.applicationCreateWorked(server.create_application(self, scope))

    def onConnect(self, request: Any) -> Any:
        # Believed from any client in stock daphne.
        request.headers.pop("daphne-root-path", None)
        # daphne unquotes it, and raises where it is not ASCII; `request.protocols` is the list.
        request.headers.pop("sec-websocket-protocol", None)
        verdict = super().onConnect(request)
        self.socket_opened = self.last_ping = time.monotonic()  # daphne notes the wall clock's
        return verdict

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
        self.pinged_by_us = subprotocol == SUBPROTOCOL
        self.handshake_deferred.callback((subprotocol, named))
        del self.handshake_deferred

    def _refuse_handshake(self) -> None:
        """Refuse with the status and the body of the ASGI extension, instead of a handshake."""
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
        if self.outbound.buffered:  # behind the answer to a request before it, which is not read
            asyncio.get_running_loop().call_later(self.conf.close_timeout, self.abort)

    def sendHttpErrorResponse(self, code: int, reason: str, responseHeaders: Any = None) -> None:
        super().sendHttpErrorResponse(code, reason, responseHeaders)
        if code == self._refusal[0] and self._refusal_body:
            self.sendData(self._refusal_body)

    # --- outbound

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        if sync or chopsize or self.send_queue:
            self.outbound.goes_by_transport(len(data))
            super().sendData(data, sync, chopsize)
        elif self.state == _CONNECTING:
            self.outbound.write_frame(data)  # nothing is before the answer to a handshake
        else:
            # autobahn would make two coloured strings for a debug line that nobody reads.
            self.outbound.write(data)

    def pauseProducing(self) -> None:
        self.outbound.pause()

    def resumeProducing(self) -> None:
        ping = self.outbound.resume()
        if ping is not None:
            super().onPing(ping)

    def stopProducing(self) -> None:
        self.resumeProducing()

    async def drain(self) -> None:
        """Wait until there is space again; see `Outbound.drain`."""
        await self.outbound.drain()

    # --- inbound

    def dataReceived(self, data: bytes) -> None:
        if len(data) in PONG_SIZES and is_pong(data) and self._takes_pongs():
            return
        self.inbound.receive(data)

    def _takes_pongs(self) -> bool:
        """Whether what came is a frame of its own, and the session has taken it as a pong."""
        if self.state != _OPEN or self.outbox.on_pong is None or not self.inbound.is_idle:
            return False
        parser: Any = self  # autobahn's: a part of a frame, or of a message, may have come before
        if parser.data or parser.current_frame is not None or parser.inside_message:
            return False
        return self.outbox.on_pong()

    def paused(self) -> None:
        """From the inbound half: it is not read any more."""
        self._watch()

    # autobahn's own, without the coloured strings of a debug line.
    parse = WebSocketProtocol._dataReceived

    def surface(self) -> Surface:
        """The surface that the peer came by."""
        surface: Surface = self.server.surface_of(self.transport)
        return surface

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        # As in daphne, but by the clock of `due`, which a queue that is full asks at once.
        # Frames that come while we close are not processed (RFC 6455 section 1.4).
        if self.state == _OPEN:
            self.last_ping = time.monotonic()
            key, data = ("bytes", payload) if isBinary else ("text", payload.decode())
            self.application_queue.put_nowait({"type": "websocket.receive", key: data})

    def onMessageFrame(self, payload: Any) -> None:
        # A list of parts. Empty ones count for no limit of size, and autobahn keeps each.
        parts: Any = [part for part in payload if part]
        super().onMessageFrame(parts)

    def onPing(self, payload: bytes) -> None:
        """Pongs pass no queue of ours: who pings and does not read gets one for the newest ping
        (RFC 6455 section 5.5.3), when there is space; stock autobahn stores them all."""
        if self.inbound.is_flood():
            return
        if self.outbox.full:
            self.outbound.unanswered = payload
        else:
            super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        if not self.inbound.is_flood():
            super().onPong(payload)

    # --- closing

    def close_with(self, code: int, reason: str = "") -> None:
        """Close with any code; stock daphne raises for those that RFC 6455 reserves to servers."""
        if self.state == _OPEN:
            self.inbound.resume()  # or the peer's half of the closing handshake is never seen
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

    def sendCloseFrame(self, *args: Any, **options: Any) -> None:
        super().sendCloseFrame(*args, **options)
        self._watch()

    def dropConnection(self, abort: bool = False) -> None:
        # autobahn resets a peer whose Close comes after ours; what we have written may still be
        # on its way then, and always is where that Close itself is the violation we answer.
        self.outbox.direct = None
        super().dropConnection(abort and not self.wasClean)
        self._watch()

    def _watch(self) -> None:
        if hasattr(self, "server"):  # else it was no handshake
            self.server.watch(self)

    def _closeConnection(self, abort: bool = False) -> None:
        if not abort and self.failedByMe and self.transport is not None:
            # Who breaks the protocol may send on, and unread data would turn the end into a reset.
            self.transport.loseWriteConnection()
            self.inbound.go_on()
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
        self.inbound.resume()
        self.resumeProducing()
        if hasattr(self, "server"):  # else it was no handshake
            super().onClose(wasClean, code, reason)

    def connectionLost(self, *args: Any) -> None:
        self.outbox.direct = None
        super().connectionLost(*args)
        self.inbound.resume()
        self.resumeProducing()
        if not hasattr(self, "server") or self not in self.server.connections:
            self.let_go()  # it never had an application, or that has ended before

    def let_go(self) -> None:
        """Undo what refers back to this socket, now that the connection and its application are
        gone; else all of it stays until the garbage collector walks through all other sockets."""
        self.inbound.let_go()
        self.outbound.let_go()
        self.is_closed = None  # a Deferred whose result is this socket
        self.__dict__.pop("handshake_deferred", None)  # where there was no answer

    def due(self, now: float) -> float:
        """Return the moment from which on `check_timeouts` may have something to do; infinity:
        never as things are. `now`: monotonic seconds."""
        if self.state != _OPEN:
            return now
        due = inf
        if not self.pinged_by_us:
            due = self.last_ping + self.server.ping_interval
        if self.inbound.paused_since is not None:
            due = min(due, self.inbound.paused_since + self.conf.slow_timeout)
        return due

    def duration(self) -> float:
        """Return the seconds since the handshake; in stock daphne by a clock that may be set."""
        return time.monotonic() - self.socket_opened

    def check_timeouts(self) -> None:
        """Close what takes too long, and ping who is due. All by a clock that nobody sets: daphne
        would ping nobody for as long as the wall clock was set back."""
        now = time.monotonic()
        if self.state == _CLOSED and self.transport.connected:
            # A peer that sent CLOSE and does not read: stock daphne waits for it for ever.
            if self._closed_since is None:
                self._closed_since = now
            elif now - self._closed_since > self.conf.close_timeout:
                self.abort()
        elif self.inbound.paused_for(now) > self.conf.slow_timeout:
            self.close_with(CloseCode.TRY_AGAIN_LATER, "the server is behind with your frames")
        elif self.state != _OPEN:
            super().check_timeouts()
        elif not self.pinged_by_us and now - self.last_ping > self.server.ping_interval:
            self._sendAutoPing()
            self.last_ping = now


def bind(factory: WebSocketFactory, conf: Conf) -> None:
    """Let daphne's factory make our sockets, with these settings."""

    class BoundWebSocket(GatewayWebSocket):
        """Of one server."""

    BoundWebSocket.conf = conf
    factory.protocol = BoundWebSocket
    factory.setProtocolOptions(
        failByDrop=False,  # an oversize or broken frame gets its close code, not a reset
        # autobahn counts in whole seconds, rounded down.
        closeHandshakeTimeout=conf.close_timeout + 1,
        # autobahn limits sends by the same options: what we send is limited by us.
        maxMessagePayloadSize=conf.max_frame_size,
        maxFramePayloadSize=conf.max_frame_size,
        # The application has daphne's websocket_connect_timeout to accept; another clock for the
        # same costs a timer for each connection.
        openHandshakeTimeout=0,
        # As daphne has it; else "null" would be refused here, neither counted nor audited.
        allowNullOrigin=True,
    )
    for name in BoundWebSocket.CONFIG_ATTRS:
        # Else autobahn looks at each of them for each connection, and copies it there.
        value = getattr(factory, name)
        setattr(BoundWebSocket, name, staticmethod(value) if callable(value) else value)
    BoundWebSocket.CONFIG_ATTRS = []
