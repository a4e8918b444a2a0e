"""One connection that many calls share: each is written at once, and answered in its turn.

redis-py takes a connection out of a pool for each command and waits for the answer: a tenth of a
millisecond of CPU. The calls of one turn of the loop share a write here, and their answers a read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Final

from redis.backoff import AbstractBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from sockets.base import metrics
from sockets.redis.errors import NotConnected, perhaps_done
from sockets.redis.links import WRONG_SERVER, Linked
from sockets.redis.pools import Pool
from sockets.redis.tap import Tap

FULL: Final = 1024 * 1024
"""Bytes that wait to be written until callers wait as well."""

SOONEST: Final = 0.001
"""Seconds until the next look at the oldest call, at least: the loop's clock is no finer."""


CLOSED: Final = "the client was closed"
LATE: Final = "Redis did not answer in time"


class Multiplexed:
    """Calls over one connection of a pool, made when it is first needed. Of one event loop.

    `timeout`: seconds for an answer. `retries`, `backoff`: of a call whose connection was cut.
    """

    def __init__(
        self, pool: Pool, *, timeout: float, retries: int, backoff: AbstractBackoff
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._retries = retries
        self._backoff = backoff
        self._line: _Line | None = None
        self._attempt: asyncio.Task[_Line] | None = None  # to connect
        self._closed = False

    async def ask(self, words: tuple[Any, ...]) -> Any:
        """Return the answer to a command. Raises what redis-py raises."""
        failures = 0
        while True:
            line = self._line
            if line is None or line.is_over:
                line = await self._connected()
            try:
                return await line.ask(words)
            except ConnectionError:
                failures += 1
                if failures > self._retries or self._closed:
                    raise
            await asyncio.sleep(self._backoff.compute(failures))

    async def _connected(self) -> _Line:
        """Wait for the attempt that is under way, or a new one: where it fails, it fails all who
        wait, or each would wait for all before it."""
        if self._closed:
            raise NotConnected(CLOSED)
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_task(self._connect())
            self._attempt.add_done_callback(self._attempted)
        attempt = self._attempt
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if attempt.cancelled():  # by `close`, and not whoever asks
                raise NotConnected(CLOSED) from None
            raise

    async def _connect(self) -> _Line:
        line, self._line = self._line, None
        if line is not None:
            line.retire()
        connection = await self._pool.get_connection()
        line = self._line = _Line(self._pool, connection, self._timeout)
        return line

    def _attempted(self, attempt: asyncio.Task[_Line]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # all who waited may have gone

    async def close(self) -> None:
        """Close the connection for good; who waits for an answer gets an error."""
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait({self._attempt})
        line, self._line = self._line, None
        if line is not None:
            line.retire()
            line.cut(ConnectionError(CLOSED))
            await line.closed()


class _Line:
    """The connection while it is up."""

    def __init__(self, pool: Pool, connection: Linked, timeout: float) -> None:
        self._pool = pool
        self._connection = connection
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._writer, self._parser = connection.taken_over()
        self._tap = Tap(self._writer, self._heard)
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._unwritten: list[bytes] = []  # until the end of this turn of the loop
        self._retired = False
        self._error: Exception | None = None  # why it was cut
        self._task = self._loop.create_task(self._run())

    @property
    def is_over(self) -> bool:
        """Whether the next call has to go over another connection."""
        return self._retired or self._error is not None or self._connection.is_over()

    async def ask(self, words: tuple[Any, ...]) -> Any:
        """Return the answer to a command."""
        if self._error is not None or self._writer.transport.is_closing():
            # uvloop's transport would raise something else.
            raise ConnectionError("the connection was closed before the command was written")
        self._connection.used()
        packed = self._connection.pack_command(*words)
        answer: asyncio.Future[Any] = self._loop.create_future()
        # Not by the loop's clock: uvloop's knows whole milliseconds, and a call takes less.
        self._waiting.append((time.monotonic(), answer))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look)
        if not self._unwritten:
            self._loop.call_soon(self._write)
        self._unwritten += packed
        try:
            if self._writer.transport.get_write_buffer_size() > FULL:
                await self._space()
            return await answer
        except BaseException as error:
            # No answer of the server's: it was cut, or whoever asked was cancelled.
            if self._error is not None or not isinstance(error, RedisError):
                perhaps_done()
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # it waited for space: nobody asks for the answer any more
            raise

    async def _space(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            raise self._error or ConnectionError(str(error)) from error

    def _write(self) -> None:
        """Write what the calls of a turn have left, in one piece."""
        unwritten, self._unwritten = self._unwritten, []
        if self._writer.transport.is_closing():
            self.cut(ConnectionError("the connection was closed before the command was written"))
        elif self._error is None:
            self._writer.write(b"".join(unwritten))

    def retire(self) -> None:
        """Close the connection as soon as all have their answers."""
        self._retired = True
        if not self._waiting:
            self.cut(ConnectionError("the connection is not used any more"))

    def cut(self, error: Exception) -> None:
        """Close the connection now: who waits gets the error."""
        if self._error is None:
            self._task.cancel()
            self._end(error)

    def _end(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            # Not closed: what is not written yet would be waited for, by whoever waits for space.
            self._writer.transport.abort()
            now = time.monotonic()
            for asked, answer in self._waiting:
                metrics.redis_call.observe(now - asked)
                if answer.done():
                    continue
                is_late = now - asked >= self._timeout
                answer.set_exception(TimeoutError(LATE) if is_late else error)
            self._waiting.clear()

    async def closed(self) -> None:
        """Wait until the connection is back in the pool."""
        await asyncio.wait({self._task})

    def _look(self) -> None:
        """Whether the oldest call waits for too long."""
        self._timer = None
        if not self._waiting:
            return
        left = self._waiting[0][0] + self._timeout - time.monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        # The others may be repeated, over another connection.
        self.cut(ConnectionError("Redis did not answer another call in time"))

    async def _run(self) -> None:
        try:
            await self._tap.ended
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self._end(ConnectionError(str(error)))
        else:
            self._end(ConnectionError("Redis closed the connection"))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await self._connection.disconnect(nowait=True)
            await self._pool.release(self._connection)

    def _heard(self, data: bytes) -> None:
        self._parser.feed(data)
        now = time.monotonic()
        while (reply := self._parser.gets()) is not False:
            asked, answer = self._waiting.popleft()
            metrics.redis_call.observe(now - asked)
            if isinstance(reply, WRONG_SERVER):
                self._connection.leave(type(reply).__name__)
            if answer.done():
                continue  # nobody waits for it any more
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)
        if self._retired and not self._waiting:
            self.cut(ConnectionError("the connection is not used any more"))
