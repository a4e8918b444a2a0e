"""Calls that a change of the project's own must not wait for: a moment, and then without it.

A logout or a new password is in the database already, and must not fail or hang because the gateway
is away. What could not be done in time goes on by itself; that nothing answers is told once a
minute, for every page of the site may bring it about.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Final

from sockets.api.carry import begin
from sockets.base.rate import Seldom
from sockets.exceptions import GatewayError
from sockets.node.threads import runs_a_loop

logger = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that a caller waits."""

MAX_LEFT: Final = 1_000
"""Calls of this process that may go on behind callers who wait no more."""

TELL_EVERY: Final = 60.0

_complaints = Seldom(TELL_EVERY)
_left: set[Future[None]] = set()
_overdue: set[Future[None]] = set()
"""Those of them that have been waited for in vain."""


def _after_fork() -> None:
    """Forget the parent's calls, which in the child never end."""
    _left.clear()
    _overdue.clear()


os.register_at_fork(after_in_child=_after_fork)


def briefly(work: Callable[[], Coroutine[Any, Any, None]], whom: str) -> None:
    """Await `work` on the loop of the gateway's calls, and wait for it for PATIENCE seconds; it is
    not cancelled then. From any thread; one that runs an event loop waits for nothing, and nobody
    does while another call is overdue: of a thousand users who go at once each would wait.

    `whom` it concerns, for the log. Raises nothing of the gateway's.
    """
    if len(_left) >= MAX_LEFT:
        _complain(whom, "too many calls wait already")
        return
    try:
        future = begin(lambda _: work())
    except GatewayError as error:
        _complain(whom, str(error))
        return
    _left.add(future)
    future.add_done_callback(lambda done: _ended(done, whom))
    if runs_a_loop() or _overdue:
        return
    try:
        future.exception(PATIENCE)
    except (FutureTimeoutError, CancelledError):
        _overdue.add(future)
        if future.done():  # and is taken out by nobody
            _overdue.discard(future)
        else:
            _complain(whom, f"it has not answered within {PATIENCE:g} s, and is still being asked")


def _ended(future: Future[None], whom: str) -> None:
    if future.cancelled():
        _complain(whom, "the process ended before it had answered")
    elif (error := future.exception()) is not None:
        if isinstance(error, GatewayError):
            _complain(whom, str(error))
        else:
            logger.error("the gateway was not told of %s", whom, exc_info=error)
    _left.discard(future)
    _overdue.discard(future)


def _complain(whom: str, why: str) -> None:
    if (more := _complaints.passes(time.monotonic())) is not None:
        others = f" (and {more} more of such since the last line)" if more else ""
        logger.warning("%s may be connected still, revoke again%s: %s", whom, others, why)
