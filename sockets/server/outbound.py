"""What is written to a peer: bounded by OUTBOX_LIMIT bytes and one frame, and never stuck.

`GatewayWebSocket` calls these methods where Twisted and autobahn call it. The buffer gauge reads
Twisted's private buffers and assumes plain TCP: TLS ends at the proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol

from autobahn.websocket.protocol import WebSocketProtocol as Autobahn

from sockets.base import metrics
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write

_OPEN = Autobahn.STATE_OPEN


class Socket(Protocol):
    """What this half needs of its protocol object."""

    conf: Conf
    state: int
    transport: Any
    send_queue: Any  # autobahn's: the rest of a message that it sends in fragments

    def close_with(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""

    def abort(self) -> None:
        """Cut the connection."""


class Outbound:
    """Writes to one socket.

    `unanswered`: the newest ping of the peer, kept while its outbox is full.
    """

    __slots__ = ("_socket", "_through", "_writable", "outbox", "unanswered")

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._writable: asyncio.Future[None] | None = None
        self.outbox = FrameOutbox(socket, self)
        self.unanswered: bytes | None = None
        self._through = 0  # bytes written, but for those of `FrameOutbox.direct`

    @property
    def written(self) -> int:
        """Bytes written since the handshake, to the kernel or the transport."""
        return self._through + self.outbox.went_direct

    @property
    def buffered(self) -> int:
        """Bytes that wait in the transport."""
        transport = self._socket.transport
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return waiting

    def write_frame(self, data: bytes) -> None:
        """Write a ready frame after what is queued; to the kernel at once when nothing is, and then
        the next ones need not look.

        Half the cost of a transport write: no writer is added to and removed from the loop.
        Order holds because everything else leaves through the same buffers.
        """
        self._through += len(data)
        socket = self._socket
        transport = socket.transport
        if socket.send_queue:  # autobahn is sending a message in fragments
            socket.send_queue.append((data, False))
            return
        if not (transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting):
            send = transport.socket.send
            try:
                sent = send(data)
            except OSError:
                sent = 0  # the kernel takes none now; or the transport's own write finds the error
            if sent < len(data):
                self._write_after(data, sent)
            elif socket.state == _OPEN:
                self.outbox.direct = send
        else:
            transport.write(data)

    def write_rest(self, data: bytes, sent: int) -> None:
        """Write what the kernel has not taken of a frame that went by `FrameOutbox.direct`."""
        self._through += len(data)
        self._write_after(data, sent)

    def _write_after(self, data: bytes, sent: int) -> None:
        self._socket.transport.write(data[sent:])
        self.outbox.stalled()

    def goes_by_transport(self, size: int) -> None:
        """Count bytes that the transport gets; the next frame looks whether they still wait."""
        self.outbox.direct = None
        self._through += size

    def write(self, data: bytes) -> None:
        """Write the answer to a ping, or a close frame: after what is queued, in a turn of its
        own."""
        self.goes_by_transport(len(data))
        was_empty = not self.buffered
        self._socket.transport.write(data)
        if was_empty:
            self.outbox.stalled()

    def pause(self) -> None:
        """The transport's buffer is above the limit."""
        self.outbox.full = True
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume(self) -> bytes | None:
        """The transport's buffer is empty, or the transport is gone.

        Returns the ping that has waited for its answer.
        """
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        self.outbox.drained()
        ping, self.unanswered = self.unanswered, None
        return ping

    def let_go(self) -> None:
        """Refer to the socket no more: it is gone, and whoever still writes finds it closed."""
        self._through += self.outbox.went_direct
        self._socket = self.outbox._socket = _GONE
        self.outbox.direct = None
        self.outbox = _NOBODYS

    async def drain(self) -> None:
        """Wait until the buffer is empty: back-pressure for applications that use ASGI `send`.

        A socket that drains nothing for SLOW_TIMEOUT is closed 4002, which ends the wait.
        """
        socket = self._socket
        seen = self.written - self.buffered
        while (writable := self._writable) is not None and socket.state == _OPEN:
            await asyncio.wait({writable}, timeout=socket.conf.slow_timeout)
            drained = self.written - self.buffered
            if self._writable is writable and drained == seen:
                metrics.SLOW_CONSUMERS.inc()
                socket.close_with(CloseCode.SLOW_CONSUMER, "slow consumer: read faster")
            seen = drained


class FrameOutbox:
    """The outbox of the gateway's frames on a daphne socket: ready frames, no ASGI message, no
    task. `sockets/protocol/outbox.py` has the contract.

    Bounded by what makes the transport pause: `outbox_limit` bytes and one frame.

    `direct`: the kernel's `send`, from a frame that it took whole until something else is written
    or the socket closes: nothing waits meanwhile. To find that out for each frame would mean to
    look at four objects, which for one of thousands of sockets are in no cache of the processor.
    `went_direct`: bytes that it took.
    """

    __slots__ = (
        "_outbound",
        "_refused",
        "_socket",
        "direct",
        "full",
        "on_drain",
        "on_pong",
        "on_stall",
        "went_direct",
    )

    def __init__(self, socket: Socket, outbound: Outbound) -> None:
        self._socket = socket
        self._outbound = outbound
        self._refused = False  # a frame, since the last drain
        self.full = False
        self.direct: Callable[[bytes], int] | None = None
        self.went_direct = 0
        self.on_drain: Callable[[], None] | None = None
        self.on_stall: Callable[[], None] | None = None
        self.on_pong: Callable[[], bool] | None = None

    # Middleware copies scopes, and some code pickles them: a copy writes to the same socket, and
    # what is unpickled, maybe elsewhere, has none.

    def __copy__(self) -> FrameOutbox:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> FrameOutbox:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def write(self, frame: Frame) -> Write:
        if (send := self.direct) is not None:
            wire = frame.wire
            try:
                sent = send(wire)
            except OSError:
                sent = 0  # as in `write_frame`
            if sent == len(wire):
                self.went_direct += sent
            else:
                self.direct = None
                self._outbound.write_rest(wire, sent)
            return Write.OK
        if self._socket.state != _OPEN:
            return Write.CLOSED
        if self.full:
            self._refused = True
            return Write.FULL
        self._outbound.write_frame(frame.wire)
        return Write.OK

    def drained(self) -> None:
        """From the outbound half: there is space again, or the socket is gone."""
        self.full = False
        if self._refused:
            self._refused = False
            if self.on_drain is not None:
                self.on_drain()

    def stalled(self) -> None:
        """From the outbound half: bytes are left over."""
        if self.on_stall is not None:
            self.on_stall()

    def close(self, code: int, reason: str) -> None:
        self._socket.close_with(code, reason)

    def abort(self) -> None:
        self._socket.abort()

    def flow(self) -> tuple[int, int]:
        waiting = self._outbound.buffered
        return waiting, self._outbound.written - waiting


class _Gone:
    """In the place of any socket that is gone."""

    conf: Conf
    state = Autobahn.STATE_CLOSED
    transport = SimpleNamespace(dataBuffer=b"", offset=0, _tempDataLen=0)
    send_queue = ()

    def close_with(self, code: int, reason: str) -> None:
        """It is closed."""

    def abort(self) -> None:
        """It is cut."""


_GONE = _Gone()
_NOBODYS = Outbound(_GONE).outbox
