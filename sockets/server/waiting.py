"""Connections whose request is not here yet: each has a deadline, and there is a most of them.

Stock daphne waits a minute from the last byte, so that one byte a minute holds a connection for
ever, and any number of them. Here whoever opens more than there is room for cuts the oldest, which
are the attacker's own. A crowd that has just come has done nothing wrong: it waits in the kernel's
queue until there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.web.http import HTTPChannel

from sockets.door import turned_away
from sockets.types import AtDoor, Surface

SLOWEST_BODY: Final = 10_000
"""Bytes a second that a body must come at, on average."""

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


PATIENCE: Final = 1.0
"""Seconds that a connection has for itself, however many wait."""


class WaitingRoom:
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
        """Wait so long for its request, from now on; returns those that have to go for it."""
        now = self._clock()
        self._since[channel], self._deadlines[channel] = now, now + seconds
        gone = []
        while len(self._deadlines) > self._most and (oldest := self._oldest()) is not None:
            self.leave(oldest)
            gone.append(oldest)
        return gone

    def leave(self, channel: object) -> None:
        """Its request is here, or it is gone."""
        self._since.pop(channel, None)
        self._deadlines.pop(channel, None)

    def _oldest(self) -> Any:
        """The one that came first, if it has had its time."""
        channel = next(iter(self._since), None)
        if channel is None or self._clock() - self._since[channel] < PATIENCE:
            return None
        return channel

    def overdue(self) -> Iterator[Any]:
        """Those whose time is over; they are out."""
        now = self._clock()
        for channel in [c for c, deadline in self._deadlines.items() if deadline <= now]:
            self.leave(channel)
            yield channel


class GatewayChannel(HTTPChannel):
    """One HTTP connection, until a WebSocket takes its transport over."""

    transport: Any
    server: Any  # set on the subclass that a server makes

    def connectionMade(self) -> None:
        super().connectionMade()
        self._enter()

    def dataReceived(self, data: bytes) -> None:
        if not self._handlingRequest and self not in self.server.waiting:
            self._enter()  # another request on a connection that was kept
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        super().allHeadersReceived()
        if self.length != 0:
            size = self.length or self.requests[-1].limit
            self.server.waiting.leave(self)
            self._enter(size / SLOWEST_BODY)

    def allContentReceived(self) -> None:
        self.server.waiting.leave(self)
        super().allContentReceived()

    def connectionLost(self, reason: Any = None) -> None:
        self.server.waiting.leave(self)
        super().connectionLost(reason)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_head()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self.requests and self.requests[-1].refused:
            return  # it has its answer, which a reset would take away
        size, count = self._receivedHeaderSize, self._receivedHeaderCount
        if size > self.totalHeadersSize or count > self.maxHeaders:
            self._refuse_head()
        else:
            super()._respondToBadRequestAndDisconnect()

    def cut(self, why: AtDoor) -> None:
        """Its request has not come."""
        turned_away(why, self._surface, self._host)
        self.transport.abortConnection()

    def _enter(self, more: float = 0) -> None:
        seconds = self.server.conf.handshake_timeout + more
        for oldest in self.server.waiting.enter(self, seconds):
            oldest.cut(AtDoor.CROWDED)
        if self.server.waiting.full:
            self.server.pause_accepting()

    def _refuse_head(self) -> None:
        turned_away(AtDoor.HEADER, self._surface, self._host, 431)
        self.transport.write(_TOO_LARGE)
        self.loseConnection()

    @property
    def _surface(self) -> Surface:
        surface: Surface = self.server.surface_of(self.transport)
        return surface

    @property
    def _host(self) -> str:
        return str(getattr(self.transport.getPeer(), "host", ""))
