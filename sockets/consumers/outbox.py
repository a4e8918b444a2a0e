"""The outbox on any ASGI server: a bounded queue and one task, so that order holds.

A task per message would break it: on uvicorn a reply overtook 101 messages
(why-our-own-server.md section 2).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write, cut_reason

logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]


def _nothing() -> None:
    """Take the place of a callback that refers to its owner and is not called any more."""


class PumpOutbox:
    """Bounded by `limit` bytes and one frame.

    `on_give_up` is called when the consumer has not ended `close_timeout` seconds after `close`, or
    after the server's `send` failed: there is no transport to abort, so the consumer is ended.
    """

    def __init__(
        self, send: Send, *, limit: int, close_timeout: float, on_give_up: Callable[[], None]
    ) -> None:
        self.on_drain: Callable[[], None] | None = None
        self.on_stall: Callable[[], None] | None = None
        self.on_pong: Callable[[], bool] | None = None
        self._send = send
        self._limit = limit
        self._close_timeout = close_timeout
        self._on_give_up = on_give_up
        self._queue: deque[Frame | dict[str, Any]] = deque()
        self._waiting = 0
        self._drained = 0
        self._refused = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._pump: asyncio.Task[None] | None = self._loop.create_task(self._run())

    def write(self, frame: Frame) -> Write:
        if self._closed:
            return Write.CLOSED
        if self._waiting > self._limit:
            self._refused = True
            return Write.FULL
        was_empty = not self._waiting
        self._queue.append(frame)
        self._waiting += len(frame)
        self._wake.set()
        if was_empty and self.on_stall is not None:
            self.on_stall()
        return Write.OK

    def close(self, code: int, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._queue.append(
                {"type": "websocket.close", "code": int(code), "reason": cut_reason(reason)}
            )
            self._wake.set()
            self._give_up_later()

    def abort(self) -> None:
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
        self._on_give_up()

    def _give_up_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._close_timeout, self.abort)

    def flow(self) -> tuple[int, int]:
        return self._waiting, self._drained

    async def finish(self) -> None:
        """The consumer ends: no more frames, no task left."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        pump, self._pump = self._pump, None
        self._on_give_up = _nothing
        if pump is not None:
            pump.cancel()
            await asyncio.wait({pump})
        self._after_drain()

    async def _run(self) -> None:
        while True:
            while self._queue:
                item = self._queue[0]
                if isinstance(item, Frame):
                    if not await self._take({"type": "websocket.send", "text": item.text}):
                        return
                    self._waiting -= len(item)
                    self._drained += len(item)
                    self._queue.popleft()
                else:
                    await self._take(item)
                    return
            self._wake.clear()  # before `on_drain`, which may write at once
            self._after_drain()
            await self._wake.wait()

    async def _take(self, message: dict[str, Any]) -> bool:
        try:
            await self._send(message)
        except Exception as error:
            # Each server has its own way to say that the peer is gone; `receive` shows it on all.
            logger.debug("the server did not take a frame: %r", error)
            self._closed = True
            self._after_drain()
            self._give_up_later()
            return False
        return True

    def _after_drain(self) -> None:
        if self._refused:
            self._refused = False
            if self.on_drain is not None:
                self.on_drain()
