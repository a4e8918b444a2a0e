"""The connections of the Redis layer to one host: one to listen, one to publish, and a watch.

Each is made again for ever; the watch finds those that are half open. redis-py connects (TLS,
authentication, Sentinel); from then on hiredis reads many messages at a time, and commands are
written in batches, without a round trip for each.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import hiredis
from redis.exceptions import RedisError

from sockets import metrics
from sockets.exceptions import GatewayUnavailable
from sockets.redis import close_sentinels

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 2.0
"""Seconds for one attempt, and that a message waits for a connection."""

PUBLISH_TIMEOUT = 5.0
"""Seconds that Redis gets to confirm a message."""

BACKOFF = (0.05, 1.0)
"""Seconds between two attempts, the first and at most; each is shortened at random."""

MAX_PUBLISHING = 10_000
"""Messages on their way to one host; more are refused."""

MAX_PUBLISHING_BYTES = 16 * 1024 * 1024

READ = 64 * 1024
"""Bytes of one read: what is handled before other work of the loop gets its turn."""

SUBSCRIBE_BATCH = 1_000
"""Channels in one SUBSCRIBE after a reconnection."""


class Line:
    """One connection. `on_up`, `on_reply` and `on_down` must not await.

    `down_because`: why the last attempt failed; None before the first, and while it is up.
    """

    def __init__(
        self,
        pool: Any,
        name: str,
        *,
        on_up: Callable[[], None],
        on_reply: Callable[[Any], None],
        on_down: Callable[[str], None],
    ) -> None:
        self.up = False
        self.down_because: str | None = None
        self.down_at = 0.0
        self.heard_at = 0.0
        self._pool = pool
        self._name = name
        self._on_up = on_up
        self._on_reply = on_reply
        self._on_down = on_down
        self._writer: asyncio.StreamWriter | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def patience(self) -> float:
        """Seconds that waiting for a connection is worth it: none when it has been away long."""
        if self.down_because is None:
            return CONNECT_TIMEOUT
        return max(0.0, self.down_at + CONNECT_TIMEOUT - asyncio.get_running_loop().time())

    def write(self, data: bytes) -> None:
        """Only while it is up."""
        assert self._writer is not None
        self._writer.write(data)

    def drop(self, why: str) -> None:
        """Cut the connection; another one follows."""
        if self._writer is not None:
            logger.warning("Redis, %s: %s; connecting again", self._name, why)
            self._writer.transport.abort()

    async def close(self) -> None:
        """For good."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        delay, longest = BACKOFF
        while True:
            why = "Redis closed the connection"
            try:
                await self._serve()
            except (RedisError, OSError, TimeoutError, hiredis.ProtocolError) as error:
                why = f"{type(error).__name__}: {error}".rstrip(": ")
            if self.down_because is None:
                logger.warning("Redis, %s: %s; trying on", self._name, why)
                self.down_at = asyncio.get_running_loop().time()
                delay = BACKOFF[0]
            self.down_because = why
            self._on_down(why)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, longest)

    async def _serve(self) -> None:
        connection = self._pool.make_connection()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()
            reader, self._writer = connection._reader, connection._writer
            parser = hiredis.Reader()
            if self.down_because is not None:
                metrics.LAYER_RECONNECTS.inc()
                logger.info("Redis, %s: connected again", self._name)
            self.up, self.down_because = True, None
            self._on_up()
            while data := await reader.read(READ):
                self.heard_at = asyncio.get_running_loop().time()
                parser.feed(data)
                while (reply := parser.gets()) is not False:
                    self._on_reply(reply)
        finally:
            self.up = False
            self._writer = None
            await connection.disconnect(nowait=True)


class Publisher:
    """Publishes what one turn of the loop brings in one write. Belongs to one event loop."""

    def __init__(self, pool: Any) -> None:
        self._queued: deque[tuple[bytes, asyncio.Future[None], float]] = deque()
        self._sent: deque[tuple[int, asyncio.Future[None], float]] = deque()
        self._bytes = 0
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        self.line = Line(
            pool, "publishing", on_up=self._flush, on_reply=self._on_reply, on_down=self._on_down
        )

    def publish(self, channel: str, data: bytes) -> asyncio.Future[None]:
        """Done when Redis has it; fails with GatewayUnavailable. Raises that if it cannot begin."""
        line, now = self.line, self._loop.time()
        if not line.up and not line.patience():
            raise GatewayUnavailable(f"Redis cannot be reached ({line.down_because})")
        command = pack(b"PUBLISH", channel.encode(), data)
        if (
            len(self._queued) + len(self._sent) >= MAX_PUBLISHING
            or self._bytes + len(command) > MAX_PUBLISHING_BYTES
        ):
            raise GatewayUnavailable("Redis is too slow for what is published")
        future = self._loop.create_future()
        self._queued.append((command, future, now))
        self._bytes += len(command)
        if line.up and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return future

    def check(self, now: float) -> None:
        """Give up what takes too long."""
        if self._queued and now - self._queued[0][2] > CONNECT_TIMEOUT and not self.line.up:
            self._fail_queued()
        if self._sent and now - self._sent[0][2] > PUBLISH_TIMEOUT:
            self.line.drop("no answer to a message")

    def _flush(self) -> None:
        self._scheduled = False
        if not self.line.up or not self._queued:
            return
        now = self._loop.time()
        self.line.write(b"".join(command for command, _, _ in self._queued))
        self._sent.extend((len(command), future, now) for command, future, _ in self._queued)
        self._queued.clear()

    def _on_reply(self, reply: Any) -> None:
        size, future, _ = self._sent.popleft()
        self._bytes -= size
        if future.done():
            return  # its caller has gone
        if isinstance(reply, hiredis.ReplyError):
            metrics.LAYER_UNSENT.inc()
            future.set_exception(GatewayUnavailable(f"Redis refuses: {reply}"))
        else:
            future.set_result(None)

    def _on_down(self, why: str) -> None:
        while self._sent:
            size, future, _ = self._sent.popleft()
            self._bytes -= size
            _fail(future, GatewayUnavailable(f"Redis went away ({why})", outcome="unknown"))

    def _fail_queued(self) -> None:
        why = self.line.down_because or "no connection yet"
        while self._queued:
            command, future, _ = self._queued.popleft()
            self._bytes -= len(command)
            _fail(future, GatewayUnavailable(f"Redis cannot be reached ({why})"))

    async def close(self) -> None:
        """For good."""
        await self.line.close()
        self._on_down("closed")
        self._fail_queued()


def _fail(future: asyncio.Future[None], error: GatewayUnavailable) -> None:
    metrics.LAYER_UNSENT.inc()
    if not future.done():
        future.set_exception(error)


class Subscriber:
    """Listens to channels, one SUBSCRIBE each, and to all of them again after a reconnection.

    `on_ready`: all channels are confirmed, at first (False) or again (True: some messages may have
    been lost).
    """

    def __init__(
        self,
        pool: Any,
        on_message: Callable[[str, bytes], None],
        on_ready: Callable[[bool], None],
    ) -> None:
        self._wanted: dict[str, bool] = {}  # whether it is in force
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._unconfirmed: Counter[str] = Counter()  # SUBSCRIBEs on their way
        self._restoring: set[str] = set()
        self._is_first = True
        self._on_message = on_message
        self._on_ready = on_ready
        self.line = Line(
            pool, "listening", on_up=self._on_up, on_reply=self._on_reply, on_down=self._on_down
        )

    @property
    def ready(self) -> bool:
        """Whether every channel that is wanted is listened to, apart from the newest."""
        return self.line.up and not self._restoring

    def subscribe(self, channel: str) -> asyncio.Future[None] | None:
        """Listen. None: that is so already; else done when Redis has confirmed it."""
        if self._wanted.get(channel):
            return None
        if channel not in self._wanted:
            self._wanted[channel] = False
            self._waiting[channel] = asyncio.get_running_loop().create_future()
            if self.line.up:
                self._send([channel])
        return self._waiting[channel]

    def wants(self, channel: str) -> bool:
        """Whether it is subscribed to, or will be as soon as Redis is there."""
        return channel in self._wanted

    def unsubscribe(self, channel: str) -> None:
        """Listen no more; those who still wait for a confirmation wait no longer."""
        if self._wanted.pop(channel, None) is None:
            return
        self._confirm(channel)
        self._restored(channel)
        if self.line.up:
            self.line.write(pack(b"UNSUBSCRIBE", channel.encode()))

    def ping(self) -> None:
        """Make Redis say something, whatever happens on the channels."""
        if self.line.up:
            self.line.write(pack(b"PING"))

    async def close(self) -> None:
        """For good."""
        await self.line.close()
        for channel in list(self._waiting):
            self._confirm(channel)
        self._wanted.clear()

    def _send(self, channels: list[str]) -> None:
        self._unconfirmed.update(channels)
        self.line.write(pack(b"SUBSCRIBE", *(channel.encode() for channel in channels)))

    def _on_up(self) -> None:
        self._unconfirmed.clear()
        channels = list(self._wanted)
        self._restoring = set(channels)
        for start in range(0, len(channels), SUBSCRIBE_BATCH):
            self._send(channels[start : start + SUBSCRIBE_BATCH])
        if not channels:
            self._all_restored()

    def _on_down(self, _: str) -> None:
        self._restoring.clear()
        for channel in self._wanted:
            if self._wanted[channel]:
                self._wanted[channel] = False
                self._waiting[channel] = asyncio.get_running_loop().create_future()

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self.line.drop(f"Redis refuses: {reply}")
            return
        kind = reply[0]
        if kind == b"message":
            self._on_message(reply[1].decode(), reply[2])
        elif kind == b"subscribe":
            channel = reply[1].decode()
            self._unconfirmed[channel] -= 1
            # Joined, left, joined again: the last confirmation counts.
            if self._unconfirmed[channel] <= 0:
                del self._unconfirmed[channel]
                if channel in self._wanted:
                    self._wanted[channel] = True
                    self._confirm(channel)
                self._restored(channel)

    def _confirm(self, channel: str) -> None:
        future = self._waiting.pop(channel, None)
        if future is not None and not future.done():
            future.set_result(None)

    def _restored(self, channel: str) -> None:
        if self._restoring:
            self._restoring.discard(channel)
            if not self._restoring:
                self._all_restored()

    def _all_restored(self) -> None:
        again, self._is_first = not self._is_first, False
        if again:
            metrics.LAYER_GAPS.inc()
        self._on_ready(again)


class Link:
    """Both lines to one host, and the watch over them.

    Every `interval` seconds the listening line is pinged, and a canary goes through the bus: a
    message to this process itself. A line that says nothing for `timeout` seconds is half open.
    """

    def __init__(
        self,
        pool: Any,
        prefix: str,
        *,
        on_message: Callable[[str, bytes], None],
        on_ready: Callable[[bool], None],
        interval: float,
        timeout: float,
    ) -> None:
        self._pool = pool
        self._canary = f"{prefix}__canary__{secrets.token_hex(8)}"
        self._asked_at: float | None = None
        self._sung_at: float | None = None
        self._song: asyncio.Future[None] | None = None
        self._heard_canary = False
        self._deliver = on_message
        self._interval = interval
        self._timeout = timeout
        self.publisher = Publisher(pool)
        self.subscriber = Subscriber(pool, self._on_message, on_ready)
        self.subscriber.subscribe(self._canary)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def _on_message(self, channel: str, data: bytes) -> None:
        if channel == self._canary:
            self._heard_canary = True
        else:
            self._deliver(channel, data)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        tick = min(self._interval, self._timeout) / 4
        while True:
            before = loop.time()
            await asyncio.sleep(tick)
            now = loop.time()
            if now - before > tick + self._timeout / 2:
                # It was this process that was away: what has arrived meanwhile is not read yet.
                self._asked_at = self._sung_at = None
                continue
            self.publisher.check(now)
            if self.subscriber.ready:
                self._look_at_listening(now)
                self._look_at_canary(now)
            else:
                self._asked_at = self._sung_at = None

    def _look_at_listening(self, now: float) -> None:
        line, asked_at = self.subscriber.line, self._asked_at
        if asked_at is None or (line.heard_at >= asked_at and now - asked_at >= self._interval):
            self._asked_at = now
            self.subscriber.ping()
        elif line.heard_at < asked_at and now - asked_at >= self._timeout:
            self._asked_at = None
            line.drop("it says nothing")

    def _look_at_canary(self, now: float) -> None:
        line, sung_at = self.publisher.line, self._sung_at
        if sung_at is None or (self._heard_canary and now - sung_at >= self._interval):
            self._sung_at = now
            self._heard_canary = False
            self._song = self._sing()
        elif self._song is not None and not self._song.done() and now - sung_at >= self._timeout:
            self._sung_at = None
            line.drop("it says nothing")
        elif not self._heard_canary and now - sung_at >= 3 * self._timeout:
            # Both lines live, but what is published does not come: are they on two servers?
            self._sung_at = None
            for one in (line, self.subscriber.line):
                one.drop("messages do not come through")

    def _sing(self) -> asyncio.Future[None] | None:
        try:
            song = self.publisher.publish(self._canary, b"")
        except GatewayUnavailable:
            return None
        song.add_done_callback(_seen)
        return song

    async def close(self) -> None:
        """For good."""
        self._watching.cancel()
        await asyncio.wait({self._watching})
        await self.subscriber.close()
        await self.publisher.close()
        await close_sentinels(self._pool)


def _seen(future: asyncio.Future[None]) -> None:
    """Nobody waits for the canary: what became of it is no news."""
    with suppress(asyncio.CancelledError):
        future.exception()


def pack(*words: bytes) -> bytes:
    """A command in RESP."""
    return b"".join(_packed(words))


def _packed(words: tuple[bytes, ...]) -> Iterable[bytes]:
    yield b"*%d\r\n" % len(words)
    for word in words:
        yield b"$%d\r\n" % len(word)
        yield word
        yield b"\r\n"
