"""What one session still has to get of its user's stream.

The rule (protocol.md section 2.4): durable messages once, in order, without a gap, or else a
`reset`.
A Cursor is one session's place; `plan_opening` decides what a new session gets; `on_live` judges a
message that the channel layer brought; `steps` walks a page that was read from the stream.
The driver writes frames and calls `Cursor.moved` after each that the outbox took: a cursor never
runs ahead of what was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sockets.types import Entry, Page, Position


class Live(Enum):
    """What to do with a durable message from the channel layer."""

    DELIVER = "deliver"  # it is the next one
    DUPLICATE = "duplicate"  # the session has it already
    BEHIND = "behind"  # something is missing in between: read the stream


class Cursor:
    """One session's place in its user's stream.

    `behind`: live messages are passed over until the stream has been read to its head; true while
    the session opens, after a gap, and while its outbox is full. `start`: after which offset of the
    epoch it has been told everything.
    """

    __slots__ = ("behind", "epoch", "offset", "start")

    def __init__(self, epoch: str, offset: int, *, behind: bool = True) -> None:
        self.epoch = epoch
        self.offset = self.start = offset
        self.behind = behind

    def __repr__(self) -> str:
        return f"<Cursor {self.epoch}:{self.offset}{' behind' if self.behind else ''}>"

    def on_live(self, epoch: str, offset: int) -> Live:
        """Judge a durable message that just arrived."""
        if self.behind:
            return Live.BEHIND
        if epoch == self.epoch:
            if offset == self.offset + 1:
                return Live.DELIVER
            if offset <= self.offset:
                return Live.DUPLICATE
        return Live.BEHIND

    def moved(self, epoch: str, offset: int) -> None:
        """Note that the session has everything up to here."""
        self.epoch = epoch
        self.offset = offset

    def restarted(self, epoch: str, offset: int) -> None:
        """Note that the session was told to reload its state, and goes on from here."""
        self.moved(epoch, offset)
        self.start = offset


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session begins: `recovered` and the position for its `welcome`."""

    recovered: bool | None
    start: Position


def plan_opening(position: Position | None, page: Page, limit: int) -> Opening:
    """Decide what a new session gets, from the first page read after the `position` it gave.

    Recovery is never partial: all that is missing, at most `limit` messages, or nothing.
    """
    head = Position(page.epoch, page.head)
    if position is None:
        return Opening(None, head)
    if not recoverable(position, page) or page.missing > limit:
        return Opening(False, head)
    return Opening(True, position)


def recoverable(position: Position, page: Page) -> bool:
    """Return whether the stream still holds everything after `position`."""
    return position.epoch == page.epoch and page.floor <= position.offset <= page.head


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send this entry; `prev` is set when it does not follow offset - 1."""

    entry: Entry
    prev: int | None


@dataclass(frozen=True, slots=True)
class Moved:
    """Tell the session that the stream went on to `offset` without a message for it."""

    offset: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Tell the session to reload its state and go on from `position`."""

    position: Position


Step = Deliver | Moved | Lost


def steps(cursor: Cursor, page: Page, client_id: str) -> Iterator[Step]:
    """Yield what a session at `cursor` has to get of a page that was read from the stream.

    The page may begin before the cursor (it was read for several sessions at once). It must not
    begin after it.
    """
    at = Position(cursor.epoch, cursor.offset)
    if not recoverable(at, page):
        yield Lost(Position(page.epoch, page.head))
        return
    reached = at.offset
    for entry in page.entries:
        if entry.offset <= reached or entry.exclude_client == client_id:
            continue
        yield Deliver(entry, None if entry.offset == reached + 1 else reached)
        reached = entry.offset
    if reached < page.end:
        yield Moved(page.end)
