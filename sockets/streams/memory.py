"""Streams in this process: for one node, gone with it (then every position is of a lost epoch)."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from sockets.deliveries import Fate, MessageFacts
from sockets.streams.base import (
    ASKED_TTL,
    MAX_REPLACED,
    PAGE_BYTES,
    Appended,
    Found,
    NewEntry,
)
from sockets.streams.facts import facts_of, facts_of_missing
from sockets.streams.known import Known
from sockets.types import Entry, Page, Position

_ReceiptKey = str | tuple[str, str]


@dataclass(slots=True)
class _Kept:
    entry: Entry
    at: float
    expires_at: float  # inf: as long as retention
    collapse_key: str | None
    replaces: tuple[int, ...] = ()


@dataclass(slots=True)
class _Record:
    epoch: str
    used_at: float
    head: int = 0
    floor: int = 0
    kept: OrderedDict[int, _Kept] = field(default_factory=OrderedDict)  # by offset, ascending
    collapse: dict[str, int] = field(default_factory=dict)  # key -> its live offset
    expires_next: float = inf  # no message's own ttl ends before
    receipts: OrderedDict[_ReceiptKey, tuple[float, Appended]] = field(default_factory=OrderedDict)


class MemoryStreams:
    """The stream interface on dictionaries. Belongs to one event loop.

    `size` messages and `ttl` seconds are kept for each user; a record unused for `record_ttl`
    goes. Beyond `max_users` those go first of which only a position was asked, then the longest
    unused of users who are away, and never that of a user who has a session here. A record that is
    made again has a new epoch. `idempotency_ttl` and at most `size` receipts a user.
    """

    def __init__(
        self,
        *,
        size: int,
        ttl: float,
        record_ttl: float,
        idempotency_ttl: float,
        max_users: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._size = size
        self._ttl = ttl
        self._record_ttl = record_ttl
        self._idempotency_ttl = idempotency_ttl
        self._max_users = max_users
        self._clock = clock
        # Each record is in one of them; the longest unused first.
        self._here: OrderedDict[str, _Record] = OrderedDict()  # the user has a session
        self._away: OrderedDict[str, _Record] = OrderedDict()
        self._asked: OrderedDict[str, _Record] = OrderedDict()  # only for its position

    def forget(self) -> None:
        """Forget every stream, as a store does that has lost its data."""
        for records in (self._here, self._away, self._asked):
            records.clear()

    async def append(self, user: str, entry: NewEntry) -> Appended:
        now = self._clock()
        record = self._used(user, now)
        self._trim(record, now)
        for key in _receipt_keys(entry):
            if key in record.receipts:
                first = record.receipts[key][1]
                return Appended(first.id, first.position, duplicate=True)
        record.head += 1
        replaces: tuple[int, ...] = ()
        if entry.collapse_key is not None:
            replaced = record.collapse.pop(entry.collapse_key, None)
            if replaced is not None:
                before = record.kept.pop(replaced)
                replaces = (*before.replaces, replaced)[-MAX_REPLACED:]
            record.collapse[entry.collapse_key] = record.head
        expires_at = inf if entry.ttl is None else now + entry.ttl
        record.expires_next = min(record.expires_next, expires_at)
        record.kept[record.head] = _Kept(
            Entry(record.head, entry.body, entry.exclude_client, entry.caller_key),
            now,
            expires_at,
            entry.collapse_key,
            replaces,
        )
        self._trim(record, now)
        done = Appended(entry.id, Position(record.epoch, record.head))
        for key in _receipt_keys(entry):
            record.receipts[key] = (now + self._idempotency_ttl, done)
        while len(record.receipts) > 2 * self._size:
            record.receipts.popitem(last=False)
        return done

    async def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        return [await self.append(user, entry) for user, entry in entries]

    async def head(self, user: str) -> Position:
        now = self._clock()
        record = self._find(user, now)
        if record is None:
            self._away.pop(user, None)  # it is over
            record = self._asked[user] = self._new(now)
            self._asked.move_to_end(user)
        elif user in self._asked:
            record.used_at = now
            self._asked.move_to_end(user)
        else:
            record.used_at = max(record.used_at, now - self._record_ttl + ASKED_TTL)
        return Position(record.epoch, record.head)

    async def read(self, user: str, after: Position | None, limit: int) -> Page:
        now = self._clock()
        record = self._find(user, now)
        return Page("", 0, 0, (), 0) if record is None else self._page(record, after, limit, now)

    async def follow(
        self, user: str, after: Position | None, limit: int, known: Known | None = None
    ) -> Page:
        """Ignore `known`: nothing in this process goes back in time."""
        now = self._clock()
        record = self._used(user, now, here=True)
        self._trim(record, now)
        return self._page(record, after, limit, now)

    async def heads(
        self, users: Iterable[str], known: Mapping[str, Known] | None = None
    ) -> dict[str, Position]:
        heads = {}
        for user in users:
            record = self._used(user, self._clock(), here=True)
            heads[user] = Position(record.epoch, record.head)
        return heads

    async def find(
        self,
        user: str,
        *,
        offset: int | None = None,
        epoch: str | None = None,
        id: str = "",
        key: str = "",
    ) -> Found:
        now = self._clock()
        record = self._find(user, now) or _Record("", now)
        if epoch is not None and epoch != record.epoch:
            facts = MessageFacts(epoch, offset, Fate.OTHER_EPOCH)
        else:
            start = b'{"id":"%s"' % id.encode()
            facts = self._facts(record, now, offset, start if id else b"", key)
        return Found(facts, record.epoch, record.head, record.floor)

    def _facts(
        self, record: _Record, now: float, offset: int | None, start: bytes, key: str
    ) -> MessageFacts:
        for at, kept in reversed(record.kept.items()):
            entry = kept.entry
            if (
                at == offset
                or (start and entry.body.startswith(start))
                or (key and entry.idempotency_key == key)
            ):
                aged = Fate.TRIMMED if now - kept.at >= self._ttl else Fate.KEPT
                return facts_of(
                    entry,
                    epoch=record.epoch,
                    at=kept.at,
                    collapse_key=kept.collapse_key,
                    expires_at=None if kept.expires_at == inf else kept.expires_at,
                    fate=Fate.EXPIRED if now >= kept.expires_at else aged,
                )
        replaced_by = next((at for at, one in record.kept.items() if offset in one.replaces), None)
        return facts_of_missing(
            epoch=record.epoch,
            head=record.head,
            floor=record.floor,
            offset=offset,
            replaced_by=replaced_by,
        )

    async def erase(self, user: str) -> int:
        records = [where.pop(user, None) for where in (self._here, self._away, self._asked)]
        return sum(len(record.kept) for record in records if record is not None)

    def left(self, user: str, known: Known | None) -> None:
        if (record := self._here.pop(user, None)) is not None:
            record.used_at = self._clock()
            self._away[user] = record

    def _find(self, user: str, now: float) -> _Record | None:
        """Return the record, if there is one that is not over."""
        if user in self._here:
            return self._here[user]
        for records, ttl in ((self._away, self._record_ttl), (self._asked, ASKED_TTL)):
            record = records.get(user)
            if record is not None and now - record.used_at < ttl:
                return record
        return None

    def _used(self, user: str, now: float, *, here: bool = False) -> _Record:
        """Return the record of a user whom a message or a session concerns; made if need be."""
        record = self._find(user, now) or self._new(now)
        records = self._here if here or user in self._here else self._away
        self._away.pop(user, None)
        self._asked.pop(user, None)
        record.used_at = now
        records[user] = record
        records.move_to_end(user)
        return record

    def _new(self, now: float) -> _Record:
        self._forget_unused(now)
        return _Record(secrets.token_hex(8), now)

    def _forget_unused(self, now: float) -> None:
        """Make space for one more record; the oldest are at the front, so this looks at few."""
        for records, ttl in ((self._asked, ASKED_TTL), (self._away, self._record_ttl)):
            while records:
                count = len(self._here) + len(self._away) + len(self._asked)
                oldest = next(iter(records.values()))
                if count < self._max_users and now - oldest.used_at < ttl:
                    break
                records.popitem(last=False)

    def _page(self, record: _Record, after: Position | None, limit: int, now: float) -> Page:
        """Return a page; what of the record is over is passed over here, and removed by `_trim`."""
        kept = [(offset, one) for offset, one in record.kept.items() if now < one.expires_at]
        floor, first = record.floor, 0
        while first < len(kept) and (
            len(kept) - first > self._size or now - kept[first][1].at >= self._ttl
        ):
            floor = max(floor, kept[first][0])
            first += 1
        missing: list[Entry] = []
        if after is not None and after.epoch == record.epoch:
            missing = [one.entry for offset, one in kept[first:] if offset > after.offset]
        entries: list[Entry] = []
        size = 0
        for entry in missing[:limit]:
            size += len(entry.body)
            if entries and size > PAGE_BYTES:
                break
            entries.append(entry)
        return Page(record.epoch, record.head, floor, tuple(entries), len(missing))

    def _trim(self, record: _Record, now: float) -> None:
        """Retention: by count and age it raises the floor; by a message's own ttl it does not."""
        if now >= record.expires_next:
            for offset, kept in list(record.kept.items()):
                if now >= kept.expires_at:
                    self._drop(record, offset, kept)
            record.expires_next = min((k.expires_at for k in record.kept.values()), default=inf)
        while record.kept:
            offset, kept = next(iter(record.kept.items()))
            if len(record.kept) <= self._size and now - kept.at < self._ttl:
                break
            record.floor = offset
            self._drop(record, offset, kept)
        while record.receipts:
            key, (until, _) = next(iter(record.receipts.items()))
            if now < until:
                break
            del record.receipts[key]

    @staticmethod
    def _drop(record: _Record, offset: int, kept: _Kept) -> None:
        del record.kept[offset]
        if kept.collapse_key is not None:
            record.collapse.pop(kept.collapse_key, None)


def _receipt_keys(entry: NewEntry) -> tuple[_ReceiptKey, ...]:
    """Return the keys of a message: its own id guards its retries, the caller's key the caller's.

    One space for both: after an unknown outcome the id may come back as the key. What the gateway
    makes has another one: a tuple is no string.
    """
    if entry.own_key is not None:
        return entry.id, ("own", entry.own_key)
    return (entry.id,) if entry.idempotency_key is None else (entry.id, entry.idempotency_key)
