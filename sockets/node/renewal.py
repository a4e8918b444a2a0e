"""When leases are renewed and streams compared: by the clock, and at once after a gap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sockets.conf import Conf
from sockets.exceptions import GatewayUnavailable

logger = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds until a round that failed is tried again; less where rounds are shorter."""


class Renewal:
    """Belongs to the node's event loop. `succeeded`: the last round did."""

    def __init__(self, conf: Conf, renew: Callable[[], Awaitable[None]]) -> None:
        self._interval = conf.lease_renew
        self._retry = min(RETRY, conf.lease_renew)
        self._renew = renew
        self._hurry = asyncio.Event()
        self.succeeded = True

    def hurry(self) -> None:
        """Messages may have been lost: begin a round now."""
        self._hurry.set()

    async def run(self) -> None:
        """Run for ever."""
        while True:
            try:
                async with asyncio.timeout(self._interval if self.succeeded else self._retry):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            await self._round()

    async def _round(self) -> None:
        try:
            await self._renew()
        except GatewayUnavailable as error:
            if self.succeeded:
                logger.warning("leases cannot be renewed, streams not compared: %s", error)
            self.succeeded = False
        except Exception:
            logger.exception("a renewal failed; the next one follows")
        else:
            if not self.succeeded:
                logger.info("leases are renewed and streams compared again")
            self.succeeded = True
