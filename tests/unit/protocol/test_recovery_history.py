"""Any history of a stream, any fate of its messages: once, in order, and never silence.

Hypothesis plays the world (appends, collapses, retention, a lost store, messages that are lost,
doubled or late, outboxes that are full); a driver of a few lines does with `recovery` what
`sockets/delivery/delivery.py` does; a strict peer checks every frame that it is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from sockets.protocol.recovery import Cursor, Deliver, Live, Lost, Moved, plan_opening, steps
from sockets.types import Entry, Page, Position

CLIENTS = ("me", "you")


@dataclass
class Stream:
    """What a store does, in the fewest words. `gone`: why an offset is not there any more."""

    epoch: int = 0
    head: int = 0
    floor: int = 0
    kept: dict[int, tuple[Entry, str | None]] = field(default_factory=dict)
    gone: dict[tuple[str, int], str] = field(default_factory=dict)
    excluded: dict[tuple[str, int], str | None] = field(default_factory=dict)

    def position(self) -> Position:
        return Position(str(self.epoch), self.head)

    def drop(self, offset: int, cause: str) -> None:
        del self.kept[offset]
        self.gone[str(self.epoch), offset] = cause

    def append(self, key: str | None, exclude: str | None) -> None:
        for offset in [o for o, (_, k) in self.kept.items() if key is not None and k == key]:
            self.drop(offset, "collapsed")
        self.head += 1
        self.kept[self.head] = (Entry(self.head, b"{}", exclude), key)
        self.excluded[str(self.epoch), self.head] = exclude

    def trim(self, count: int) -> None:
        for offset in list(self.kept)[:count]:
            self.floor = offset
            self.drop(offset, "trimmed")

    def read(self, after: Position | None, limit: int) -> Page:
        entries: list[Entry] = []
        if after is not None and after.epoch == str(self.epoch):
            entries = [entry for offset, (entry, _) in self.kept.items() if offset > after.offset]
        found = tuple(entries[:limit])
        return Page(str(self.epoch), self.head, self.floor, found, len(entries))


class StrictPeer:
    """Knows only what it was told, and refuses a gap, a repetition and an unjustified reset."""

    def __init__(self, client: str, stream: Stream, start: Position) -> None:
        self.client, self.stream, self.at = client, stream, start
        self.seen: set[tuple[str, int]] = set()

    def message(self, offset: int, prev: int | None) -> None:
        assert (offset - 1 if prev is None else prev) == self.at.offset, "a gap that was not told"
        assert (self.at.epoch, offset) not in self.seen, "told twice"
        assert self.stream.excluded[self.at.epoch, offset] != self.client, "an echo"
        self.seen.add((self.at.epoch, offset))
        self._skip_to(offset - 1)
        self.at = Position(self.at.epoch, offset)

    def position(self, offset: int) -> None:
        assert offset > self.at.offset, "nothing new"
        self._skip_to(offset)
        self.at = Position(self.at.epoch, offset)

    def reset(self, to: Position) -> None:
        trimmed = self.at.offset < self.stream.floor
        assert self.at.epoch != str(self.stream.epoch) or trimmed, "a reset without need"
        self.at = to

    def _skip_to(self, offset: int) -> None:
        for missing in range(self.at.offset + 1, offset + 1):
            key = (self.at.epoch, missing)
            cause = self.stream.gone.get(key)
            echo = self.stream.excluded[key] == self.client
            assert echo or cause in ("collapsed", "expired"), f"{missing} was passed over: {cause}"


class Session:
    """The driver: the rules of `sockets/delivery/delivery.py` for one session, without frames."""

    def __init__(self, client: str, stream: Stream, position: Position | None, limit: int) -> None:
        page = stream.read(position, limit + 1)
        opening = plan_opening(position, page, limit)
        self.peer = StrictPeer(client, stream, opening.start)
        self.cursor = Cursor(opening.start.epoch, opening.start.offset)
        self.room = 1_000
        self.recovered = opening.recovered
        self.feed(page)

    def live(self, epoch: str, offset: int, exclude: str | None) -> None:
        verdict = self.cursor.on_live(epoch, offset)
        if verdict is Live.BEHIND or (verdict is Live.DELIVER and not self.room):
            self.cursor.behind = True
        elif verdict is Live.DELIVER:
            self.room -= 1
            if exclude == self.peer.client:
                self.peer.position(offset)
            else:
                self.peer.message(offset, None)
            self.cursor.moved(epoch, offset)

    def feed(self, page: Page) -> None:
        for step in steps(self.cursor, page, self.peer.client):
            if not self.room:
                return
            self.room -= 1
            match step:
                case Deliver(entry, prev):
                    self.peer.message(entry.offset, prev)
                    self.cursor.moved(page.epoch, entry.offset)
                case Moved(offset):
                    self.peer.position(offset)
                    self.cursor.moved(page.epoch, offset)
                case Lost(position):
                    self.peer.reset(position)
                    self.cursor.moved(position.epoch, position.offset)
        if self.cursor.epoch == page.epoch and self.cursor.offset >= page.head:
            self.cursor.behind = False


class Histories(RuleBasedStateMachine):
    """Two sessions of one user, one of which also goes and comes back with its position."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream()
        self.messages: list[tuple[str, int, str | None]] = []
        self.sessions = [Session(client, self.stream, None, 9) for client in CLIENTS]

    # --- the store

    @rule(
        key=st.sampled_from([None, None, "job", "other"]),
        exclude=st.sampled_from([None, None, "me", "gone"]),
    )
    def append(self, key: str | None, exclude: str | None) -> None:
        self.stream.append(key, exclude)
        self.messages.append((str(self.stream.epoch), self.stream.head, exclude))

    @precondition(lambda self: self.stream.kept)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        self.stream.drop(data.draw(st.sampled_from(sorted(self.stream.kept))), "expired")

    @rule(count=st.integers(1, 3))
    def trim(self, count: int) -> None:
        self.stream.trim(count)

    @rule()
    def lose_the_store(self) -> None:
        stream = self.stream
        stream.epoch, stream.head, stream.floor = stream.epoch + 1, 0, 0
        stream.kept.clear()

    # --- the layer

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), fate=st.sampled_from(["once", "once", "lost", "twice", "again later"]))
    def message(self, data: st.DataObject, fate: str) -> None:
        index = data.draw(st.integers(0, min(3, len(self.messages) - 1)))
        message = self.messages[index] if fate == "again later" else self.messages.pop(index)
        for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
            for session in self.sessions:
                session.live(*message)

    # --- the sessions

    @rule(which=st.sampled_from([0, 1]), room=st.integers(0, 4))
    def outbox(self, which: int, room: int) -> None:
        self.sessions[which].room = room

    @rule(limit=st.integers(1, 4), back=st.integers(0, 3))
    def read(self, limit: int, back: int) -> None:
        """One page for all who are behind, from the one that is furthest behind, or before it."""
        behind = [session for session in self.sessions if session.cursor.behind]
        if not behind:
            return
        epoch = behind[0].cursor.epoch
        same = [session for session in behind if session.cursor.epoch == epoch]
        start = min(session.cursor.offset for session in same)
        page = self.stream.read(Position(epoch, max(0, start - back)), limit)
        for session in same:
            session.feed(page)

    @rule()
    def renew(self) -> None:
        head = self.stream.position()
        for session in self.sessions:
            if not session.cursor.behind:
                cursor = session.cursor
                cursor.behind = (cursor.epoch, cursor.offset) != (head.epoch, head.offset)

    @rule(limit=st.integers(1, 6), known=st.booleans())
    def come_back(self, limit: int, known: bool) -> None:
        """A new socket with the position that the old one was told."""
        old = self.sessions[0]
        given = old.peer.at if known else None
        new = self.sessions[0] = Session("me", self.stream, given, limit)
        if given is None:
            assert new.recovered is None
        elif new.recovered:
            new.peer.seen |= old.peer.seen  # across sockets, too, nothing is told twice
            assert given.epoch == str(self.stream.epoch) and given.offset >= self.stream.floor
            assert new.cursor.offset == self.stream.head or not new.room
        else:
            whole = self.stream.read(given, 1_000)
            possible = given.epoch == whole.epoch and whole.floor <= given.offset <= whole.head
            assert not possible or len(whole.entries) > limit, "it could have been recovered"

    def teardown(self) -> None:
        """In the end everybody is at the head: by one renewal and a reader that takes."""
        self.renew()
        for session in self.sessions:
            session.room = 1_000
            for _ in range(1_000):
                if not session.cursor.behind:
                    break
                session.feed(
                    self.stream.read(Position(session.cursor.epoch, session.cursor.offset), 2)
                )
            assert session.peer.at == self.stream.position(), "silence"
            assert not session.cursor.behind


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40)
