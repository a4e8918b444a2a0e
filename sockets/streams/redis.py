"""Streams in Redis: one script a call, so that each happens whole or not at all.

`StreamCalls` knows the calls and their answers; the two classes below carry them out, one on an
event loop, one for threads. A call that was cut off is repeated by the client: the message's own
id makes that harmless.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from sockets.redis import Call, Keys, Script, batches, translated
from sockets.streams.base import PAGE_BYTES, Appended, NewEntry
from sockets.types import Entry, Page, Position

Publish = Callable[[str, NewEntry], tuple[str, bytes]]
"""For a user's new entry: the channel to publish to, and the start of the message in MessagePack;
the script adds the members `epoch` and `offset`, which the map's header must announce."""

_APPEND = Script(__package__, "record", "append")
_READ = Script(__package__, "record", "read")


class StreamCalls:
    """`size`, `ttl`, `record_ttl`, `idempotency_ttl`: as of MemoryStreams.

    `durable`: the server never loses what it has acknowledged (REDIS_DURABILITY=always); else a
    server with another run id has forgotten something, and every stream begins a new epoch there.
    `publish`: where layer and streams share a server, None elsewhere. `clock`: for tests; None:
    Redis' own.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        size: int,
        ttl: float,
        record_ttl: float,
        idempotency_ttl: float,
        durable: bool = False,
        publish: Publish | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._keys = keys
        self._idempotency_ttl = idempotency_ttl
        self._publish = publish
        self._clock = clock
        self._settings = ("0" if durable else "1", record_ttl, size, ttl)

    def append(self, user: str, entry: NewEntry) -> Call:
        """A call of append.lua."""
        keys = [*self._record_keys(user), self._keys.user(user, "sessions")]
        keys.append(self._keys.receipt(user, entry.id))
        if entry.own_key is not None:
            keys.append(self._keys.own_receipt(user, entry.own_key))
            keys.append(self._keys.receipt(user, entry.idempotency_key or entry.own_key))
        elif entry.idempotency_key is not None and entry.idempotency_key != entry.id:
            keys.append(self._keys.receipt(user, entry.idempotency_key))
        extra = {"collapse_key": entry.collapse_key, "exclude_client": entry.exclude_client}
        given = {name: value for name, value in extra.items() if value is not None}
        return keys, [
            *self._record_args(),
            entry.id,
            entry.body,
            b"," + msgspec.json.encode(given)[1:-1] if given else b"",
            entry.collapse_key or "",
            "" if entry.ttl is None else entry.ttl,
            self._idempotency_ttl,
            *(self._publish(user, entry) if self._publish else ("", "")),
        ]

    def appended(self, answer: list[Any]) -> Appended:
        """What append.lua answered."""
        id, epoch, offset, duplicate, reach = answer
        position = Position(epoch.decode(), offset)
        return Appended(id.decode(), position, bool(duplicate), bool(self._publish), reach)

    def read(self, user: str, after: Position | None, limit: int) -> Call:
        """A call of read.lua."""
        epoch, offset = (after.epoch, after.offset) if after else ("", 0)
        return self._record_keys(user), [*self._record_args(), epoch, offset, limit, PAGE_BYTES]

    @staticmethod
    def page(answer: list[Any]) -> Page:
        """What read.lua answered."""
        epoch, head, floor, missing, *found = answer
        pairs = zip(found[::2], found[1::2], strict=True)
        entries = tuple(_entry(int(offset), member) for member, offset in pairs)
        return Page(epoch.decode(), head, floor, entries, missing)

    def _record_keys(self, user: str) -> list[str]:
        return [self._keys.user(user, n) for n in ("meta", "stream", "collapse", "expiring")]

    def _record_args(self) -> list[Any]:
        now = "" if self._clock is None else repr(self._clock())
        return [now, secrets.token_hex(8), *self._settings]


class RedisStreams:
    """The stream interface on Redis. Belongs to one event loop."""

    def __init__(self, client: Redis, calls: StreamCalls) -> None:
        self._client = client
        self._calls = calls

    async def append(self, user: str, entry: NewEntry) -> Appended:
        with translated(entry.id, writes=True):
            answer = await _APPEND.run(self._client, self._calls.append(user, entry))
        return self._calls.appended(answer)

    async def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        done: list[Appended] = []
        for some in batches(entries):
            calls = [self._calls.append(user, entry) for user, entry in some]
            with translated(some[0][1].id, writes=True):
                answers = await _APPEND.run_many(self._client, calls)
            done += map(self._calls.appended, answers)
        return done

    async def head(self, user: str) -> Position:
        page = await self.read(user, None, 0)
        return Position(page.epoch, page.head)

    async def heads(self, users: Iterable[str]) -> dict[str, Position]:
        heads: dict[str, Position] = {}
        for some in batches(list(dict.fromkeys(users))):
            with translated():
                answers = await _READ.run_many(
                    self._client, [self._calls.read(user, None, 0) for user in some]
                )
            for user, page in zip(some, map(self._calls.page, answers), strict=True):
                heads[user] = Position(page.epoch, page.head)
        return heads

    async def read(self, user: str, after: Position | None, limit: int) -> Page:
        with translated():
            answer = await _READ.run(self._client, self._calls.read(user, after, limit))
        return self._calls.page(answer)


class SyncRedisStreams:
    """The part of the interface that Django code needs, for threads; forks are safe too."""

    def __init__(self, client: SyncRedis, calls: StreamCalls) -> None:
        self._client = client
        self._calls = calls

    def append(self, user: str, entry: NewEntry) -> Appended:
        """As of RedisStreams."""
        with translated(entry.id, writes=True):
            answer = _APPEND.run_sync(self._client, self._calls.append(user, entry))
        return self._calls.appended(answer)

    def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        """As of RedisStreams."""
        done: list[Appended] = []
        for some in batches(entries):
            calls = [self._calls.append(user, entry) for user, entry in some]
            with translated(some[0][1].id, writes=True):
                done += map(self._calls.appended, _APPEND.run_many_sync(self._client, calls))
        return done

    def head(self, user: str) -> Position:
        """As of RedisStreams."""
        with translated():
            answer = _READ.run_sync(self._client, self._calls.read(user, None, 0))
        page = self._calls.page(answer)
        return Position(page.epoch, page.head)


def _entry(offset: int, member: bytes) -> Entry:
    """The body is the first `size` bytes of the stored object, with a closing brace."""
    size = int(member[member.rindex(b":") + 1 : -1])
    body, rest = member[: size - 1] + b"}", member[size:]
    exclude = None
    if not rest.startswith(b'"offset":'):
        exclude = msgspec.json.decode(b"{" + rest).get("exclude_client")
    return Entry(offset, body, exclude)
