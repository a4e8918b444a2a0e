"""Connections whose request is not here yet: each has a deadline, and their number a bound.

Stock daphne waits a minute from the last byte, so that one byte a minute holds a connection for
ever, and any number of them. Here whoever opens more than there is space for cuts the oldest, which
are the attacker's own. A crowd that has just come has done nothing wrong: it waits in the kernel's
queue until there is space.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, Final

from twisted.web.http import HTTPChannel

from sockets.auth.admission import record_refusal
from sockets.base import metrics
from sockets.base.client_address import neighbourhood
from sockets.http.problem import CONTENT_TYPE, body_of
from sockets.server.backlog import look_at
from sockets.server.idle import IdleConnections
from sockets.server.reactor import reactor
from sockets.server.target import date_now, phrase_of, split_target
from sockets.server.upgrade import Upgrade, ordinary
from sockets.types import Refusal, Surface

SLOWEST_BODY: Final = 10_000
"""Bytes a second that a body must come at, on average."""

LINGER: Final = 2.0
"""Seconds that what follows a refused request is read and thrown away."""

MAX_DIGITS: Final = 18
"""Digits of a Content-Length: no larger number is meant, and Python reads none of thousands."""

SILENCE: Final = 60.0
"""Seconds between two bytes of a request, whatever else it may take."""

PATIENCE: Final = 1.0
"""Seconds that a connection has for itself, however many wait."""


class WaitingConnections:
    """`most`: channels in it, for longer than PATIENCE. `clock`: monotonic seconds."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._since: dict[Any, float] = {}  # oldest first
        self._deadlines: dict[Any, float] = {}

    def __contains__(self, channel: object) -> bool:
        return channel in self._deadlines

    def __len__(self) -> int:
        return len(self._deadlines)

    @property
    def full(self) -> bool:
        """Whether nobody more should be let in now."""
        return len(self._deadlines) >= self._most and self._oldest() is None

    def enter(self, channel: Any, seconds: float) -> list[Any]:
        """Let the connection wait so long for its request, from now on. Returns those that have to
        go for it."""
        now = self._clock()
        self._since[channel], self._deadlines[channel] = now, now + seconds
        gone = []
        while len(self._deadlines) > self._most and (oldest := self._oldest()) is not None:
            self.leave(oldest)
            gone.append(oldest)
        return gone

    def leave(self, channel: object) -> None:
        """Take the connection out: its request is here, or it is gone."""
        self._since.pop(channel, None)
        self._deadlines.pop(channel, None)

    def _oldest(self) -> Any:
        """Return the connection that came first, if it has had its time."""
        channel = next(iter(self._since), None)
        if channel is None or self._clock() - self._since[channel] < PATIENCE:
            return None
        return channel

    def overdue(self) -> Iterator[Any]:
        """Take out the connections whose time is over, and return them."""
        now = self._clock()
        for channel in [c for c, deadline in self._deadlines.items() if deadline <= now]:
            self.leave(channel)
            yield channel


class GatewayChannel(HTTPChannel):
    """One HTTP connection, until a WebSocket takes its transport over.

    Whatever could be read in two ways is refused (400): a proxy before us may read it in the other
    one, and what is a body to it would be a request to us.
    """

    transport: Any
    server: Any  # set on the subclass that a server makes
    _HTTPChannel__first_line: int  # Twisted's own: not 0 while no request has begun
    _is_new = True  # nothing has come yet
    _kept = False  # idle between two requests
    _answered = False  # a request before this one
    refused = False  # it has its answer; what still comes is thrown away

    def connectionMade(self) -> None:
        super().connectionMade()
        if self._surface is Surface.PUBLIC and not self.server.files.has_space(
            self.transport.fileno()
        ):
            self._refuse_at_once()
        else:
            self._enter()

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            return
        self._idle.leave(self)
        if self._kept:
            self._kept = False
            self.setTimeout(SILENCE)
        if not self._handlingRequest and self not in self._waiting:
            self._enter()  # another request on a connection that was kept
        if self._is_new and b"\r\n\r\n" in data:
            upgrade = ordinary(data) if len(data) <= self.totalHeadersSize else None
            if upgrade is not None:
                self._refuse_what_waited()
                if not self.refused:
                    self._hand_over(upgrade)
                return
        self._is_new = False
        super().dataReceived(data)

    def _hand_over(self, upgrade: Upgrade) -> None:
        """Let a WebSocket have the connection."""
        self._waiting.leave(self)
        self.setTimeout(None)
        protocol = self.server.ws_factory.buildProtocol(self.transport.getPeer())
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        protocol.begin(upgrade)

    def _refuse_what_waited(self) -> None:
        """Refuse a handshake whose peer has gone, or should come back later."""
        is_gone, waited = look_at(self.transport.socket)
        if is_gone:
            self.refused = True
            self._waiting.leave(self)
            metrics.refused[Refusal.GONE].inc()  # it was refused nothing: no line in the audit log
            self.transport.abortConnection()
        elif self._answered:
            pass  # it waited for the answer to the request before it, in no queue
        elif self.server.waits[self._surface].note(waited):
            self._refuse_and_close("This node is behind: come back later.", Refusal.LATE)

    def _send100Continue(self) -> None:
        if not self.refused:  # refused first, and then accepted
            super()._send100Continue()

    def lineReceived(self, line: bytes) -> None:
        if not self.refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if not self.refused:
            super().rawDataReceived(data)

    def allHeadersReceived(self) -> None:
        if (wrong := self._ambiguity()) is not None:
            self.refuse(400, wrong, Refusal.MALFORMED)
            return
        if not self._read_target():
            return
        path: Any = self._path  # Twisted's annotation is of something else
        if self._is_handshake() and b";" in path.partition(b"?")[0]:
            # Autobahn drops parameters; those of requests are refused by `SurfaceMiddleware`.
            self.refuse(404, "Paths have no parameters (;) here.", Refusal.MALFORMED)
            return
        if self._is_handshake():
            self._refuse_what_waited()
        if self.refused:
            return
        super().allHeadersReceived()
        if self.length != 0 and not self.refused:
            size = self.length or self.requests[-1].limit
            self._waiting.leave(self)
            self._enter(size / SLOWEST_BODY)

    def allContentReceived(self) -> None:
        if not self.refused:
            self._waiting.leave(self)
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self._answered = True  # first: what came with it is read at once
        super().requestDone(request)
        if not self.persistent or self._handlingRequest or not self.transport.connected:
            return
        if self._buffer or not self._HTTPChannel__first_line:
            self._enter()  # a part of the next one came with it
        else:
            self._keep()

    def connectionLost(self, reason: Any = None) -> None:
        self._waiting.leave(self)
        self._idle.leave(self)
        super().connectionLost(reason)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_head()

    def cut(self, why: Refusal) -> None:
        """Cut the connection: its request has not come."""
        if not self.refused:
            record_refusal(why, self._surface, self._host)
        self.transport.abortConnection()

    def refuse(self, status: int, text: str, why: Refusal) -> None:
        """Answer now, and stop caring: what still comes is read for LINGER seconds, so that its
        sender sees the answer and no reset."""
        if self.refused:
            return
        self.refused = True
        self._waiting.enter(self, LINGER)  # or any number of them would cost nothing
        record_refusal(why, self._surface, self._host, status)
        self._answer(status, text)
        self.transport.loseWriteConnection()
        reactor.callLater(LINGER, self.transport.abortConnection)

    def _refuse_at_once(self) -> None:
        """Refuse without waiting: every moment costs a descriptor that others need."""
        self._refuse_and_close("This node has no more open files: come back later.", Refusal.FILES)
        self.server.pause_accepting(self._surface)

    def _refuse_and_close(self, text: str, why: Refusal) -> None:
        """Answer 503 and close at once. A peer of whose request something is unread may see a reset
        in place of the answer."""
        self.refused = True
        self._waiting.leave(self)
        record_refusal(why, self._surface, self._host, 503)
        self._answer(503, text)
        self.transport.loseConnection()

    def _answer(self, status: int, text: str) -> None:
        kind, body = "text/plain; charset=utf-8", f"{text}\n".encode()
        if status != 431 and self._is_of_api():
            kind, body = CONTENT_TYPE, json.dumps(body_of(status, text)).encode()
        head = (
            f"HTTP/1.1 {status} {phrase_of(status)}",
            f"Date: {date_now()}",
            "Connection: close",
            *(["Retry-After: 5"] if status == 503 else []),
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
        )
        self.transport.write("\r\n".join((*head, "", "")).encode() + body)

    def _is_of_api(self) -> bool:
        """Whether the HTTP API is meant, whose errors have a form."""
        path: Any = getattr(self, "_path", b"")  # Twisted's annotation is of something else
        return self._surface is not Surface.PUBLIC and path.startswith(b"/api/")

    # --- what is refused

    def _respondToBadRequestAndDisconnect(self) -> None:
        size, count = self._receivedHeaderSize, self._receivedHeaderCount
        if size > self.totalHeadersSize or count > self.maxHeaders:
            self._refuse_head()
        else:
            self.refuse(400, "The request cannot be read.", Refusal.MALFORMED)

    def _refuse_head(self) -> None:
        self.refuse(431, "The request's head is too large.", Refusal.HEADER)

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > MAX_DIGITS:
            self.refuse(400, "Content-Length is no length that a body can have.", Refusal.MALFORMED)
            return False
        if header == b"Transfer-Encoding" and data.lower() != b"chunked":
            self.refuse(400, "Transfer-Encoding can only be chunked.", Refusal.MALFORMED)
            return False
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def _ambiguity(self) -> str | None:
        """Return what is wrong with the headers as a whole; None: nothing."""
        given = self.requests[-1].requestHeaders.getRawHeaders
        hosts = len(given(b"host") or ())
        old = self._version != b"HTTP/1.1"
        if hosts > 1:
            return "There is more than one Host."
        if not hosts and not old:
            return "There is no Host."  # RFC 9112 section 3.2: whatever the target says
        if old and given(b"transfer-encoding"):
            return "HTTP/1.0 knows no Transfer-Encoding."
        if self._is_handshake():
            if old:
                return "HTTP/1.0 knows no WebSocket."
            if self.length != 0:
                return "A WebSocket handshake has no body."
        return None

    def _read_target(self) -> bool:
        """Make the target a path, whose host is the Host. Returns False where it is refused."""
        headers = self.requests[-1].requestHeaders
        given = headers.getRawHeaders(b"host")
        target: Any = self._path  # Twisted's annotation is of something else
        try:
            path, host = split_target(target, given[0] if given else None)
        except ValueError as error:
            self.refuse(400, str(error), Refusal.MALFORMED)
            return False
        self._path = path  # type: ignore[assignment]
        if host is not None and not given:
            headers.setRawHeaders(b"host", [host])  # HTTP/1.0: the rules for hosts hold for it too
        return True

    def _is_handshake(self) -> bool:
        given = self.requests[-1].requestHeaders.getRawHeaders(b"upgrade")
        return b"websocket" in _tokens(given or ())

    # --- where it waits

    def _enter(self, more: float = 0) -> None:
        waiting = self._waiting
        for oldest in waiting.enter(self, self.server.conf.handshake_timeout + more):
            oldest.cut(Refusal.CROWDED)
        if waiting.full:
            self.server.pause_accepting(self._surface)

    def _keep(self) -> None:
        """Keep the connection for another request. On the client port an address has a share,
        unless it is a proxy's: a backend, which keeps many, is one address as well."""
        conf, address = self.server.conf, ""
        self._kept = True
        self.setTimeout(conf.keep_alive)
        if self._surface is not Surface.PRIVATE and not conf.trusted_proxies.is_proxy(self._host):
            address = neighbourhood(self._host)
        oldest = self._idle.enter(self, address)
        if oldest is not None:
            record_refusal(Refusal.IDLE, self._surface, oldest._host)
            oldest.loseConnection()

    @property
    def _waiting(self) -> WaitingConnections:
        waiting: WaitingConnections = self.server.waiting[self._surface]
        return waiting

    @property
    def _idle(self) -> IdleConnections:
        idle: IdleConnections = self.server.idle[self._surface]
        return idle

    @cached_property
    def _surface(self) -> Surface:
        surface: Surface = self.server.surface_of(self.transport)
        return surface

    @property
    def _host(self) -> str:
        return str(getattr(self.transport.getPeer(), "host", ""))


def _tokens(values: Iterable[bytes]) -> set[bytes]:
    """Return the items of headers that are lists, in lower case."""
    return {token.strip().lower() for value in values for token in value.split(b",")}
