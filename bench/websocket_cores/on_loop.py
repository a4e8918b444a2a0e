"""The loop's own transport in the place of Twisted's, once the request has been read.

It has the names that the gateway's halves use of Twisted's.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from bench.websocket_cores.socket import CoreSocket


def taken_from(transport: Any) -> socket.socket:
    """Take the socket out of a transport of Twisted, which is of no use from then on."""
    transport.stopReading()
    transport.stopWriting()
    transport.unregisterProducer()
    old = transport.socket
    kind = old.family, old.type, old.proto
    transport.protocol = None
    transport.connected = 0
    return socket.socket(*kind, fileno=old.detach())


class OnLoop:
    """A transport as `CoreSocket` knows them. `server`: the port that it came by."""

    __slots__ = ("_of", "_transport", "bufferSize", "connected", "server", "socket")

    offset = 0
    dataBuffer = b""

    def __init__(self, own: socket.socket, server: Any) -> None:
        self.socket = own
        self.server = server
        self.connected = False
        self.bufferSize = 0
        self._transport: Any = None
        self._of: CoreSocket | None = None

    async def begin(self, of: CoreSocket) -> None:
        """Let the loop read the socket."""
        self._of = of
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_accepted_socket(lambda: _Passing(self), self.socket)

    # --- as Twisted has it

    @property
    def _tempDataLen(self) -> int:
        size: int = self._transport.get_write_buffer_size()
        return size

    _tempDataBuffer = _tempDataLen

    @property
    def disconnecting(self) -> bool:
        closing: bool = self._transport.is_closing()
        return closing

    def registerProducer(self, _: Any, __: bool) -> None:
        self._transport.set_write_buffer_limits(high=self.bufferSize, low=0)

    def unregisterProducer(self) -> None:
        """There was none."""

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def pauseProducing(self) -> None:
        if self.connected and not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        if self.connected and not self._transport.is_closing():
            self._transport.resume_reading()

    def loseWriteConnection(self) -> None:
        if self.connected and not self._transport.is_closing():
            self._transport.write_eof()

    def loseConnection(self) -> None:
        self._transport.close()

    def abortConnection(self) -> None:
        self._transport.abort()


class _Passing(asyncio.Protocol):
    """What the loop calls."""

    __slots__ = ("_data_received", "_on")

    def __init__(self, on: OnLoop) -> None:
        self._on = on
        assert on._of is not None
        self._data_received = on._of.dataReceived

    def connection_made(self, _: Any) -> None:
        self._on.connected = True

    def data_received(self, data: bytes) -> None:
        self._data_received(data)

    def connection_lost(self, _: Exception | None) -> None:
        on = self._on
        on.connected = False
        of, on._of = on._of, None
        if of is not None:
            of.connectionLost()

    def pause_writing(self) -> None:
        if self._on._of is not None:
            self._on._of.pauseProducing()

    def resume_writing(self) -> None:
        if self._on._of is not None:
            self._on._of.resumeProducing()
