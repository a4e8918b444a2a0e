"""Whether this node is ready: a new client would be let in, and a durable message kept.

    tried at each renewal, at once after a failure -> one failed try: as before, tried again
                                                   -> two in a row: not ready, and why
                                                   -> one that succeeds, and the sessions of
                                                      this node are registered again: ready

Nothing is tried when somebody asks. Reasons are texts of ours; Redis' own are for the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sockets.exceptions import GatewayError, GatewayUnavailable
from sockets.node.files import any_spare
from sockets.types import Promises, Shards

logger = logging.getLogger(__name__)

AGAIN = 0.5
"""Seconds after a failed try until the next one."""

TIMEOUT = 2.5
"""Seconds that the store gets for one try."""

LOOK = 0.5
"""Seconds between two looks at whether something has failed meanwhile."""

PROMISES = 60.0
"""Seconds between two looks at the server's set-up."""

UNTRIED = "it is starting or stopping"
NO_LAYER = "the channel layer is not connected to Redis"
SILENT = "Redis does not answer"
RETURNING = "it registers its sessions anew"
NO_FILES = "it is at its limit of open files"


class Readiness:
    """Belongs to the node's event loop.

    `try_store`: raises GatewayUnavailable where the store does not do its work. `connected`: of the
    channel layer. `interval`: seconds between two tries while all is well. `files_left`: whether
    this process may open one more file.
    """

    def __init__(
        self,
        *,
        try_store: Callable[[], Awaitable[Shards]],
        connected: Callable[[], bool],
        interval: float,
        files_left: Callable[[], bool] = any_spare,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._try_store = try_store
        self._connected = connected
        self._interval = interval
        self._files_left = files_left
        self._clock = clock
        self._failures = 0
        self._failing_since = 0.0
        self._reason = UNTRIED
        self._logged = ""
        self._tried_at = -float("inf")
        self._suspected = False
        self._succeeded = False  # ever
        self._returning = True  # until it is registered
        self.shards = Shards()

    @property
    def because(self) -> str | None:
        """Why this node is not ready; None: it is."""
        if not self._succeeded or self._failures >= 2:
            return self._reason
        if self._returning:
            return RETURNING
        return None if self._files_left() else NO_FILES

    @property
    def store_trouble(self) -> str:
        """What is wrong with the state store, or the way to it; "": nothing."""
        if not self._succeeded or self._failures >= 2:
            return self._reason
        if self.shards.refusing:
            return f"{self.shards.refusing} of {self.shards.total} shards take no writes"
        return ""

    @property
    def failing_for(self) -> float:
        """Seconds since the first of the tries that failed in a row; 0: the last one did not."""
        return self._clock() - self._failing_since if self._failures else 0.0

    def registered(self) -> None:
        """This node is known to the others, and the leases of its sessions have been renewed."""
        self._returning = False

    def suspect(self) -> None:
        """Something that needs the store has failed: try it soon. Safe in any thread."""
        self._suspected = True

    async def run(self) -> None:
        """Run for ever."""
        while True:
            await asyncio.sleep(LOOK)
            if self._is_due():
                await self.try_once()

    def _is_due(self) -> bool:
        passed = self._clock() - self._tried_at
        if passed >= self._interval:
            return True
        return passed >= AGAIN and bool(self._failures or self._suspected or not self._connected())

    async def try_once(self) -> None:
        """Try the store now. Raises nothing but cancellation."""
        self._suspected = False
        try:
            async with asyncio.timeout(TIMEOUT):
                shards = await self._try_store()
            if not self._connected():
                raise GatewayUnavailable(NO_LAYER)
        except TimeoutError:
            self._failed(SILENT, "")
        except GatewayUnavailable as error:
            self._failed(str(error), error.detail)
        except GatewayError as error:
            self._failed(SILENT, str(error))
        except Exception:
            logger.exception("trying the state store failed")
            self._failed(SILENT, "")
        else:
            self._worked(shards)
        self._tried_at = self._clock()

    def _failed(self, reason: str, detail: str) -> None:
        if not self._failures:
            self._failing_since = self._clock()
        self._failures += 1
        self._reason = reason
        self._returning |= self._succeeded and self._failures >= 2
        if self.because is not None and self._logged != reason:
            self._logged = reason
            logger.warning("not ready: %s%s", reason, f" ({detail})" if detail else "")

    def _worked(self, shards: Shards) -> None:
        if self._logged:
            logger.info("ready again")
        if shards.refusing and shards != self.shards:
            logger.warning(
                "%d of %d shards of Redis take no writes: their users are not served",
                shards.refusing,
                shards.total,
            )
        self._failures, self._logged, self._succeeded = 0, "", True
        self.shards = shards


class PromiseWatch:
    """Logs once what of the server's set-up breaks a promise, or cannot be looked at.

    `show`: called with each promise by name, and whether it is broken.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Promises]],
        show: Callable[[str, bool], None],
        interval: float = PROMISES,
    ) -> None:
        self._look = look
        self._show = show
        self._interval = interval
        self._broken: dict[str, str] = {}
        self._unknown: set[str] = set()

    async def run(self) -> None:
        """Run for ever."""
        while True:
            try:
                self.note(await self._look())
            except GatewayUnavailable:
                pass  # readiness logs that
            except Exception:
                logger.exception("looking at the set-up of Redis failed")
            await asyncio.sleep(self._interval)

    def note(self, found: Promises) -> None:
        """Log what is new, and show all of it."""
        for name, text in found.broken.items():
            if self._broken.get(name) != text:
                logger.error("a promise is broken: %s", text)
            self._show(name, True)
        for name in self._broken.keys() - found.broken.keys():
            logger.info("a promise is kept again: %s", name)
            self._show(name, False)
        for command in set(found.unknown) - self._unknown:
            logger.warning(
                "the gateway's user of Redis has no right to %s: whether the server keeps what the "
                "gateway promises cannot be looked at",
                command,
            )
        self._broken = dict(found.broken)
        self._unknown |= set(found.unknown)
