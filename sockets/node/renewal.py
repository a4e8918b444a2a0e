"""When leases are renewed and streams compared: by the clock, and at once after a gap."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sockets.base import metrics
from sockets.conf import Conf
from sockets.exceptions import GatewayError, GatewayUnavailable

logger = logging.getLogger(__name__)

SPREAD = 0.8
"""Of the time between two rounds: what one takes while all is well, so that it is no burst of work
that everybody else waits for."""

RETRY = 1.0
"""Seconds until a round that failed is tried again; less where rounds are shorter."""


class Renewal:
    """Belongs to the node's event loop.

    `renew`: one round; gets a function that waits for the moment of a share of it, from 0 to 1.
    `succeeded`: the last round did.
    """

    def __init__(
        self,
        conf: Conf,
        renew: Callable[[Callable[[float], Awaitable[None]]], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = conf.lease_renew
        self._lease = conf.lease_ttl
        self._clock = clock
        self._last = clock()
        self._ended: asyncio.Future[None] | None = None  # somebody waits for the end of a round
        self._retry = min(RETRY, conf.lease_renew)
        self._renew = renew
        self._hurry = asyncio.Event()
        self._began = clock()
        self._spread = False  # this round may take its time
        self._paused = 0.0  # seconds of this round in which nothing was due
        self._problem = ""  # logged already
        self.succeeded = True

    def failed(self) -> None:
        """Note that the node could not even begin: it is tried again soon."""
        self.succeeded = False

    def hurry(self) -> None:
        """Begin a round now: messages may have been lost."""
        self._hurry.set()

    def make_haste(self) -> None:
        """Spread the round no more that is under way: the store has forgotten this node."""
        self._spread = False

    @property
    def overdue(self) -> bool:
        """Whether the leases have run out unnoticed: this process was frozen.

        Where Redis is away that is known, and nothing is waited for.
        """
        return self.succeeded and self._clock() - self._last > self._lease

    async def caught_up(self) -> None:
        """Wait for a round that begins now."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
        self.hurry()
        await asyncio.shield(self._ended)

    async def run(self) -> None:
        """Run for ever."""
        while True:
            wait = self._retry
            if self.succeeded:
                # What was renewed at once has the last of its parts due in time, too.
                until = self._interval if self._spread else (1 - SPREAD) * self._interval
                wait = max(0.0, self._began + until - self._clock())
            # After a gap, or a failure, all are renewed at once.
            self._spread = not await self._hurried(wait) and self.succeeded
            self._hurry.clear()
            # Whoever comes during this round waits for the next: it may have begun before a freeze.
            ended, self._ended = self._ended, None
            await self._round()
            if ended is not None:
                ended.set_result(None)

    async def _hurried(self, seconds: float) -> bool:
        """Wait for so long, or until somebody hurries."""
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return False
        return True

    async def _until(self, share: float) -> None:
        """Wait until this share of the round is due."""
        if self._spread:
            now = self._clock()
            wait = self._began + share * SPREAD * self._interval - now
            if wait > 0:
                if await self._hurried(wait):
                    self._spread = False  # the next round has to begin
                self._paused += self._clock() - now

    async def _round(self) -> None:
        began = self._began = self._clock()
        self._paused = 0.0
        try:
            await self._renew(self._until)
        except GatewayError as error:
            if self.succeeded or str(error) != self._problem:
                logger.warning(
                    "leases cannot be renewed, streams not compared: %s%s", error, _detail_of(error)
                )
            self.succeeded, self._problem = False, str(error)
        except Exception:
            logger.exception("a renewal failed; the next one follows")
        else:
            if not self.succeeded:
                logger.info("leases are renewed and streams compared again")
            self.succeeded = True
            self._last = began
            metrics.renewal.observe(self._clock() - began - self._paused)


def _detail_of(error: GatewayError) -> str:
    detail = error.detail if isinstance(error, GatewayUnavailable) else ""
    return f" ({detail})" if detail else ""
