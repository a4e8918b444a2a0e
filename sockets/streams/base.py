"""What a stream backend promises; `tests/contracts/test_streams.py` holds each one to it.

One stream a user. Offsets are 1, 2, 3 … without holes, under an epoch that is random and made
with the record. Retention removes by count and age, from the oldest; `floor` is the highest
offset that it removed. A collapse key keeps only its newest message. Time is the backend's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sockets.deliveries import MessageFacts
from sockets.streams.known import Known
from sockets.types import Page, Position

ASKED_TTL = 600.0
"""Seconds that a record lasts which was made because somebody asked for a position."""

PAGE_BYTES = 256 * 1024
"""Of the bodies of one page: what a read may cost, however large messages may be."""


MAX_REPLACED = 32
"""Offsets that a message remembers of those that it has taken the place of, the newest."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A message on its way into a stream.

    `id` is made before the first attempt: appending the same id again (within the idempotency
    window, as `idempotency_key` does too) returns the first receipt. `own_key`: the same for a
    message whose key the gateway makes, in a space that no caller's key can name; then
    `idempotency_key` is what the version before called it. `ttl`: seconds; None: as long as
    retention. `event`: the body's, for whoever publishes the entry.
    """

    id: str
    body: bytes
    collapse_key: str | None = None
    ttl: float | None = None
    idempotency_key: str | None = None
    exclude_client: str | None = None
    event: str = ""
    own_key: str | None = None

    @property
    def caller_key(self) -> str | None:
        """The idempotency key that somebody gave it, and not the gateway."""
        return self.idempotency_key if self.own_key is None else None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a message went.

    `published`: the backend has published the layer message itself. `reach`: the user's live
    sessions just then, where the backend sees them too; None: presence has to be asked.
    """

    id: str
    position: Position
    duplicate: bool = False
    published: bool = False
    reach: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one message, and how its stream is: `epoch`, `head`, `floor` as of Page."""

    facts: MessageFacts
    epoch: str
    head: int
    floor: int


class Streams(Protocol):
    """All users' streams. Any method may raise GatewayUnavailable."""

    async def append(self, user: str, entry: NewEntry) -> Appended:
        """Add one message at the head."""

    async def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        """Add many, of any users, in order; receipts in the same order."""

    async def head(self, user: str) -> Position:
        """Return the position of the newest message, for somebody who comes back with it.

        A record that is made for this lasts ASKED_TTL, unless a session or a message uses it.
        """

    async def read(self, user: str, after: Position | None, limit: int) -> Page:
        """Return at most `limit` entries after a position; none if it is None or of another epoch.

        A page ends early, but not before its first entry, when its bodies pass PAGE_BYTES. Changes
        nothing; a user without a record has the epoch "".
        """

    async def follow(
        self, user: str, after: Position | None, limit: int, known: Known | None = None
    ) -> Page:
        """Do as `read` does for a session: the record is made if need be, and lasts.

        `known`: the newest position that this node knew before. Where the store turns out to be
        lagging, it went back in time, and the stream begins a new epoch.
        """

    async def heads(
        self, users: Iterable[str], known: Mapping[str, Known] | None = None
    ) -> dict[str, Position]:
        """Return the heads of many users who have sessions here; otherwise as `follow` does.

        Those of a shard that is away are left out, and those whose keys another program broke;
        raises only if nobody at all answered.
        """

    async def find(
        self,
        user: str,
        *,
        offset: int | None = None,
        epoch: str | None = None,
        id: str = "",
        key: str = "",
    ) -> Found:
        """Return what is known of a message, by its offset, its id or its idempotency key.

        `epoch`: of the offset; None: the stream's as it is. Changes nothing.
        """

    async def erase(self, user: str) -> int:
        """Remove the record and all messages: what comes next begins a new epoch, and sessions are
        told `reset`. Returns how many messages there were."""

    def left(self, user: str, known: Known | None) -> None:
        """Note that the last session of this user here has gone; `known` as of `follow`."""


class SyncStreams(Protocol):
    """What Django code needs of them, for threads: as of `Streams`."""

    def append(self, user: str, entry: NewEntry) -> Appended: ...

    def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]: ...

    def head(self, user: str) -> Position: ...
