"""What a ledger promises; `tests/contracts/test_ledger.py` holds each one to it.

One entry a client, never one a message. A node writes notes: entries as they are for one session.
They may come late, twice, or in another order than they were made; an entry is what all of them
say together. Time is that of the notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from sockets.deliveries import LedgerEntry
from sockets.exceptions import GatewayUnavailable

MAX_CLIENTS = 32
"""Clients of one user; the least recently acknowledged goes."""

LEDGER_TTL = 30 * 24 * 3600.0
"""Seconds that the entries of a user are kept after the last note."""

ERASED_TTL = 3600.0
"""Seconds for which it is known that a user was erased: so long notes of before are on their way
from a node that was frozen."""


Note = tuple[str, LedgerEntry]
"""A user, and how one session of theirs stands."""


class PartlyWritten(GatewayUnavailable):
    """A shard of a Cluster did not take its notes. `left`: the notes that were not taken."""

    def __init__(self, text: str, left: Sequence[Note]) -> None:
        super().__init__(text, outcome="unknown")
        self.left = left


class Ledger(Protocol):
    """All users' entries. Any method may raise GatewayUnavailable."""

    async def write(self, notes: Sequence[Note]) -> None:
        """Take in notes. May be repeated. Raises PartlyWritten where others of them are taken.

        What another program wrote into the key of one user is an error in the log; notes of others
        are taken.
        """

    async def read(self, user: str) -> list[LedgerEntry]:
        """Return the entries of a user, the last that was heard of first."""

    async def erase(self, user: str, before: float) -> int:
        """Remove a user's entries, and pass over notes of sessions that were opened before then.

        `before`: seconds since the epoch, by the store's clock. Returns how many entries went.
        """


def merged(known: LedgerEntry | None, note: LedgerEntry) -> LedgerEntry:
    """Return what an entry and a note about the same client say together; as in write.lua."""
    if known is None:
        return note
    latest, earlier = (note, known) if _order(note) >= _order(known) else (known, note)
    if latest.epoch != earlier.epoch:
        return latest
    start, sent = latest.start, latest.sent
    if earlier.start <= sent and start <= earlier.sent:  # nothing is missing in between
        start, sent = min(start, earlier.start), max(sent, earlier.sent)
    elif earlier.sent > sent:  # what is after `sent` counts as not sent
        start, sent = earlier.start, earlier.sent
    acked, acked_at = latest.acked, latest.acked_at
    if earlier.acked is not None and (acked is None or earlier.acked > acked):
        acked, acked_at = earlier.acked, earlier.acked_at
    return replace(latest, start=start, sent=sent, acked=acked, acked_at=acked_at)


def _order(entry: LedgerEntry) -> tuple[float, str, float]:
    return entry.opened_at, entry.session, entry.at


def surplus(entries: Iterable[LedgerEntry], spared: Iterable[str]) -> list[str]:
    """Return the client ids that go where there are more than MAX_CLIENTS: the least recently
    acknowledged, and the `spared` last."""
    kept = set(spared)

    def place(entry: LedgerEntry) -> tuple[bool, float, float, str]:
        return entry.client_id in kept, entry.acked_at or 0.0, entry.at, entry.client_id

    found = sorted(entries, key=place)
    return [entry.client_id for entry in found[: max(0, len(found) - MAX_CLIENTS)]]


def latest_first(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Return entries in the order of an answer."""
    return sorted(entries, key=lambda entry: (entry.at, entry.client_id), reverse=True)
