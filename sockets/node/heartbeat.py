"""What a node does by the clock: pings, and time-outs.

One task for all sessions, which looks at those only for whom something may be due; every decision
is `Connection.tick`'s. In slices, so that many sessions do not hold the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator

from sockets.base import metrics
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.delivery.hub import Hub, LocalSession
from sockets.protocol.codec import encode
from sockets.protocol.connection import Close, SendPing
from sockets.protocol.messages import Ping
from sockets.protocol.outbox import Write

logger = logging.getLogger(__name__)

SLICE = 500
"""Sessions looked at before other work of the loop gets its turn."""

STEP = 1.0
"""Seconds by which the wall clock has been set, or the machine has slept, to count as that."""

_PING = encode(Ping(0))


def tick_interval(conf: Conf) -> float:
    """Seconds within which what is due is done: one, or less where settings are short."""
    shortest = min(conf.heartbeat, conf.pong_timeout, conf.slow_timeout)
    return max(0.02, min(1.0, shortest / 5))


def _nobody_counts(late: float) -> None:
    """Note how late a round was."""


async def beat(conf: Conf, hub: Hub, ticked: Callable[[float], None] = _nobody_counts) -> None:
    """Run for ever. A failed round is logged and the next one goes on.

    `ticked`: called in each round, with the seconds that the loop was late for it.
    """
    interval, clock, wall = hub.timetable.interval, hub.timetable.clock, hub.timetable.wall
    patience = min(conf.pong_timeout, conf.slow_timeout) / 2
    offset = wall() - clock()
    while True:
        before = clock()
        await asyncio.sleep(interval)
        late = clock() - before - interval
        metrics.loop_lag.observe(max(late, 0.0))
        if late > patience:
            logger.warning("this process stood still for %.1f s", late)
            hub.timetable.stood_still(late)
        try:
            ticked(max(late, 0.0))
            if late > patience or abs(wall() - clock() - offset) > STEP:
                offset = wall() - clock()
                await look_at_each(hub, hub)  # tokens end by the wall clock
            await look_at_each(hub, _due(hub))
        except Exception:
            logger.exception("a heartbeat failed; the next one follows in %g s", interval)


def _due(hub: Hub) -> Iterator[LocalSession]:
    for slot, id in hub.timetable.due():
        session = hub.get(id)
        if session is not None and session.slot == slot:
            yield session


async def look_at_each(hub: Hub, sessions: Iterable[LocalSession]) -> None:
    """Ask the sessions' connections what is due, do it, and list them for the next time."""
    for index, session in enumerate(sessions):
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        try:
            look_at(session, hub.timetable.now(), hub.timetable.wall())
        except Exception:
            # A bug in one must not take the pings from all after it.
            logger.exception("looking at %r failed", session)
        if session.close_code is None:
            hub.watch(session)


def look_at(session: LocalSession, now: float, wall: float) -> None:
    """One session at one moment."""
    if session.close_code is not None:
        return
    due = session.connection.tick(now, wall, *session.outbox.flow())
    if isinstance(due, Close):
        if due.code is CloseCode.SLOW_CONSUMER:
            metrics.SLOW_CONSUMERS.inc()
        session.close(due.code, due.reason)
    elif isinstance(due, SendPing):
        ping = encode(Ping(session.missed)) if session.missed else _PING
        if session.outbox.write(ping) is Write.OK:
            session.missed = 0
            session.connection.ping_sent(now)
