"""`picows`: its parser in C, under the same class.

It wants to own a connection: it has no sans-I/O core. Here it gets a transport that only passes on
what it writes, and its bytes through the two methods by which a loop would give them to it.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from bench.websocket_cores.handshake import Fields
from bench.websocket_cores.socket import (
    CLOSE,
    CLOSED,
    CLOSING,
    OPEN,
    PROTOCOL_ERROR,
    CoreSocket,
    control_frame,
)

picows: Any = import_module("picows")
_core: Any = import_module("picows.picows")  # WSProtocol is not among what it exports

# Not a `Logger`: of such it makes a child for each connection.
_LOGGER = logging.LoggerAdapter(logging.getLogger("bench.picows"))
_LOGGER.logger.setLevel(logging.CRITICAL)  # or each broken frame is a line

_BUFFER = 2_048
"""Bytes of its buffer in the beginning, and the least that it takes; it grows and never shrinks."""

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)
"""What is left of a request: Twisted has read the real one."""


class _Under:
    """The transport that it is given."""

    __slots__ = ("_socket",)

    def __init__(self, socket: PicowsSocket) -> None:
        self._socket = socket

    def get_extra_info(self, name: str) -> Any:
        return self._socket.transport.socket if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 1  # or it would write past us

    def write(self, data: bytes) -> None:
        self._socket.outbound.write_frame(bytes(data))

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        """Called a moment after an error, of which we know by then."""

    abort = close


class _Listener(picows.WSListener):  # type: ignore[misc]
    """What it calls with each frame."""

    __slots__ = ("_take",)

    def __init__(self, socket: PicowsSocket) -> None:
        self._take = socket.take_frame

    def on_ws_connected(self, transport: Any) -> None:
        """All is known already."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self._take(frame)

    def on_ws_disconnected(self, transport: Any) -> None:
        """Nobody tells it of that."""


class PicowsSocket(CoreSocket):
    """A socket whose frames picows takes apart."""

    __slots__ = ("_parser", "_ws")

    def __init__(self, server: Any, transport: Any, key: bytes) -> None:
        super().__init__(server, transport, key)
        self._parser: Any = None
        self._ws: Any = None

    def open(self, fields: Fields) -> None:
        def factory(_: Any) -> Any:
            response = picows.WSUpgradeResponse.create_101_response(dict(fields))
            return picows.WSUpgradeResponseWithListener(response, _Listener(self))

        most = self.conf.max_frame_size
        auto_ping = (False, 1, 1, picows.WSAutoPingStrategy.PING_WHEN_IDLE)
        options = (factory, _LOGGER, False, None, *auto_ping, False, most, None, _BUFFER)
        self._parser = _core.WSProtocol(None, None, False, *options)
        self._parser.connection_made(_Under(self))
        self._ws = self._parser.transport
        self._feed(_REQUEST % self.key)

    def parse(self, data: bytes) -> None:
        self._feed(data)
        if self._ws.is_close_frame_sent and self.state == OPEN:
            self.closes(CLOSED)  # it has found an error, and said so

    def _feed(self, data: bytes) -> None:
        parser = self._parser
        while data and self.state != CLOSED:
            space = parser.get_buffer(-1)
            size = min(len(space), len(data))
            space[:size] = data[:size]
            del space  # what it shows may be moved
            parser.buffer_updated(size)
            data = data[size:]

    def take_frame(self, frame: Any) -> None:
        """From the listener."""
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.fail(PROTOCOL_ERROR, "reserved bits")
        elif (opcode := int(frame.msg_type)) == CLOSE:
            self._answer_close(frame)
        else:
            self.take(opcode, frame.get_payload_as_bytes(), frame.fin)

    def _answer_close(self, frame: Any) -> None:
        payload = frame.get_payload_as_bytes()
        self.peer_code = int.from_bytes(payload[:2]) if payload else 1005
        if self.state == OPEN:
            # Its own `send_close` would send code 0 where there is none.
            self.outbound.write(control_frame(CLOSE, payload))
        self.closes(CLOSED)

    def send(self, payload: bytes, *, is_binary: bool) -> None:
        kinds = picows.WSMsgType
        self._ws.send(kinds.BINARY if is_binary else kinds.TEXT, payload)

    def say_close(self, code: int, reason: str) -> None:
        self._ws.send_close(code, reason.encode())

    def fail(self, code: int, reason: str) -> None:
        if self.state in (OPEN, CLOSING):
            self._ws.send_close(code, reason.encode())
            self.closes(CLOSED)
