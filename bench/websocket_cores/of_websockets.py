"""The sans-I/O core of `websockets`: public and documented, pure Python but for the mask."""

from __future__ import annotations

import logging
from typing import Any

from websockets.exceptions import ProtocolError
from websockets.frames import Frame
from websockets.protocol import SERVER, Protocol, State

from bench.websocket_cores.handshake import Fields, accepted
from bench.websocket_cores.socket import CLOSED, CLOSING, OPEN, PONG, CoreSocket

_LOGGER = logging.getLogger("bench.websockets")
_PONG = 0x80 | PONG


class WebsocketsSocket(CoreSocket):
    """A socket whose frames `websockets.protocol.Protocol` takes apart."""

    __slots__ = ("_core",)

    def __init__(self, server: Any, transport: Any, key: bytes) -> None:
        super().__init__(server, transport, key)
        self._core = Protocol(SERVER, max_size=self.conf.max_frame_size, logger=_LOGGER)

    def open(self, fields: Fields) -> None:
        self.outbound.write(accepted(self.key, fields))

    def parse(self, data: bytes) -> None:
        core = self._core
        core.receive_data(data)
        for frame in core.events_received():
            if isinstance(frame, Frame):
                self.take(frame.opcode, bytes(frame.data), frame.fin)
        if core.close_rcvd is not None:
            self.peer_code = core.close_rcvd.code
        self._flush()

    def send(self, payload: bytes, *, is_binary: bool) -> None:
        send = self._core.send_binary if is_binary else self._core.send_text
        send(payload)
        self._flush()

    def say_close(self, code: int, reason: str) -> None:
        try:
            self._core.send_close(code, reason)
        except ProtocolError:  # a code that RFC 6455 does not know
            self._core.send_close(1000, reason)
        self._flush()

    def fail(self, code: int, reason: str) -> None:
        self._core.fail(code, reason)
        self._flush()

    def _flush(self) -> None:
        for data in self._core.data_to_send():
            if not data:
                self.closes(CLOSED)
            elif data[0] != _PONG:  # it answers every ping at once, and we do not
                self.outbound.write_frame(data)
        if self.state == OPEN and self._core.state is not State.OPEN:
            self.closes(CLOSING)
