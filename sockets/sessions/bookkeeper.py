"""What the ledger is told of this node's sessions: when leases are renewed, and when one ends.

A session about which nothing has changed costs a comparison here, and no call. What the ledger
could not be told is told with the next renewal; nobody waits for it, and nothing else fails.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sockets.base import metrics
from sockets.base.together import Together
from sockets.deliveries import LedgerEntry
from sockets.delivery.hub import Account, LocalSession
from sockets.exceptions import GatewayUnavailable
from sockets.ledger.base import Ledger, Note, PartlyWritten
from sockets.protocol.recovery import Opening
from sockets.types import Page

logger = logging.getLogger(__name__)

BATCH = 500
"""Notes in one step."""

MAX_LATE = 10_000
"""Ends of sessions that wait for a ledger which is away; the oldest goes."""

AGAIN = 24 * 3600.0
"""Seconds after which an entry is written again, so that it does not end under a live session."""


class Bookkeeper:
    """Belongs to the node's event loop. `clock`: seconds since the epoch, the store's."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ends = Together(self._write_ends, BATCH)
        self._late: deque[Note] = deque(maxlen=MAX_LATE)
        self._failed = False

    def open(self, session: LocalSession, opening: Opening, page: Page, *, named: bool) -> None:
        """Begin to keep the account of a client that has just been welcomed. `named`: as of
        Account."""
        start = opening.start.offset
        session.account = Account(start, page.head, opening.recovered, named=named)

    def entry(self, session: LocalSession) -> LedgerEntry | None:
        """Return how a session stands now; None: it has not been welcomed as a client."""
        account, cursor, info = session.account, session.cursor, session.info
        if account is None or cursor is None:
            return None
        acked = info.acked if info.acked and info.acked.epoch == cursor.epoch else None
        return LedgerEntry(
            client_id=info.client_id,
            epoch=cursor.epoch,
            start=cursor.start,
            sent=cursor.offset,
            acked=None if acked is None else acked.offset,
            acked_at=None if acked is None else info.acked_at,
            at=self._clock(),
            began=account.began,
            head=account.head,
            recovered=account.recovered,
            session=info.id,
            node=info.node,
            opened_at=info.connected_at,
        )

    async def note(self, sessions: Iterable[LocalSession]) -> None:
        """Write what has changed of these sessions, and the ends that are late."""
        changed = [one for one in sessions if self._has_changed(one)]
        await self._write_late()
        for start in range(0, len(changed), BATCH):
            told = [(one, self._entry_to_tell(one)) for one in changed[start : start + BATCH]]
            notes = [(one.info.user, entry) for one, entry in told if entry is not None]
            left = await self._write(notes)
            refused = {entry.session for _, entry in left}
            for session, entry in told:
                if session.info.id not in refused:
                    _note_told(session, entry)
            if left and len(left) == len(notes):
                return  # more would fail as well

    async def _write_late(self) -> None:
        """Try each late end once. Those of a shard that is away go behind the others."""
        for _ in range(0, len(self._late), BATCH):
            some = [self._late.popleft() for _ in range(min(BATCH, len(self._late)))]
            left = await self._write(some)
            self._keep(left)
            if len(left) == len(some):
                return

    def _has_changed(self, session: LocalSession) -> bool:
        account, cursor = session.account, session.cursor
        if account is None or not account.named or cursor is None or session.closed:
            return False
        acked = session.info.acked
        mine = acked.offset if acked is not None and acked.epoch == cursor.epoch else None
        stands = cursor.epoch, cursor.start, cursor.offset, mine
        return account.told != stands or self._clock() - account.told_at >= AGAIN

    def _entry_to_tell(self, session: LocalSession) -> LedgerEntry | None:
        return None if session.closed else self.entry(session)

    async def close(self, session: LocalSession, code: int, reason: str) -> None:
        """Write the end of a session that is gone; of many at once by a few calls."""
        entry = self.entry(session)
        if entry is not None and session.account is not None and session.account.named:
            end = replace(entry, ended_at=entry.at, code=int(code), reason=reason)
            await self._ends.do((session.info.user, end))

    async def _write_ends(self, notes: Sequence[Note]) -> None:
        self._keep(await self._write(notes))

    def _keep(self, notes: Sequence[Note]) -> None:
        metrics.dropped_ledger.inc(max(0, len(self._late) + len(notes) - MAX_LATE))
        self._late.extend(notes)

    async def _write(self, notes: Sequence[Note]) -> Sequence[Note]:
        """Tell the ledger. Returns the notes that it did not take."""
        try:
            if notes:
                await self._ledger.write(notes)
        except GatewayUnavailable as error:
            if not self._failed:
                logger.warning("the ledger of deliveries is told later: %s", error)
            self._failed = True
            return error.left if isinstance(error, PartlyWritten) else notes
        self._failed = False
        return ()


def _note_told(session: LocalSession, entry: LedgerEntry | None) -> None:
    if session.account is not None and entry is not None:
        session.account.told = entry.epoch, entry.start, entry.sent, entry.acked
        session.account.told_at = entry.at
