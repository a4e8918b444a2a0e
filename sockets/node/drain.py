"""Drain: the clients of a node are sent away, evenly, and keep their socket until they are back.

A client opens its new connection at another node, and is welcome there, before the old socket is
closed: so what is published meanwhile reaches it by the one or the other. Whoever does not come
back is closed a little later, and returns then.
"""

from __future__ import annotations

import asyncio
import logging
from operator import itemgetter

from sockets.codes import CloseCode
from sockets.delivery.hub import Hub, LocalSession
from sockets.protocol.codec import encode
from sockets.protocol.messages import Closing
from sockets.types import Kind

logger = logging.getLogger(__name__)

REASON = "this node is draining"

STEP = 0.1
"""Seconds between two batches of closes."""


def spread(count: int, seconds: float) -> list[float]:
    """`reconnect_after` for each of `count` clients: evenly over `seconds`, to the millisecond.

    The last one returns at the end, so nobody's wait depends on chance.
    """
    return [round(seconds * (index + 1) / count, 3) for index in range(count)]


async def drain(hub: Hub, seconds: float, overlap: float = 0.0) -> None:
    """Tell everybody when to come back, and close them (4000): clients at most `overlap` seconds
    after that, workers then.

    When it is cancelled, those that are left are closed at once.
    """
    sessions = list(hub)
    waits = spread(len(sessions), seconds)
    for session, wait in zip(sessions, waits, strict=True):
        if session.welcomed:  # `welcome` is the first frame, always
            session.outbox.write(encode(Closing(CloseCode.DRAINING, wait)))
    logger.info("draining %d sessions in %g s", len(sessions), seconds)
    begin = asyncio.get_running_loop().time()
    left = sorted(
        (
            (wait + (overlap if session.info.kind is Kind.CLIENT else 0.0), session)
            for wait, session in zip(waits, sessions, strict=True)
        ),
        key=itemgetter(0),
        reverse=True,
    )
    try:
        while left:
            passed = asyncio.get_running_loop().time() - begin
            while left and left[-1][0] <= passed:
                _close(left.pop()[1])
            if not len(hub):
                return  # they did not wait for it
            await asyncio.sleep(STEP)
    finally:
        for _, session in left:
            _close(session)


def _close(session: LocalSession) -> None:
    session.close(CloseCode.DRAINING, REASON)
