"""From a layer message to the frames of sessions: sinks that the layer calls, once for each room.

What a session cannot take now, or what the layer lost, is read from the stream later: once for a
room, however many of its sessions are behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from sockets.base import metrics
from sockets.conf import Conf
from sockets.delivery.compose import compose
from sockets.delivery.delivery_log import DeliveryLog
from sockets.delivery.hub import LocalSession, Room
from sockets.exceptions import GatewayUnavailable
from sockets.layers.fanout import Message
from sockets.layers.wire import NOTIFY
from sockets.protocol.codec import encode, message_frame
from sockets.protocol.frames import Frame
from sockets.protocol.messages import PositionMoved, Reset
from sockets.protocol.outbox import Write
from sockets.protocol.recovery import Cursor, Deliver, Live, Lost, Moved, Opening, Step, steps
from sockets.streams.base import Streams
from sockets.streams.known import Known
from sockets.types import Notification, Outcome, Page, Position

logger = logging.getLogger(__name__)

_TIME = b'"time":'
_TIME_FROM = -40
"""Where the last member of a message's JSON begins at the earliest: `"time":`, and its number."""

_OLDEST = 86_400.0
"""Seconds that a message may be old when the layer brings it; more is a clock that is wrong."""

PAGE = 100
"""Entries read from a stream at a time for sessions that are behind."""

SLICE = 500
"""Sessions written to before other work of the loop gets its turn (broadcast)."""


class Delivery:
    """Notifications on their way to sessions. Belongs to the node's event loop.

    `spawn` starts a task of the node: it is kept, its error logged, and it is cancelled at stop.
    `wall`: the clock that messages have their time from, on this host.
    """

    def __init__(
        self,
        *,
        conf: Conf,
        streams: Streams,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        clock: Callable[[], float] = time.time,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._conf = conf
        self._streams = streams
        self._spawn = spawn
        self._clock = clock
        self._wall = wall
        self._log = DeliveryLog(clock=clock)
        self.taken = 0  # messages that the layer has brought, to this day

    def outcome(
        self, session: LocalSession, epoch: str, offset: int
    ) -> tuple[Outcome, float | None]:
        """Return what became of a message for this session, and when it was sent."""
        if (noted := self._log.find(session.info.id, epoch, offset)) is not None:
            at, excluded = noted
            return (Outcome.EXCLUDED, None) if excluded else (Outcome.SENT, at)
        cursor = session.cursor
        if cursor is not None and cursor.epoch == epoch and cursor.offset < offset:
            return Outcome.PENDING, None
        return Outcome.UNKNOWN, None

    # --- sinks, called by the layer, one call a room

    def on_user_message(self, room: Room, message: Message) -> None:
        """Take in a message for a user: ours (`body`), or Channels code's (`event`, `data`)."""
        self.taken += 1
        body = self._body_of(message)
        exclude = message.get("exclude_client")
        epoch, offset = message.get("epoch"), message.get("offset")
        if offset is None:
            written = self._write_ephemeral(room.members, body, exclude)
        elif isinstance(epoch, str) and type(offset) is int:
            written = self._write_durable(room, body, exclude, epoch, offset)
        else:
            raise ValueError("a durable message has an epoch (str) and an offset (int)")
        if written:
            self._observe(message, durable=offset is not None)

    def _body_of(self, message: Message) -> bytes:
        """Return the ready JSON of our own messages, or that of what plain Channels code sent."""
        if message.get("type") != NOTIFY:
            raise ValueError(f"type {message.get('type')!r} is not for client sessions")
        body = message.get("body")
        if body is None:
            limit = self._conf.max_message_size
            given = Notification(None, message["event"], message.get("data"))
            body = compose(given, limit=limit, now=self._clock()).body
        if not isinstance(body, bytes):
            raise ValueError("body must be bytes")
        return body

    def _observe(self, message: Message, *, durable: bool) -> None:
        """Count how long ago a message that has just been written was made. What plain Channels
        code sent does not say when."""
        body = message.get("body")
        if body is None:
            return
        try:
            age = self._wall() - float(body[body.rindex(_TIME, _TIME_FROM) + len(_TIME) : -1])
        except ValueError:  # not of our form
            return
        if age < _OLDEST:
            metrics.delivery[durable].observe(max(age, 0.0))

    def on_broadcast(self, room: Room, message: Message) -> None:
        """Take in a message for every client: in slices, so that it does not hold the loop."""
        self.taken += 1
        body, exclude = self._body_of(message), message.get("exclude_client")
        members = tuple(room.members)
        written = self._write_ephemeral(members[:SLICE], body, exclude)
        if len(members) > SLICE:
            self._spawn(self._broadcast_rest(members[SLICE:], message, body, exclude))
        elif written:
            self._observe(message, durable=False)

    async def _broadcast_rest(
        self, members: Sequence[LocalSession], message: Message, body: bytes, exclude: str | None
    ) -> None:
        for start in range(0, len(members), SLICE):
            await asyncio.sleep(0)
            self._write_ephemeral(members[start : start + SLICE], body, exclude)
        self._observe(message, durable=False)  # as the last of them sees it

    def _write_ephemeral(
        self, members: Iterable[LocalSession], body: bytes, exclude: str | None
    ) -> int:
        """Write it to all of them; returns to how many."""
        frame = message_frame(body)
        written = 0
        for session in members:
            if exclude is not None and session.info.client_id == exclude:
                continue
            result = self._write(session, body, frame)
            if result is Write.FULL:
                session.dropped()
            elif result is Write.OK:
                written += 1
        metrics.delivered_live.inc(written)
        return written

    def _write_durable(
        self, room: Room, body: bytes, exclude: str | None, epoch: str, offset: int
    ) -> int:
        """Write it to those of the room for whom it is the next; returns to how many."""
        room.saw(epoch, offset, body)
        frame = message_frame(body, offset=offset)
        sent: list[str] = []
        left_out: list[str] = []
        gap = False
        for session in room.members:
            cursor = session.cursor
            if cursor is None:  # still opening: it reads the stream when it begins
                continue
            verdict = cursor.on_live(epoch, offset)
            if verdict is Live.DELIVER:
                excluded = exclude is not None and session.info.client_id == exclude
                if excluded:
                    result = session.outbox.write(encode(PositionMoved(offset)))
                else:
                    result = self._write(session, body, frame, offset=offset)
                if result is Write.OK:
                    cursor.moved(epoch, offset)
                    (left_out if excluded else sent).append(session.info.id)
                else:
                    cursor.behind = session.blocked = True
            elif verdict is Live.BEHIND and not cursor.behind:
                cursor.behind = gap = True
        written = len(sent) + len(left_out)
        if written:
            self._log.note(epoch, offset, sent, left_out)
            metrics.delivered_live.inc(written)
        if gap or room.doubt is not None:
            self.wake(room)
        return written

    @staticmethod
    def _write(
        session: LocalSession, body: bytes, frame: Frame, *, offset: int | None = None
    ) -> Write:
        """Write the shared frame, or one of its own for a session that has lost some."""
        if not session.missed or not session.welcomed:
            return session.write(frame)
        result = session.write(message_frame(body, offset=offset, missed=session.missed))
        if result is Write.OK:
            session.missed = 0
        return result

    # --- reading the stream

    def begin(
        self, room: Room, session: LocalSession, welcome: Frame, opening: Opening, page: Page
    ) -> None:
        """Welcome the session: what it missed follows, then what came while it opened."""
        start = opening.start
        if opening.recovered:
            metrics.recovered.observe(page.missing)
        elif opening.recovered is False:
            metrics.UNRECOVERED.inc()
        room.learn(page)
        session.cursor = Cursor(start.epoch, start.offset)
        session.on_readable = partial(self.wake, room)
        session.welcome(welcome, partial(self._feed, room, session, page, {}))
        if session.cursor.behind and not session.blocked:
            self.wake(room)

    def compare(self, room: Room, head: Position) -> None:
        """Compare sessions with the head of their stream; those that lag read what is missing."""
        _mark_lagging(room, head)
        if any(map(_can_read, room.members)) or room.doubt is not None:
            self.wake(room)

    def wake(self, room: Room) -> None:
        """Read the stream for those in the room who are behind, unless that goes on already."""
        if room.reader is None:
            room.reader = self._spawn(self._catch_up(room))

    async def _catch_up(self, room: Room) -> None:
        try:
            await self._dispel(room)
            while lagging := [s for s in room.members if _can_read(s)]:
                epoch = lagging[0].cursor.epoch  # type: ignore[union-attr]
                cursors = [s.cursor for s in lagging if s.cursor and s.cursor.epoch == epoch]
                start = Position(epoch, min(cursor.offset for cursor in cursors))
                seen = room.seen
                page = await self._streams.follow(room.user, start, PAGE, room.known)
                room.learn(page)
                if seen is not None and seen is room.seen and seen.epoch == page.epoch:
                    # The append comes before its message: what the stream does not have by now
                    # was never in it, and would be waited for in vain.
                    room.seen = Position(page.epoch, min(seen.offset, page.head))
                frames: dict[int, Frame] = {}
                for session in lagging:
                    if _can_read(session) and session.cursor and session.cursor.epoch == epoch:
                        self._feed(room, session, page, frames)
                await asyncio.sleep(0)
                await self._dispel(room)
        except GatewayUnavailable as error:
            # Nothing is lost: the next renewal compares with the head and wakes us again.
            logger.warning("cannot read a stream yet: %s", error)
        finally:
            room.reader = None

    async def _dispel(self, room: Room) -> None:
        """Ask the stream whether it still has what was known of it."""
        while (doubt := room.doubt) is not None:
            heads = await self._streams.heads([room.user], {room.user: doubt})
            if (head := heads.get(room.user)) is None:
                raise GatewayUnavailable("the stream cannot be compared")
            room.latest.take(Known(head))
            if room.doubt is doubt:
                room.doubt = None
            _mark_lagging(room, head)

    def _feed(
        self, room: Room, session: LocalSession, page: Page, frames: dict[int, Frame]
    ) -> None:
        """Write a page to a session, as far as its outbox takes it.

        `frames` by offset: shared by the sessions that are fed from the same page.
        """
        cursor = session.cursor
        assert cursor is not None
        for step in steps(cursor, page, session.info.client_id):
            if session.outbox.write(_frame(step, frames)) is not Write.OK:
                session.blocked = True
                return
            match step:
                case Deliver(entry, _):
                    cursor.moved(page.epoch, entry.offset)
                    self._log.note(page.epoch, entry.offset, (session.info.id,))
                    metrics.delivered_recovered.inc()
                case Moved(offset):
                    cursor.moved(page.epoch, offset)
                case Lost(position):
                    cursor.restarted(position.epoch, position.offset)
        at = Position(cursor.epoch, cursor.offset)
        if at.epoch == page.epoch and at.offset >= page.head:
            cursor.behind = room.is_ahead_of(at)


def _mark_lagging(room: Room, head: Position) -> None:
    for session in room.members:
        cursor = session.cursor
        if cursor is not None and not cursor.behind:
            # Ahead of it is no fault: the head was asked for a moment ago.
            cursor.behind = cursor.epoch != head.epoch or cursor.offset < head.offset


def _can_read(session: LocalSession) -> bool:
    cursor = session.cursor
    return cursor is not None and cursor.behind and not session.blocked


def _frame(step: Step, frames: dict[int, Frame]) -> Frame:
    match step:
        case Deliver(entry, None):
            frame = frames.get(entry.offset)
            if frame is None:
                frame = frames[entry.offset] = message_frame(entry.body, offset=entry.offset)
            return frame
        case Deliver(entry, prev):
            return message_frame(entry.body, offset=entry.offset, prev=prev)
        case Moved(offset):
            return encode(PositionMoved(offset))
        case Lost(position):
            return encode(Reset(position.epoch, position.offset))
