"""What a node does by the clock: pings, and time-outs.

One task for all sessions; every decision is `Connection.tick`'s. In slices, so that many sessions
do not hold the loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

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


def tick_interval(conf: Conf) -> float:
    """Seconds between two looks at every session: a second, or less where settings are short."""
    shortest = min(conf.heartbeat, conf.pong_timeout, conf.slow_timeout)
    return max(0.02, min(1.0, shortest / 5))


async def beat(conf: Conf, hub: Hub, clock: Callable[[], float] = time.monotonic) -> None:
    """Run for ever. A failed round is logged and the next one goes on."""
    interval = tick_interval(conf)
    patience = min(conf.pong_timeout, conf.slow_timeout) / 2
    while True:
        before = clock()
        await asyncio.sleep(interval)
        late = clock() - before - interval
        if late > patience:
            logger.warning("this process stood still for %.1f s", late)
            for session in hub:
                session.connection.excuse(late)
        try:
            await look_at_all(hub)
        except Exception:
            logger.exception("a heartbeat failed; the next one follows in %g s", interval)


async def look_at_all(hub: Hub) -> None:
    """Ask every session's connection what is due, and do it."""
    for index, session in enumerate(hub):
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        try:
            look_at(session, time.monotonic(), time.time())
        except Exception:
            # A bug in one must not take the pings from all after it.
            logger.exception("looking at %r failed", session)


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
        result = session.outbox.write(encode(Ping(session.missed)))
        if result is Write.OK:
            session.missed = 0
            session.connection.ping_sent(now)
