"""What a stream backend promises; `tests/contracts/test_streams.py` holds each one to it.

One stream a user. Offsets are 1, 2, 3 … without holes, under an epoch that is random and made
with the record. Retention removes by count and age, from the oldest; `floor` is the highest
offset that it removed. A collapse key keeps only its newest message. Time is the backend's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sockets.types import Page, Position

PAGE_BYTES = 256 * 1024
"""Of the bodies of one page: what a read may cost, however large messages may be."""


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


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a message went.

    `signalled`: the backend has published it to the layer itself. `reach`: the user's live sessions
    just then, where the backend sees them too; None: presence has to be asked.
    """

    id: str
    position: Position
    duplicate: bool = False
    signalled: bool = False
    reach: int | None = None


class Streams(Protocol):
    """All users' streams. Any method may raise GatewayUnavailable."""

    async def append(self, user: str, entry: NewEntry) -> Appended:
        """Add one message at the head."""

    async def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]:
        """Add many, of any users, in order; receipts in the same order."""

    async def head(self, user: str) -> Position:
        """The position of the newest message; makes the record if there is none."""

    async def heads(self, users: Iterable[str]) -> dict[str, Position]:
        """The heads of many users; each record made or extended, as by `head`."""

    async def read(self, user: str, after: Position | None, limit: int) -> Page:
        """At most `limit` entries behind `after`; none if `after` is None or of another epoch.

        A page ends early, but not before its first entry, when its bodies pass PAGE_BYTES. Makes
        the record if there is none.
        """


class SyncStreams(Protocol):
    """What Django code needs of them, for threads: as of `Streams`."""

    def append(self, user: str, entry: NewEntry) -> Appended: ...

    def append_many(self, entries: Sequence[tuple[str, NewEntry]]) -> list[Appended]: ...

    def head(self, user: str) -> Position: ...
