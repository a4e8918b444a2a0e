"""What a connection reads, handed on in the turn of the loop in which it comes.

A stream's reader is a task: it wakes up a turn later, which costs as much again as what it does
with a short answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

READ: Final = 64 * 1024
"""Bytes that are handed on before other work of the loop gets its turn."""


class Tap(asyncio.Protocol):
    """Takes the place of the reader of a stream, from which nothing is read any more.

    `heard`: gets each piece; what it raises ends the connection. `ended`: done when the connection
    is, with the error if there was one.
    """

    def __init__(self, writer: asyncio.StreamWriter, heard: Callable[[bytes], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = heard
        self._rest = b""
        # Both directions in one, which the type of a writer's does not say.
        self._transport = cast(asyncio.Transport, writer.transport)
        self._stream: Any = self._transport.get_protocol()  # the writer's, which waits for space
        self._transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        if self._rest or len(data) > READ:
            self._rest += data
            self._transport.pause_reading()
            self._next_piece()
        else:
            self._hand_on(data)

    def _next_piece(self) -> None:
        if self._transport.is_closing():
            return
        piece, self._rest = self._rest[:READ], self._rest[READ:]
        self._hand_on(piece)
        if self._rest:
            asyncio.get_running_loop().call_soon(self._next_piece)
        else:
            self._transport.resume_reading()

    def _hand_on(self, piece: bytes) -> None:
        try:
            self._heard(piece)
        except Exception as error:
            self._end(error)
            self._transport.abort()

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._stream.connection_lost(error)
        self._end(error)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
