"""Streams in this process: for one node, gone with it (then every position is of a lost epoch)."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from sockets.streams.base import PAGE_BYTES, Appended, NewEntry
from sockets.types import Entry, Page, Position

_ReceiptKey = str | tuple[str, str]


@dataclass(slots=True)
class _Kept:
    entry: Entry
    at: float
    expires_at: float  # inf: as long as retention
    collapse_key: str | None


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
    goes, and beyond `max_users` the longest unused one (its user hears `reset` or
    `recovered: false`, as after any loss). `idempotency_ttl` and at most `size` receipts a user.
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
        self._records: OrderedDict[str, _Record] = OrderedDict()  # longest unused first

    async def append(self, user: str, entry: NewEntry) -> Appended:
        now = self._clock()
        record = self._record(user, now)
        self._trim(record, now)
        for key in _receipt_keys(entry):
            if key in record.receipts:
                first = record.receipts[key][1]
                return Appended(first.id, first.position, duplicate=True)
        record.head += 1
        if entry.collapse_key is not None:
            replaced = record.collapse.pop(entry.collapse_key, None)
            if replaced is not None:
                del record.kept[replaced]
            record.collapse[entry.collapse_key] = record.head
        expires_at = inf if entry.ttl is None else now + entry.ttl
        record.expires_next = min(record.expires_next, expires_at)
        record.kept[record.head] = _Kept(
            Entry(record.head, entry.body, entry.exclude_client),
            now,
            expires_at,
            entry.collapse_key,
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
        record = self._record(user, self._clock())
        return Position(record.epoch, record.head)

    async def heads(self, users: Iterable[str]) -> dict[str, Position]:
        return {user: await self.head(user) for user in users}

    async def read(self, user: str, after: Position | None, limit: int) -> Page:
        now = self._clock()
        record = self._record(user, now)
        self._trim(record, now)
        entries: list[Entry] = []
        missing: list[Entry] = []
        if after is not None and after.epoch == record.epoch:
            missing = [k.entry for offset, k in record.kept.items() if offset > after.offset]
        size = 0
        for entry in missing[:limit]:
            size += len(entry.body)
            if entries and size > PAGE_BYTES:
                break
            entries.append(entry)
        return Page(record.epoch, record.head, record.floor, tuple(entries), len(missing))

    def _record(self, user: str, now: float) -> _Record:
        record = self._records.get(user)
        if record is None:
            self._forget_unused(now)
            record = self._records[user] = _Record(secrets.token_hex(8), now)
        else:
            record.used_at = now
            self._records.move_to_end(user)
        return record

    def _forget_unused(self, now: float) -> None:
        """Room for one more record; the oldest are at the front, so this looks at few."""
        while self._records:
            oldest = next(iter(self._records.values()))
            if len(self._records) < self._max_users and now - oldest.used_at < self._record_ttl:
                return
            self._records.popitem(last=False)

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
    """A message's own id guards its retries, the caller's key the caller's.

    One space for both: after an unknown outcome the id may come back as the key. What the gateway
    makes has another one: a tuple is no string.
    """
    if entry.own_key is not None:
        return entry.id, ("own", entry.own_key)
    return (entry.id,) if entry.idempotency_key is None else (entry.id, entry.idempotency_key)
