"""The sessions that this process holds, and the rooms they listen in.

A room is this node's one receiver in a channel layer group: however many sessions are in it, a
message is decoded and framed once. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import IntEnum
from functools import partial
from itertools import chain
from typing import Protocol

from sockets.base import metrics
from sockets.base.client_address import host_in, neighbourhood
from sockets.base.timetable import NOT_LISTED, Timetable
from sockets.layers.base import Layer
from sockets.layers.fanout import Message
from sockets.protocol.connection import Connection
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Outbox, Write
from sockets.protocol.recovery import Cursor
from sockets.streams.known import Known, Latest, mark_of
from sockets.types import Kind, Page, Position, SessionInfo

PARTS = 100
"""Parts of the sessions, of which each has its moment in a round that goes through all of them."""

TOGETHER = 5
"""Parts that may share a moment where nothing waits meanwhile: each moment has its costs."""

MAX_EARLY = 64
"""Ephemeral frames kept for a session that is still opening."""


class Stage(IntEnum):
    """How far a session has come. It only goes forward, and may be closed at any stage."""

    NEW = 0
    ARRIVING = 1  # its lease may have begun, and has to be given back
    PRESENT = 2  # registered with presence
    ANNOUNCED = 3  # as opened
    CLOSED = 4


class Tap(Protocol):
    """Notes what one session sends and gets."""

    def received(self, text: str | None) -> None:
        """Note a frame from the peer; None: it was binary."""


class Account:
    """How a session began, and what of it the ledger was told last.

    `began`, `head`, `recovered`: as of LedgerEntry. `named`: the client gave its id itself: only
    such are in the ledger. `told`: epoch, start, sent and acknowledged
    offset; None: nothing. `told_at`: when.
    """

    __slots__ = ("began", "head", "named", "recovered", "told", "told_at")

    def __init__(self, began: int, head: int, recovered: bool | None, *, named: bool) -> None:
        self.began = began
        self.head = head
        self.recovered = recovered
        self.named = named
        self.told: tuple[str, int, int, int | None] | None = None
        self.told_at = 0.0


class LocalSession:
    """One socket of this node.

    `cursor` None: not reading a stream (a worker, or a client that is still opening).
    `blocked`: its outbox was full when a durable message was due; `on_drain` ends that.
    `missed`: ephemeral messages dropped since the last frame that counted them.
    `replaced`: a newer session of the same client is here, or about to be welcome here.
    `account`: what the ledger needs of it; None: it has not been welcomed as a client.
    `hidden_tasks`: of a worker, those that it holds and its key has no scope for. `slot`: of the
    timetable, its entry that counts. `method`: how it proved who it is. `received`: frames from the
    peer, without pongs. `tap`: notes its frames, while somebody looks at it.
    """

    __slots__ = (
        "__weakref__",
        "_early",
        "account",
        "attached",
        "blocked",
        "close_code",
        "close_reason",
        "connection",
        "cursor",
        "hidden_tasks",
        "info",
        "method",
        "missed",
        "on_readable",
        "on_space",
        "outbox",
        "received",
        "replaced",
        "rooms",
        "slot",
        "stage",
        "tap",
    )

    def __init__(
        self, info: SessionInfo, outbox: Outbox, connection: Connection, method: str = ""
    ) -> None:
        self.info = info
        self.outbox = outbox
        self.connection = connection
        self.method = method
        self.received = 0
        self.tap: Tap | None = None
        self.cursor: Cursor | None = None
        self.stage = Stage.NEW
        self._early: list[Frame] | None = []  # None once it is welcomed
        self.blocked = False
        self.on_space: Callable[[], None] | None = None  # the consumer waits to write a reply
        self.on_readable: Callable[[], None] | None = None  # delivery waits to go on reading
        self.missed = 0
        self.replaced = False
        self.account: Account | None = None
        self.attached: set[str] = set()
        self.hidden_tasks: frozenset[str] = frozenset()
        self.rooms: list[Room] = []
        self.slot = NOT_LISTED
        self.close_code: int | None = None
        self.close_reason = ""

    @property
    def neighbourhood(self) -> str:
        """What counts as its address in limits; "" for a worker, and where it is not known."""
        if self.info.kind is not Kind.CLIENT:
            return ""
        return neighbourhood(host_in(self.info.address))

    def __repr__(self) -> str:
        return f"<LocalSession {self.info.kind} {self.info.id}>"

    @property
    def present(self) -> bool:
        """Whether it holds a lease that is to be renewed."""
        return Stage.PRESENT <= self.stage < Stage.CLOSED

    @property
    def renewable(self) -> bool:
        """Whether its lease, if it has one, is its own and not a newer session's."""
        return self.close_code is None and not self.replaced

    @property
    def closed(self) -> bool:
        """Whether its clean-up has begun."""
        return self.stage is Stage.CLOSED

    @property
    def stream_room(self) -> Room | None:
        """The room of the stream that it reads; None: a worker, or it has not come so far."""
        return next((room for room in self.rooms if room.reads_stream), None)

    @property
    def opening_bytes(self) -> int:
        """What waits for its welcome."""
        return sum(map(len, self._early or ()))

    @property
    def welcomed(self) -> bool:
        """Whether the first frame has been written."""
        return self._early is None

    def write(self, frame: Frame) -> Write:
        """Write a frame; one that comes before `welcome` follows it. FULL: there is no space."""
        if self._early is None:
            return self.outbox.write(frame)
        if len(self._early) >= MAX_EARLY:
            return Write.FULL
        self._early.append(frame)
        return Write.OK

    def welcome(self, frame: Frame, replay: Callable[[], None] | None = None) -> None:
        """Write the first frame, then what `replay` writes, then what came while it opened."""
        self.outbox.write(frame)
        early, self._early = self._early or [], None
        if replay is not None:
            replay()
        for one in early:
            if self.outbox.write(one) is not Write.OK:
                self.dropped()

    def dropped(self) -> None:
        """Count an ephemeral frame that found no space; the next one that does has the count."""
        self.missed += 1
        metrics.dropped_ephemeral.inc()

    def drained(self) -> None:
        """Go on writing: the outbox has space again, or the socket is gone. Replies go first."""
        if self.on_space is not None:
            self.on_space()
        if self.blocked:
            self.blocked = False
            if self.on_readable is not None:
                self.on_readable()

    def close(self, code: int, reason: str) -> None:
        """Close the socket and remember why; the first reason wins."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self.outbox.close(code, reason)


class Room:
    """The sessions of this node that listen to one group.

    `user`: whose stream these sessions read, or "" for a group that has none (broadcasts, workers).
    `seen`: the newest durable position that the layer brought. `latest`: the newest position that
    is known, from the layer or the stream. `doubt`: what that was when the layer brought a message
    that should have been known; the store may have gone back in time, and has to be asked.
    `reader`: the task that reads the stream for those who are behind, if one runs.
    """

    __slots__ = (
        "_on_message",
        "doubt",
        "group",
        "joining",
        "latest",
        "members",
        "reader",
        "seen",
        "user",
    )

    def __init__(self, group: str, user: str, on_message: Callable[[Room, Message], None]) -> None:
        self.group = group
        self.user = user
        self.members: dict[LocalSession, None] = {}
        self._on_message = on_message
        self.joining: asyncio.Future[None] | None = None
        self.seen: Position | None = None
        self.latest = Latest()
        self.doubt: Known | None = None
        self.reader: asyncio.Task[None] | None = None

    def __call__(self, message: Message) -> None:
        """Take in a message: to the layer a room is a sink."""
        self._on_message(self, message)

    @property
    def known(self) -> Known | None:
        """The newest known position of this user's stream."""
        return self.latest.known

    @property
    def reads_stream(self) -> bool:
        """Whether this is the room of a user's client sessions."""
        return self.user != ""

    def saw(self, epoch: str, offset: int, body: bytes) -> None:
        """Note a message that the layer brought; a late one does not hide a newer one."""
        seen, known = self.seen, self.latest.known
        position = Position(epoch, offset)
        if seen is None or seen.epoch != epoch or seen.offset < offset:
            self.seen = position
        new = Known(position, mark_of(body))
        if known is None or known.position.epoch != epoch or known.position.offset < offset:
            self.latest.take(new)
        elif self.doubt is None and (known.position.offset > offset or known.mark != new.mark):
            # Late, most often; or another message has the offset of one that was known.
            self.doubt = known

    def learn(self, page: Page) -> None:
        """Take in the head of the stream, as a page has it."""
        self.latest.take(Known.by(page))

    def is_ahead_of(self, position: Position) -> bool:
        """Return whether the layer brought something newer than `position` of the same epoch."""
        seen = self.seen
        return seen is not None and seen.epoch == position.epoch and seen.offset > position.offset


class Hub:
    """Every session of this node, its rooms by group, and when each session is looked at.

    `on_add`: called with each session that comes, before anything is written to it.
    """

    def __init__(self, layer: Layer, timetable: Timetable[str] | None = None) -> None:
        self.timetable = timetable or Timetable()
        self._layer = layer
        self._sessions: dict[str, LocalSession] = {}
        self._parts: tuple[dict[str, LocalSession], ...] = tuple({} for _ in range(PARTS))
        self._rooms: dict[str, Room] = {}
        self._count: Counter[Kind] = Counter()
        self._neighbours: Counter[str] = Counter()  # clients, by address
        self._users = 0  # rooms of users
        self.on_add: Callable[[LocalSession], None] | None = None
        self._discarding: set[asyncio.Future[None]] = set()
        self._gone: dict[str, asyncio.Future[None]] = {}  # somebody waits for the session's end

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[LocalSession]:
        """Iterate over a snapshot: sessions may come and go while the caller awaits."""
        return iter(tuple(self._sessions.values()))

    def _part_of(self, session: LocalSession) -> dict[str, LocalSession]:
        return self._parts[hash(session.info.user) % PARTS]

    def parts(self, together: int = 1) -> Iterator[tuple[float, Iterable[LocalSession]]]:
        """Iterate over the parts that have sessions: at which share of a round each is due, from 0
        to 1, and who is in it when that is looked at, which is possible once. A user's sessions
        are all in one part. `together`: how many of PARTS share a moment."""
        for number in range(0, PARTS, together):
            some = self._parts[number : number + together]
            if any(some):
                yield number / PARTS, chain.from_iterable(part.values() for part in some)

    def in_order(self, *, newest_first: bool) -> Iterator[LocalSession]:
        """Iterate over all sessions as they came; none may come or go meanwhile."""
        sessions = self._sessions.values()
        return reversed(sessions) if newest_first else iter(sessions)

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all sessions; for any thread."""
        return tuple(self._sessions)

    def count(self, kind: Kind) -> int:
        """Return how many sessions of a kind there are."""
        return self._count[kind]

    def neighbours(self, session: LocalSession) -> int:
        """Return how many clients there are of this one's address."""
        return self._neighbours[session.neighbourhood] if session.neighbourhood else 0

    def get(self, session_id: str) -> LocalSession | None:
        """Return a session, if it is here."""
        return self._sessions.get(session_id)

    def add(self, session: LocalSession) -> None:
        """Begin to hold a session."""
        self._sessions[session.info.id] = session
        self._part_of(session)[session.info.id] = session
        self._count[session.info.kind] += 1
        if session.neighbourhood:
            self._neighbours[session.neighbourhood] += 1
        self.watch(session)
        if self.on_add is not None:
            self.on_add(session)

    def watch(self, session: LocalSession) -> None:
        """Look at a session when something is due for it next: this has just changed."""
        table = self.timetable
        due = session.connection.due(table.now(), table.wall())
        session.slot = table.list(session.info.id, due, session.slot)

    def stalled(self, session: LocalSession) -> None:
        """Note that a session's socket has not taken all that was written to it just now."""
        waiting, drained = session.outbox.flow()
        if waiting:
            session.connection.stalled(self.timetable.now(), drained)
            self.watch(session)

    def discard(self, session: LocalSession) -> None:
        """Stop holding it; idempotent. Its rooms are left by `leave`."""
        if self._sessions.pop(session.info.id, None) is not None:
            del self._part_of(session)[session.info.id]
            self._count[session.info.kind] -= 1
            if session.neighbourhood:
                self._neighbours[session.neighbourhood] -= 1
                if not self._neighbours[session.neighbourhood]:
                    del self._neighbours[session.neighbourhood]
        if (gone := self._gone.pop(session.info.id, None)) is not None and not gone.done():
            gone.set_result(None)

    async def until_gone(self, ids: Collection[str], timeout: float) -> list[str]:
        """Wait until these sessions are not here any more; returns those that still are."""
        waiting = [
            self._gone.setdefault(id, asyncio.get_running_loop().create_future())
            for id in ids
            if id in self._sessions
        ]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)
        return [id for id in ids if id in self._sessions]

    def room(self, group: str) -> Room | None:
        """Return the room of a group, if anybody is in it."""
        return self._rooms.get(group)

    def users(self) -> int:
        """Return how many users have a client session here; for any thread."""
        return self._users

    def rooms(self) -> tuple[Room, ...]:
        """Return all rooms as they are now."""
        return tuple(self._rooms.values())

    async def join(
        self,
        session: LocalSession,
        group: str,
        user: str,
        on_message: Callable[[Room, Message], None],
    ) -> Room:
        """Put the session into the room of `group`; returns when the layer has confirmed it.

        From then on `on_message` gets every message of the group, once for the room.
        """
        room = self._rooms.get(group)
        if room is None:
            room = self._rooms[group] = Room(group, user, on_message)
            self._users += room.reads_stream
            room.joining = asyncio.ensure_future(self._layer.group_add_sink(group, room))
            room.joining.add_done_callback(partial(_joined, room))
        room.members[session] = None
        session.rooms.append(room)
        if room.joining is not None:
            # Shielded: the others in this room wait for the same confirmation.
            await asyncio.shield(room.joining)
        return room

    async def leave(self, session: LocalSession, group: str | None = None) -> None:
        """Leave one room, or all; the last one out leaves the group."""
        empty: list[Room] = []
        for room in [r for r in session.rooms if group is None or r.group == group]:
            session.rooms.remove(room)
            room.members.pop(session, None)
            if not room.members and self._rooms.get(room.group) is room:
                del self._rooms[room.group]
                self._users -= room.reads_stream
                if room.reader is not None:
                    room.reader.cancel()
                empty.append(room)
        # The session is in no room any more, whatever becomes of the rest at the layer.
        failure: Exception | None = None
        for room in empty:
            if room.joining is not None and not room.joining.done():
                # The confirmation would come after us, and the sink would stay; nor is it waited
                # for: whoever leaves may have been cancelled because it never comes.
                room.joining.add_done_callback(partial(self._discard_later, room))
            else:
                try:
                    await self._layer.group_discard_sink(room.group, room)
                except Exception as error:
                    failure = error
        if failure is not None:
            raise failure

    def _discard_later(self, room: Room, _: object) -> None:
        task = asyncio.ensure_future(self._layer.group_discard_sink(room.group, room))
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)


def _joined(room: Room, joining: asyncio.Future[None]) -> None:
    """Ask how it ended, for all who waited may have gone. A join that failed stays, so that whoever
    comes into the room later gets its error as well."""
    if not joining.cancelled() and joining.exception() is None:
        room.joining = None
