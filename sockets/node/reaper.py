"""What a dead node left undone, done by whichever node finds it first."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sockets.base import metrics
from sockets.cluster.registry import Nodes
from sockets.exceptions import GatewayUnavailable
from sockets.sessions.handover import Handover
from sockets.sessions.tracker import PresenceTracker
from sockets.types import NodeInfo

logger = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between two looks for the dead; less where leases are short."""


class Reaper:
    """Belongs to the node's event loop. `buried`: called with a node whose sessions are dead for
    sure, so that its rows can be closed; what it starts is not waited for."""

    def __init__(
        self,
        *,
        nodes: Nodes,
        tracker: PresenceTracker,
        handover: Handover,
        lease: float,
        buried: Callable[[NodeInfo, float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._nodes = nodes
        self._tracker = tracker
        self._handover = handover
        self._interval = min(INTERVAL, lease / 4)
        self._buried = buried
        self._clock = clock

    async def run(self) -> None:
        """Run for ever. A failed round is logged, and the next one follows."""
        while True:
            await asyncio.sleep(self._interval)
            await self._round(self.reap)

    async def _round(self, work: Callable[[], Awaitable[int]]) -> None:
        try:
            await work()
        except GatewayUnavailable:
            return  # the renewal logs that, once
        except Exception:
            logger.exception("clearing up after a dead node failed; again in %g s", self._interval)

    async def reap(self) -> int:
        """Finish for every dead node that can be claimed now. Returns how many those were."""
        if self._tracker.out_of_touch or self._tracker.just_back:
            return 0
        if not self._tracker.life:
            return 0  # between two lives nobody can judge
        count = 0
        while (dead := await self._nodes.claim(self._tracker.life)) is not None:
            count += 1
            # Without a process: a former life, to which only late calls have added users.
            died = dead.state != "stopped" and dead.pid
            if died:
                logger.warning("node %s (process %d) is dead: clearing up", dead.name, dead.pid)
                if dead.name not in {info.name for info in await self._nodes.all()}:
                    self._buried(dead, self._clock())
            if not await self._handover.finish_for(dead):
                logger.warning(
                    "not everything of node %s could be announced; again later", dead.name
                )
                return count
            if died:
                await self._nodes.note_lost(dead)
            await self._nodes.forget(dead.id)
            if died:
                metrics.NODES_REAPED.inc()
        return count
