"""How well a live session keeps up, and what is told of it. Nothing here awaits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sockets.conf import Conf
from sockets.delivery.hub import LocalSession
from sockets.reports import Health, LiveSession

SLOW_AFTER = 2.0
"""Seconds for which a socket takes nothing of what waits for it, to count as slow; half of
SLOW_TIMEOUT where that is less."""


@dataclass(frozen=True, slots=True)
class Look:
    """A look at sessions at one moment. `now`: by the timetable's clock. `wall`: seconds since the
    epoch. `grace`: seconds that a socket may stay beyond its proof."""

    now: float
    wall: float
    grace: float
    slow_after: float

    def health(self, session: LocalSession) -> Health:
        """Return how well a session keeps up."""
        connection, cursor = session.connection, session.cursor
        if session.blocked or connection.stalled_for(self.now) >= self.slow_after:
            return Health.SLOW
        ends = connection.expires_at
        if ends is not None and self.wall >= ends - self.grace:
            return Health.IN_GRACE
        if cursor is not None and cursor.behind:
            return Health.LAGGING
        return Health.HEALTHY

    def report(self, session: LocalSession) -> LiveSession:
        """Return what a list shows of a session."""
        return LiveSession(
            session.info,
            self.health(session),
            lag_of(session),
            buffered_of(session),
            session.connection.round_trip,
        )


def looks(conf: Conf, now: Callable[[], float], wall: Callable[[], float]) -> Callable[[], Look]:
    """Return what makes a look of now."""
    slow_after = min(SLOW_AFTER, conf.slow_timeout / 2)
    return lambda: Look(now(), wall(), conf.token_grace, slow_after)


def lag_of(session: LocalSession) -> int:
    """Return how many messages of its stream a session was not sent; all of them where it is at
    another epoch."""
    cursor, rooms = session.cursor, session.rooms
    if cursor is None or not rooms:
        return 0
    known = rooms[0].latest.known  # that of its stream, which is joined first
    if known is None:
        return 0
    head = known.position
    return max(0, head.offset - cursor.offset) if head.epoch == cursor.epoch else head.offset


def buffered_of(session: LocalSession) -> int:
    """Return how many bytes wait for its socket."""
    return session.outbox.flow()[0]
