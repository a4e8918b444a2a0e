"""Announces to the API server what happened: signed batches by HTTP POST, in order, at least once.

    put -> queue, bounded -> batches of 100 -> POST -> 2xx             done(True)
                                ^______________|  -> away, busy, wrong settings: again, later
                                ^______________|  -> fails at this batch alone, or
                                ^______________|  -> refused: in halves, until one event is alone;
                                                     that one is dropped, done(True)

One request at a time. A batch is repeated as it is, under the id it has, until it is taken or
refused; the events after it wait, and beyond `queue_size` of them the oldest goes. One event that
the API server fails at (500), which may hold what a stranger chose, ends all others' waiting no
later than that shows.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec

from sockets.base import metrics
from sockets.base.http_client import MAX_ANSWER, make_client
from sockets.base.ids import new_id
from sockets.signatures import HEADER, sign

logger = logging.getLogger(__name__)

BATCH: Final = 100  # events in one request
MIN_BACKOFF: Final = 0.5  # seconds; the bound of the first pause, doubled with each failure

STRIKES: Final = 5
"""Answers such as 500 to one batch, in a row, after which it is looked at what they are for."""

_AWAY: Final = frozenset({502, 503, 504})  # of a proxy before it; other 5xx are its own errors
_BUSY: Final = frozenset({408, 425, 429})
# Not the event's fault: whoever sets the gateway up has to do something.
_CHECK: Final = {
    401: "check WEBHOOK_SECRET and what is in front of the API server",
    403: "check WEBHOOK_SECRET and what is in front of the API server",
    404: "check API_SERVER_URL and WEBHOOK_PATH",
    405: "check WEBHOOK_PATH: it takes no POST",
}
_REDIRECT: Final = "it redirects; check API_SERVER_URL and WEBHOOK_PATH"

Done = Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class _Event:
    json: bytes
    done: Done | None


@dataclass(slots=True)
class _Batch:
    """`strikes`: errors of the API server's own that it was answered. `overtaken`: what came
    after it was taken meanwhile."""

    events: Sequence[_Event]
    strikes: int = 0
    overtaken: bool = False
    id: str = field(default_factory=new_id)

    @property
    def body(self) -> bytes:
        return b'{"events":[%b]}' % b",".join(event.json for event in self.events)

    def halves(self) -> tuple[_Batch, _Batch]:
        middle = len(self.events) // 2
        first, second = self.events[:middle], self.events[middle:]
        return _Batch(first, self.strikes), _Batch(second, self.strikes)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An attempt that is repeated. `check`: what to look at, where only people can help."""

    reason: str
    check: str = ""
    retry_after: float = 0.0  # seconds
    is_strike: bool = False  # it may be for what is in the batch


@dataclass(slots=True)
class _Outage:
    since: float  # of time.monotonic()
    dropped: int  # how many had been until then
    advised: set[str] = field(default_factory=set)  # the advice that is in the log


class Webhooks:
    """Belongs to the node's event loop.

    `queue_size` events wait beside the batch that is sent. `interval`: seconds that events are
    collected before they are sent. `timeout`: seconds for a whole request. `max_backoff`: the
    longest pause between two attempts, in seconds. Raises ValueError without a secret.
    """

    def __init__(
        self,
        *,
        url: str,
        secret: str,
        queue_size: int,
        interval: float,
        timeout: float,
        max_backoff: float = 60.0,
    ) -> None:
        if not secret:
            raise ValueError("webhooks are signed: set WEBHOOK_SECRET")
        self._url = url
        self._secret = secret
        self._client = make_client({"Content-Type": "application/json"})
        self._size = queue_size
        self._interval = interval
        self._timeout = timeout
        self._max_backoff = max_backoff
        self.dropped = 0
        self._queue: deque[_Event] = deque()
        self._batches: deque[_Batch] = deque()  # at work: one, or what is left of its halves
        self._arrived = asyncio.Event()
        self._aside: list[_Batch] = []  # single events, while those after them are tried
        self._stopping = asyncio.Event()
        self._closed = False
        self._runner: asyncio.Task[None] | None = None
        self._failures = 0  # in a row
        self._outage: _Outage | None = None

    @property
    def pending(self) -> int:
        """Events that are not settled."""
        at_work = sum(len(batch.events) for batch in self._batches)
        return len(self._queue) + at_work + len(self._aside)

    def put(self, event: dict[str, Any], done: Done | None = None) -> None:
        """Send this, which must be JSON, soon. Never blocks, never raises.

        `done(True)`: the API server has it, or wants it never. `done(False)`: there was no space or
        no time for it; it may be put again. `done` must not put.
        """
        try:
            encoded = _Event(msgspec.json.encode(event), done)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            logger.error("an event for the API server is no JSON: %s", type(error).__name__)
            self._drop(_Event(b"", done), for_good=True)
            return
        if self._closed:
            self._drop(encoded)
            return
        self._queue.append(encoded)
        self._arrived.set()
        while len(self._queue) + len(self._aside) > self._size:
            oldest = self._aside.pop(0).events[0] if self._aside else self._queue.popleft()
            self._drop(oldest)
        self._show()

    async def run(self) -> None:
        """Send for ever; after `finish` has begun, until nothing is left."""
        self._runner = asyncio.current_task()
        while await self._next():
            await self._attempt(self._batches[0])

    async def finish(self, grace: float) -> int:
        """Send what is left, within `grace` seconds; what is not is dropped, and counted here.

        `run` may go on meanwhile or have been cancelled. Nothing is taken afterwards.
        """
        self._stopping.set()
        self._arrived.set()  # it may wait for more
        deadline = time.monotonic() + grace
        for _ in range(2):  # run() as it is, which may be about to end by a cancel; then our own
            if self._runner is None or self._runner.done():
                self._runner = asyncio.create_task(self.run())
            await asyncio.wait({self._runner}, timeout=max(deadline - time.monotonic(), 0))
        self._closed = True
        if self._runner is not None and not self._runner.done():
            self._runner.cancel()
            await asyncio.wait({self._runner})
        self._step_back()
        left = [event for batch in self._batches for event in batch.events] + [*self._queue]
        self._batches.clear()
        self._queue.clear()
        for event in left:
            self._drop(event)
        self._show()
        await self._client.aclose()
        return len(left)

    # --- what is next

    async def _next(self) -> bool:
        """Wait until a batch is at work. False: the node stops, and all is sent."""
        if self._batches:
            return True
        while not self._queue:
            if self._stopping.is_set():
                return False
            self._arrived.clear()
            await self._arrived.wait()
        if len(self._queue) < BATCH:
            await self._wait(self._interval)
        count = 1 if self._aside else min(BATCH, len(self._queue))
        self._batches.append(_Batch([self._queue.popleft() for _ in range(count)]))
        return True

    async def _wait(self, seconds: float) -> bool:
        """Wait; cut short, or skipped, when the node stops. Returns whether it was."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    # --- one attempt

    async def _attempt(self, batch: _Batch) -> None:
        try:
            status, retry_after = await self._post(batch)
            failure = _failure(status, retry_after)
        except TimeoutError:
            failure = _Failure(f"no answer within {self._timeout:g} s")
        except Exception as error:
            # httpx lets errors of the layers below it pass. Whatever it was, the events stay.
            failure = _Failure(f"{type(error).__name__}: {error}"[:200])
        if failure is not None:
            self._note_failure(failure)
            await self._pause(failure.retry_after)
            self._look_at(batch, failure)
            return
        self._note_success()
        self._batches.popleft()
        for one in self._aside:
            one.overtaken, one.strikes = True, 0  # from now on it is judged by itself
        self._step_back()
        if status < 300:
            metrics.webhooks["sent"].inc(len(batch.events))
            for event in batch.events:
                _settle(event, True)
        elif len(batch.events) > 1:
            self._batches.extendleft(reversed(batch.halves()))
        else:
            self._refuse(batch.events[0], f"HTTP {status}")
        self._show()

    def _look_at(self, batch: _Batch, failure: _Failure) -> None:
        """Find out whether it is an event that fails, or the API server.

        What is left of the batch steps aside for what comes after it. If that is taken, and it
        fails again, it is the event.
        """
        if not failure.is_strike:
            self._step_back()
            return
        batch.strikes += 1
        if batch.strikes < STRIKES:
            return
        self._batches.popleft()
        if len(batch.events) > 1:
            self._batches.extendleft(reversed(batch.halves()))
        elif batch.overtaken:
            self._refuse(batch.events[0], failure.reason)
            self._show()
        else:
            self._aside.append(batch)
            if not self._batches and not self._queue:
                self._step_back()

    def _step_back(self) -> None:
        """Put what stepped aside before all others, in its order."""
        self._batches.extendleft(reversed(self._aside))
        self._aside.clear()

    async def _post(self, batch: _Batch) -> tuple[int, str]:
        """Send a batch; return the status and `Retry-After` of the answer."""
        body = batch.body
        headers = {
            "Gateway-Delivery": batch.id,
            HEADER: sign(self._secret, int(time.time()), body),
        }
        answer = None
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                answer = response.status_code, response.headers.get("Retry-After", "")
                await _read(response)
        except (TimeoutError, httpx.HTTPError):
            # The status is all that there is to know. The rest is read only so
            # that the connection can serve again.
            if answer is None:
                raise
        return answer

    async def _pause(self, retry_after: float) -> None:
        longest = min(MIN_BACKOFF * 2 ** min(self._failures - 1, 30), self._max_backoff)
        pause = max(random.uniform(0, longest), min(retry_after, self._max_backoff))
        if self._stopping.is_set():
            await asyncio.sleep(pause)
        elif await self._wait(pause):
            self._failures = 0  # there is little time: begin with short pauses

    # --- what became of it

    def _note_failure(self, failure: _Failure) -> None:
        self._failures += 1
        metrics.webhooks["failed"].inc()
        outage = self._outage
        if outage is None:
            outage = self._outage = _Outage(time.monotonic(), self.dropped)
        elif not failure.check or failure.check in outage.advised:
            return
        outage.advised.add(failure.check)
        advice = f"; {failure.check}" if failure.check else ""
        logger.warning(
            "the API server takes no events: %s%s; they wait, and are tried again",
            failure.reason,
            advice,
        )

    def _note_success(self) -> None:
        self._failures = 0
        if self._outage is not None:
            logger.info(
                "the API server takes events again, after %.1f s; %d were dropped meanwhile",
                time.monotonic() - self._outage.since,
                self.dropped - self._outage.dropped,
            )
            self._outage = None

    def _refuse(self, event: _Event, reason: str) -> None:
        members = msgspec.json.decode(event.json)
        logger.warning(
            "the API server refuses an event for good (%s): type %.40r, id %.80r",
            reason,
            members.get("type"),
            members.get("id"),
        )
        metrics.webhooks["refused"].inc()
        self._drop(event, for_good=True)

    def _drop(self, event: _Event, *, for_good: bool = False) -> None:
        """Give an event up. `for_good`: whoever put it must not try again, for ever."""
        self.dropped += 1
        metrics.dropped_webhook.inc()
        _settle(event, for_good)

    def _show(self) -> None:
        metrics.WEBHOOKS_PENDING.set(self.pending)


def _failure(status: int, retry_after: str) -> _Failure | None:
    """Return why this answer settles nothing. None: it does, below 300 taken, else refused."""
    if 200 <= status < 300:
        return None
    if 400 <= status < 500 and status not in _BUSY and status not in _CHECK:
        return None
    check = _REDIRECT if 300 <= status < 400 else _CHECK.get(status, "")
    # The other form is a date; clocks differ, and our own pauses do as well.
    seconds = float(retry_after) if re.fullmatch(r"[0-9]+", retry_after) else 0.0
    return _Failure(f"HTTP {status}", check, seconds, status >= 500 and status not in _AWAY)


async def _read(response: httpx.Response) -> None:
    """Read up to MAX_ANSWER; a longer answer costs its connection."""
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_ANSWER:
            return


def _settle(event: _Event, settled: bool) -> None:
    if event.done is None:
        return
    try:
        event.done(settled)
    except Exception:
        # One caller's mistake may not stop the events of all others.
        logger.exception("what an event's sender does when it is settled failed")
