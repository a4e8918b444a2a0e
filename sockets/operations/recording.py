"""What this node records because an operator looks: headers of one session's frames, and traces of
users. In memory only, bounded in number, size and time; of tokens nothing, ever."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from sockets.delivery.hub import Hub, LocalSession
from sockets.layers.groups import user_group
from sockets.operations.taps import Head, look_at, tidy
from sockets.operations.wire import TraceOrder, TracePart, without_bodies
from sockets.reports import FrameHeader, TracedFrame
from sockets.types import Kind

MAX_FRAMES: Final = 200
"""Frames that are kept of a session that is looked at, and of a traced user."""

MAX_WATCHED: Final = 20
"""Sessions of one node that are looked at; the one that was asked for longest ago goes."""

WATCH_FOR: Final = 30.0
"""Seconds that headers are kept after the last question for them."""

MAX_TRACES: Final = 4
"""Users who are traced at once."""

MAX_TRACE: Final = 900.0
"""Seconds that a trace takes at most."""

MAX_ENDED: Final = 16
"""Ended traces of different users that are remembered, so that nobody begins them again."""

MAX_SKEW: Final = 60.0
"""Seconds by which nodes' clocks differ at most, if nobody has set one back."""

MAX_BODY: Final = 4_096
"""Characters of a body that are kept."""

Clock = Callable[[], float]


class Headers:
    """The newest headers of one session. `now`: monotonic seconds, by which `until` is."""

    def __init__(self, clock: Clock, now: Clock) -> None:
        self._clock = clock
        self._now = now
        self._count = 0
        self.until = 0.0
        self.ended = False
        self.frames: deque[FrameHeader] = deque(maxlen=MAX_FRAMES)

    @property
    def over(self) -> bool:
        """Whether nobody has asked for them for a while."""
        return self.ended or self._now() >= self.until

    def note(
        self, session: LocalSession, head: Head, size: int, *, inbound: bool, text: str | None
    ) -> None:
        """As of `taps.Look`."""
        self._count += 1
        now = self._clock()
        self.frames.append(FrameHeader(self._count, now, inbound, head.type, head.event, size))


class UserTrace:
    """The newest frames of all of a user's client sessions at this node. It ends after its length
    by `now`, monotonic seconds: nobody who sets a clock back makes it longer."""

    def __init__(self, order: TraceOrder, node: str, clock: Clock, now: Clock) -> None:
        self.order = order
        self.ended = False
        self._node = node
        self._clock = clock
        self._now = now
        self._until = now() + min(order.until - clock(), MAX_TRACE)
        self._count = 0
        self._frames: deque[TracedFrame] = deque(maxlen=MAX_FRAMES)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.ended or self._now() >= self._until

    def note(
        self, session: LocalSession, head: Head, size: int, *, inbound: bool, text: str | None
    ) -> None:
        """As of `taps.Look`."""
        self._count += 1
        now = self._clock()
        header = FrameHeader(self._count, now, inbound, head.type, head.event, size)
        body = text[:MAX_BODY] if self.order.bodies and text is not None else None
        self._frames.append(TracedFrame(session.info.id, self._node, header, body))

    def part(self, after: int, *, began: float | None, bodies: bool) -> TracePart:
        """Return the frames after this number of the trace that began then."""
        if began not in (None, self.order.started_at):
            after = 0
        new = [one for one in self._frames if one.header.number > after]
        dropped = self._count - len(self._frames)
        frames = new if bodies else without_bodies(new)
        return TracePart(self.order, frames, dropped, self._count)


class Recordings:
    """All of one node. Belongs to its event loop. `clock`: seconds since the epoch."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._now = hub.timetable.clock
        self._watched: dict[str, tuple[LocalSession, Headers]] = {}  # by the last question
        self._traces: dict[str, UserTrace] = {}
        self._ended: dict[str, TraceOrder] = {}  # the last of a user; the oldest first

    # --- one session

    def headers(self, session: LocalSession) -> list[FrameHeader]:
        """Return the headers that are kept of a session's frames, oldest first; and keep them for
        WATCH_FOR seconds more."""
        self._end_what_is_over()
        _, headers = self._watched.pop(session.info.id, (session, Headers(self._clock, self._now)))
        self._watched[session.info.id] = session, headers
        headers.until = self._now() + WATCH_FOR
        look_at(session, headers)
        while len(self._watched) > MAX_WATCHED:
            self._unwatch(next(iter(self._watched)))
        self._end_later(WATCH_FOR)
        return list(headers.frames)

    def _unwatch(self, id: str) -> None:
        session, headers = self._watched.pop(id)
        headers.ended = True
        tidy(session)

    # --- one user

    def trace(self, order: TraceOrder, node: str) -> bool:
        """Begin a trace, in place of one of the same user. False: there are too many.

        One that has ended is not begun again: who asks for that has not heard of its end.
        """
        self._end_what_is_over()
        known = self._traces.get(order.user)
        if known is not None and known.order == order:
            return True
        if self._has_ended(order):
            return True
        if known is None and len(self._traces) >= MAX_TRACES:
            return False
        self.end_trace(order.user)
        length = order.until - self._clock()
        if length <= 0:
            return True  # it is over already
        trace = self._traces[order.user] = UserTrace(order, node, self._clock, self._now)
        for session in self._sessions_of(order.user):
            look_at(session, trace)
        self._hub.on_add = self._added
        self._end_later(min(length, MAX_TRACE))
        return True

    def read_trace(
        self, user: str, after: int, *, began: float | None = None, bodies: bool
    ) -> TracePart:
        """Return what was recorded of a user after the frame of this number. `began`: of the trace
        that it is of; None: the one that there is."""
        self._end_what_is_over()
        trace = self._traces.get(user)
        if trace is None:
            return TracePart(None, ended=self._ended.get(user))
        return trace.part(after, began=began, bodies=bodies)

    def end_trace(self, user: str) -> bool:
        """End the trace of a user, and forget what it recorded. Returns whether there was one."""
        trace = self._traces.pop(user, None)
        if trace is None:
            return False
        trace.ended = True
        self._remember(trace.order)
        for session in self._sessions_of(user):
            tidy(session)
        if not self._traces:
            self._hub.on_add = None
        return True

    def _has_ended(self, order: TraceOrder) -> bool:
        ended = self._ended.get(order.user)
        if ended is None or order == ended:
            return ended is not None
        was_set_back = ended.started_at > self._clock() + MAX_SKEW
        return order.started_at < ended.started_at and not was_set_back

    def _remember(self, order: TraceOrder) -> None:
        now = self._clock()
        self._ended.pop(order.user, None)
        self._ended[order.user] = order
        for user in [user for user, one in self._ended.items() if one.until <= now]:
            del self._ended[user]
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _added(self, session: LocalSession) -> None:
        trace = self._traces.get(session.info.user)
        if trace is not None and session.info.kind is Kind.CLIENT:
            look_at(session, trace)

    def _sessions_of(self, user: str) -> Sequence[LocalSession]:
        room = self._hub.room(user_group(user))
        return tuple(room.members) if room is not None else ()

    # --- what time brings

    def _end_later(self, seconds: float) -> None:
        # A moment more: what is looked for is over then.
        asyncio.get_running_loop().call_later(seconds + 0.1, self._end_what_is_over)

    def _end_what_is_over(self) -> None:
        for id in [id for id, (_, headers) in self._watched.items() if headers.over]:
            self._unwatch(id)
        for user in [user for user, trace in self._traces.items() if trace.over]:
            self.end_trace(user)
