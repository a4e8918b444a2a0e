"""HTTP on daphne: bodies capped before they are stored, responses held back for slow readers."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.ws_protocol import WebSocketProtocol

from sockets.base.timetable import NOT_LISTED
from sockets.server.bodies import BodyMemory
from sockets.server.host import Host
from sockets.server.target import date_now, phrase_of
from sockets.types import Refusal

logger = logging.getLogger(__name__)

BodyLimit = Callable[[Any, str], int]
"""(surface, path) -> bytes that a request's body may have."""


class GatewayRequest(WebRequest):
    """One HTTP request.

    Stock daphne spools a body of any size to disk before the application is asked, even for a 404,
    and buffers any response in memory. Here bodies stay in memory, up to their limit.
    """

    server: Host
    channel: Any
    limit = 0  # bytes of its body
    slot = NOT_LISTED  # of the server's timetable
    _received = 0
    _held = 0  # bytes of BodyMemory
    _writable: asyncio.Future[None] | None = None

    # --- request

    def gotLength(self, length: int | None) -> None:
        path = self.channel._path.split(b"?", 1)[0].decode("latin-1")
        self.limit = self.server.body_limit(self.server.surface_of(self.channel.transport), path)
        if length is not None and length > self.limit:
            self._refuse()
        # Twisted makes a file of a long body, and of each that does not say how long it is: on a
        # read-only root it could not be read. `limit` bounds it here.
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        if self.channel.refused:
            return
        self._received += len(data)
        if self._received > self.limit:  # chunked: the length was not declared
            self._refuse()
        elif not self._memory.take(len(data)):
            text = "There are too many bodies on their way at once: come back later."
            self._let_go()
            self.channel.refuse(503, text, Refusal.BODY_MEMORY)
        else:
            self._held += len(data)
            super().handleContentChunk(data)

    @cached_property
    def _memory(self) -> BodyMemory:
        return self.server.bodies[self.server.surface_of(self.channel.transport)]

    def _let_go(self) -> None:
        """Give the space of the body back, which nobody reads any more."""
        if self._held:
            self._memory.give_back(self._held)
            self._held = 0

    def _refuse(self) -> None:
        self._let_go()
        text = f"The body is larger than {self.limit} bytes."
        self.channel.refuse(413, text, Refusal.BODY)

    def process(self) -> Any:
        if self.channel.refused:
            return None
        # Believed from any client in stock daphne.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        channel = self.channel
        done = super().process()
        if isinstance(channel.transport.protocol, WebSocketProtocol):
            channel.requests.clear()  # the connection is a socket's: neither would end the other
        return done

    def connectionLost(self, reason: Any) -> None:
        self.resumeProducing()
        self._let_go()
        super().connectionLost(reason)

    # --- response: a push producer towards Twisted, so that we hear of a full buffer

    def handle_reply(self, message: dict[str, Any]) -> None:
        streams = message.get("type") == "http.response.body" and message.get("more_body", False)
        alive = not self.finished and self.channel is not None
        if streams and alive and self.producer is None:
            # Or the kernel hides megabytes, and a slow reader looks like a stalled one.
            self.channel.transport.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, self.server.conf.send_buffer
            )
            self.registerProducer(self, True)
        super().handle_reply(message)
        # Twisted writes the head with the body's first part.
        starts = message.get("type") == "http.response.start" and alive
        if starts and not self.responseHeaders.hasHeader(b"date"):
            self.setHeader(b"Date", date_now().encode())

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        # Twisted's list of phrases ends in 1999.
        super().setResponseCode(code, message or phrase_of(code).encode())

    def finish(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()
        self._let_go()
        super().finish()

    def pauseProducing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resumeProducing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def stopProducing(self) -> None:
        self.resumeProducing()

    async def drain(self, timeout: float) -> None:
        """Wait until the buffer is empty; a reader that takes nothing in `timeout` is cut off."""
        seen = None
        while (writable := self._writable) is not None and self.channel is not None:
            transport = self.channel.transport
            waiting = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
            if waiting == seen:
                logger.info("HTTP %s: the reader stalled; cut off", self.path)
                transport.abortConnection()
                return
            seen = waiting
            await asyncio.wait({writable}, timeout=timeout)
