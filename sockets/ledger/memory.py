"""The ledger in this process, gone with it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sockets.deliveries import LedgerEntry
from sockets.ledger.base import ERASED_TTL, LEDGER_TTL, latest_first, merged, surplus


@dataclass(slots=True)
class _Entries:
    written_at: float
    by_client: dict[str, LedgerEntry] = field(default_factory=dict)
    erased: float | None = None  # notes of sessions that were opened before then do not count

    def over(self, now: float) -> bool:
        return now - self.written_at >= (LEDGER_TTL if self.by_client else ERASED_TTL)


class MemoryLedger:
    """The interface on dictionaries. Belongs to one event loop.

    `max_users`: of whom something is known; the longest unwritten goes first.
    """

    def __init__(self, *, max_users: int, clock: Callable[[], float] = time.time) -> None:
        self._max_users = max_users
        self._clock = clock
        self._users: OrderedDict[str, _Entries] = OrderedDict()

    async def write(self, notes: Sequence[tuple[str, LedgerEntry]]) -> None:
        by_user: dict[str, list[LedgerEntry]] = {}
        for user, note in notes:
            by_user.setdefault(user, []).append(note)
        for user, some in by_user.items():
            self._write(user, some)

    def _write(self, user: str, notes: Sequence[LedgerEntry]) -> None:
        found = self._found(user)
        erased = -1.0 if found is None or found.erased is None else found.erased
        fresh = [note for note in notes if note.opened_at > erased]
        if not fresh:
            return
        entries = self._kept(user)
        for note in fresh:
            entries.by_client[note.client_id] = merged(entries.by_client.get(note.client_id), note)
        for client in surplus(entries.by_client.values(), [note.client_id for note in fresh]):
            del entries.by_client[client]

    async def read(self, user: str) -> list[LedgerEntry]:
        found = self._found(user)
        return [] if found is None else latest_first(found.by_client.values())

    async def erase(self, user: str, before: float) -> int:
        found = self._found(user)
        count = 0 if found is None else len(found.by_client)
        entries = self._kept(user)
        entries.by_client.clear()
        entries.erased = before
        return count

    def _found(self, user: str) -> _Entries | None:
        found = self._users.get(user)
        return None if found is None or found.over(self._clock()) else found

    def _kept(self, user: str) -> _Entries:
        """Return the entries of a user to be written; made if need be."""
        now = self._clock()
        found = self._found(user) or _Entries(now)
        found.written_at = now
        self._users[user] = found
        self._users.move_to_end(user)
        while len(self._users) > self._max_users or next(iter(self._users.values())).over(now):
            self._users.popitem(last=False)
        return found
