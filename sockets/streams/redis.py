"""Streams in Redis: one script a call, so that each happens whole or not at all.

`StreamCalls` knows the calls and their answers; the two classes below carry them out, one on an
event loop, one for threads. A call that was cut off is repeated by the client: the message's own
id makes that harmless.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sockets.deliveries import Fate, MessageFacts
from sockets.layers.groups import user_group
from sockets.layers.wire import Wire, layer_message
from sockets.redis import (
    AT_ONCE,
    Call,
    Keys,
    Script,
    batches,
    is_cluster,
    is_of_its_keys,
    translated,
)
from sockets.streams.base import (
    ASKED_TTL,
    MAX_REPLACED,
    PAGE_BYTES,
    Appended,
    Found,
    NewEntry,
)
from sockets.streams.facts import facts_of, facts_of_missing
from sockets.streams.known import Known, KnownPositions, mark_of, newest
from sockets.types import Entry, Page, Position

logger = logging.getLogger(__name__)

_APPEND = Script(__package__, "record", "append")
_LOOK = Script(__package__, "record", "page", "look", asks=True)
_FOLLOW = Script(__package__, "record", "page", "follow", asks=True)
_HEAD = Script(__package__, "record", "head", asks=True)
_FIND = Script(__package__, "record", "find", asks=True)
_ERASE = Script(__package__, "erase")
_COMPARE = Script(__package__, "compare", asks=True)

LOOKED_AT = 50
"""Entries that one call looks through for a message."""

OPENED_ANYWAY = 1 / 30
"""How many of those streams are opened in which nothing has changed: that removes what is over."""


class StreamCalls:
    """Makes the calls of the scripts, and reads their answers.

    `size`, `ttl`, `record_ttl`, `idempotency_ttl`: as of MemoryStreams.

    `durable`: the server never loses what it has acknowledged (REDIS_DURABILITY=always); else a
    server with another run id has forgotten something, and every stream begins a new epoch there.
    `wire`: of the layer where it shares its server with the streams, so that one script appends and
    publishes; None elsewhere. `clock`: for tests; None:
    Redis' own. `known`: the newest positions that this process knows; each script is given them.
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
        wire: Wire | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._keys = keys
        self._idempotency_ttl = idempotency_ttl
        self._wire = wire
        self._clock = clock
        self._settings = ("0" if durable else "1", record_ttl, size, ttl)
        self.known = KnownPositions()

    def append(self, user: str, entry: NewEntry) -> Call:
        """Return a call of append.lua."""
        keys = [*self._record_keys(user), self._keys.user(user, "sessions")]
        keys.append(self._keys.receipt(user, entry.id))
        if entry.own_key is not None:
            keys.append(self._keys.own_receipt(user, entry.own_key))
            keys.append(self._keys.receipt(user, entry.idempotency_key or entry.own_key))
        elif entry.idempotency_key is not None and entry.idempotency_key != entry.id:
            keys.append(self._keys.receipt(user, entry.idempotency_key))
        extra = {
            "collapse_key": entry.collapse_key,
            "exclude_client": entry.exclude_client,
            "idempotency_key": entry.caller_key,
        }
        given = {name: value for name, value in extra.items() if value is not None}
        return keys, [
            *self._record_args(self.known.get(user)),
            entry.id,
            entry.body,
            b"," + msgspec.json.encode(given)[1:-1] if given else b"",
            entry.collapse_key or "",
            "" if entry.ttl is None else entry.ttl,
            self._idempotency_ttl,
            *self._publication(user, entry),
            MAX_REPLACED,
        ]

    def _publication(self, user: str, entry: NewEntry) -> tuple[str, bytes]:
        """Return the channel to publish to ("": none), and the start of the layer message.

        The script adds the members `epoch` and `offset`, as the map's header announces.
        """
        if self._wire is None:
            return "", b""
        message = layer_message(entry.event, entry.body, exclude_client=entry.exclude_client)
        return self._wire.group_channel(user_group(user)), self._wire.encode_head(message)

    def appended(self, user: str, entry: NewEntry, answer: list[Any]) -> Appended:
        """Return what an answer of append.lua means; what it tells of the stream is remembered."""
        id, epoch, offset, duplicate, reach, published = answer
        position = Position(epoch.decode(), offset)
        self.known.note(user, Known(position, b"" if duplicate else mark_of(entry.body)))
        sent = bool(self._wire and published)
        return Appended(id.decode(), position, bool(duplicate), sent, reach)

    def look(self, user: str, after: Position | None, limit: int) -> Call:
        """Return a call of look.lua."""
        return self._page_call(user, after, limit, None)

    def follow(
        self, user: str, after: Position | None = None, limit: int = 0, known: Known | None = None
    ) -> Call:
        """Return a call of follow.lua."""
        return self._page_call(user, after, limit, newest(known, self.known.get(user)))

    def _page_call(
        self, user: str, after: Position | None, limit: int, known: Known | None
    ) -> Call:
        epoch, offset = (after.epoch, after.offset) if after else ("", 0)
        args = [*self._record_args(known), epoch, offset, limit, PAGE_BYTES]
        return self._record_keys(user), args

    @staticmethod
    def page(answer: list[Any]) -> Page:
        """Return the page in an answer of look.lua or follow.lua; `left` remembers the last."""
        epoch, head, floor, missing, newest, *found = answer
        pairs = zip(found[::2], found[1::2], strict=True)
        entries = tuple(_entry(int(offset), member) for member, offset in pairs)
        return Page(epoch.decode(), head, floor, entries, missing, newest)

    def compare(self, known: Sequence[tuple[str, Known]]) -> Call:
        """Return a call of compare.lua."""
        now = "" if self._clock is None else repr(self._clock())
        checks_run, record_ttl, *_ = self._settings
        keys: list[str] = []
        args: list[Any] = [now, checks_run, float(record_ttl) / 100]  # as in record.lua
        for user, one in known:
            keys.append(self._keys.user(user, "meta"))
            args += (one.position.epoch, one.position.offset, one.mark)
        return keys, args

    def find(self, user: str, by: str, wanted: str | int, looked_at: int) -> Call:
        """Return a call of find.lua."""
        args = [*self._record_args(self.known.get(user)), by, wanted, looked_at, LOOKED_AT]
        return self._record_keys(user), args

    @staticmethod
    def found(answer: list[Any], offset: int | None, epoch: str | None) -> Found:
        """Return what the last answer of find.lua says."""
        name, head, floor, _, at, member, over, replaced_by = answer
        stream = name.decode()
        if epoch is not None and epoch != stream:
            facts = MessageFacts(epoch, offset, Fate.OTHER_EPOCH)
        elif at:
            facts = _facts(stream, at, member, _FATES[over])
        else:
            facts = facts_of_missing(
                epoch=stream,
                head=head,
                floor=floor,
                offset=offset,
                replaced_by=replaced_by or None,
            )
        return Found(facts, stream, head, floor)

    def erase(self, user: str) -> Call:
        """Return a call of erase.lua."""
        return self._record_keys(user), []

    def head(self, user: str) -> Call:
        """Return a call of head.lua."""
        return self._record_keys(user), self._record_args(self.known.get(user))

    def position(self, user: str, answer: list[Any]) -> Position:
        """Return the position in an answer of head.lua, which is remembered."""
        epoch, offset, newest = answer
        position = Position(epoch.decode(), offset)
        self.known.note(user, Known(position, newest))
        return position

    def _record_keys(self, user: str) -> list[str]:
        return [self._keys.user(user, n) for n in ("meta", "stream", "collapse", "expiring")]

    def _record_args(self, known: Known | None) -> list[Any]:
        now = "" if self._clock is None else repr(self._clock())
        at = Position("", 0) if known is None else known.position
        mark = b"" if known is None else known.mark
        return [
            *(now, secrets.token_hex(8), *self._settings),
            *(at.epoch, at.offset, mark, ASKED_TTL),
        ]


class RedisStreams:
    """The stream interface on Redis. Belongs to one event loop."""

    def __init__(self, client: Redis, calls: StreamCalls) -> None:
        self._client = client
        self._calls = calls

    async def append(self, user: str, entry: NewEntry) -> Appended:
        with translated(entry.id, writes=True):
            answer = await _APPEND.run(self._client, self._calls.append(user, entry))
        return self._calls.appended(user, entry, answer)

    async def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        if len(entries) == 1:
            return [await self.append(*entries[0])]
        done: list[Appended] = []
        for some in batches(entries):
            calls = [self._calls.append(user, entry) for user, entry in some]
            with translated(some[0][1].id, writes=True, begun=bool(done)):
                answers = await _APPEND.run_many(self._client, calls)
            done += _all_appended(self._calls, some, answers)
        return done

    async def head(self, user: str) -> Position:
        with translated():
            answer = await _HEAD.run(self._client, self._calls.head(user))
        return self._calls.position(user, answer)

    async def read(self, user: str, after: Position | None, limit: int) -> Page:
        with translated():
            answer = await _LOOK.run(self._client, self._calls.look(user, after, limit))
        return self._calls.page(answer)

    async def follow(
        self, user: str, after: Position | None, limit: int, known: Known | None = None
    ) -> Page:
        with translated():
            call = self._calls.follow(user, after, limit, known)
            answer = await _FOLLOW.run(self._client, call)
        return self._calls.page(answer)

    async def heads(
        self, users: Iterable[str], known: Mapping[str, Known] | None = None
    ) -> dict[str, Position]:
        known = known or {}
        heads: dict[str, Position] = {}
        left = list(dict.fromkeys(users))
        if not is_cluster(self._client):
            left = await self._compare(left, known, heads)
        failed: Exception | None = None
        for some in batches(left):
            calls = [self._calls.follow(user, known=known.get(user)) for user in some]
            answers = await _FOLLOW.run_each(self._client, calls)
            for user, answer in zip(some, answers, strict=True):
                if is_of_its_keys(answer):
                    logger.error("the stream of user %r cannot be compared: %s", user, answer)
                    continue
                if isinstance(answer, Exception):
                    failed = answer
                    continue
                heads[user] = Position(answer[0].decode(), answer[1])
        if failed is not None and not heads:
            with translated():
                raise failed
        return heads

    async def _compare(
        self, users: Sequence[str], known: Mapping[str, Known], heads: dict[str, Position]
    ) -> list[str]:
        """Note the heads that are still as they were known; returns the users of the others."""
        sure: list[tuple[str, Known]] = []
        left: list[str] = []
        for user in users:
            one = newest(known.get(user), self._calls.known.get(user))
            if one is None or random.random() < OPENED_ANYWAY:
                left.append(user)
            else:
                sure.append((user, one))
        for start in range(0, len(sure), AT_ONCE):
            some = sure[start : start + AT_ONCE]
            with translated():
                try:
                    changed = {*await _COMPARE.run(self._client, self._calls.compare(some))}
                except ResponseError:
                    changed = {*range(len(some))}  # whatever the key of one is stops no other
            for place, (user, one) in enumerate(some):
                if place in changed:
                    left.append(user)
                else:
                    heads[user] = one.position
        return left

    async def find(
        self,
        user: str,
        *,
        offset: int | None = None,
        epoch: str | None = None,
        id: str = "",
        key: str = "",
    ) -> Found:
        by: tuple[str, str | int] = "offset", offset or 0
        if id:
            by = "start", f'{{"id":{msgspec.json.encode(id).decode()}'
        elif key:
            by = "tail", f'"idempotency_key":{msgspec.json.encode(key).decode()}'
        looked_at = 0
        while looked_at >= 0:
            with translated():
                call = self._calls.find(user, *by, looked_at)
                answer = await _FIND.run(self._client, call)
            looked_at = answer[3]
        return self._calls.found(answer, offset, epoch)

    async def erase(self, user: str) -> int:
        with translated(writes=True):
            return int(await _ERASE.run(self._client, self._calls.erase(user)))

    def left(self, user: str, known: Known | None) -> None:
        if known is not None:
            self._calls.known.note(user, known)


class SyncRedisStreams:
    """The part of the interface that Django code needs, for threads; forks are safe too."""

    def __init__(self, client: SyncRedis, calls: StreamCalls) -> None:
        self._client = client
        self._calls = calls

    def append(self, user: str, entry: NewEntry) -> Appended:
        """Do as `RedisStreams.append` does."""
        with translated(entry.id, writes=True):
            answer = _APPEND.run_sync(self._client, self._calls.append(user, entry))
        return self._calls.appended(user, entry, answer)

    def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        """Do as `RedisStreams.append_many` does."""
        if len(entries) == 1:
            return [self.append(*entries[0])]
        done: list[Appended] = []
        for some in batches(entries):
            calls = [self._calls.append(user, entry) for user, entry in some]
            with translated(some[0][1].id, writes=True, begun=bool(done)):
                answers = _APPEND.run_many_sync(self._client, calls)
            done += _all_appended(self._calls, some, answers)
        return done

    def head(self, user: str) -> Position:
        """Do as `RedisStreams.head` does."""
        with translated():
            answer = _HEAD.run_sync(self._client, self._calls.head(user))
        return self._calls.position(user, answer)


def _all_appended(
    calls: StreamCalls, entries: Sequence[tuple[str, NewEntry]], answers: Sequence[list[Any]]
) -> list[Appended]:
    return [
        calls.appended(user, entry, answer)
        for (user, entry), answer in zip(entries, answers, strict=True)
    ]


def _entry(offset: int, member: bytes) -> Entry:
    """Read a stored object: the body is its first `size` bytes, with a closing brace."""
    body, rest = _taken_apart(member)
    if rest.startswith(b'"offset":'):
        return Entry(offset, body)
    more = msgspec.json.decode(b"{" + rest)
    return Entry(offset, body, more.get("exclude_client"), more.get("idempotency_key"))


def _taken_apart(member: bytes) -> tuple[bytes, bytes]:
    """Return the body, and the members behind it with their closing brace."""
    size = int(member[member.rindex(b":") + 1 : -1])
    return member[: size - 1] + b"}", member[size:]


_FATES = {b"": Fate.KEPT, b"ttl": Fate.EXPIRED, b"age": Fate.TRIMMED}


def _facts(epoch: str, offset: int, member: bytes, fate: Fate) -> MessageFacts:
    more = msgspec.json.decode(b"{" + _taken_apart(member)[1])
    return facts_of(
        _entry(offset, member),
        epoch=epoch,
        at=more["at"],
        collapse_key=more.get("collapse_key"),
        expires_at=more.get("expires_at"),
        fate=fate,
    )
