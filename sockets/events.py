"""Who comes and goes, told to Django's receivers and to the API server.

    online, offline, opened, closed -> queue -> receivers, in threads -> webhooks -> `done`

A change of presence is told at least once: its `done` is called when everybody has heard it, and
what is not done comes again, to the API server alone. Sessions are told once at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from django.db import close_old_connections
from django.dispatch import Signal

from sockets import metrics, signals
from sockets.codes import LOST, CloseCode
from sockets.types import PresenceChange, SessionInfo

logger = logging.getLogger(__name__)

MAX_EVENTS = 10_000
"""Events that wait for Django's receivers; and in each lane behind those that are slow."""

MAX_HEARD = 50_000
"""Changes that receivers have heard, and that are not told them again while they come back for the
API server's sake."""

BATCH = 500
LANES = 4
"""Threads that run receivers; the events of one user always take the same one."""

RECEIVERS_TIMEOUT = 10.0
"""Seconds that receivers get for a batch before the next one begins beside them."""

Done = Callable[[bool], None]


class Sender(Protocol):
    """What is needed of `sockets.webhooks.Webhooks`."""

    def put(self, event: dict[str, Any], done: Done | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    user: str
    members: dict[str, Any]
    done: Done | None = None


@dataclass(slots=True)
class _Lane:
    """`events` wait for the end of `job`."""

    events: deque[_Event] = field(default_factory=deque)
    job: asyncio.Future[None] | None = None


_SIGNALS: dict[str, Signal] = {
    "user_online": signals.user_online,
    "user_offline": signals.user_offline,
    "session_opened": signals.session_opened,
    "session_closed": signals.session_closed,
}


def cause_of(code: int) -> str:
    """Why a session ended, as a word: the name of our close code, `client` for any other."""
    if code == LOST:
        return "lost"
    try:
        return CloseCode(code).name.lower() if code >= 4000 or code in (1012, 1013) else "client"
    except ValueError:
        return "client"


class Events:
    """Belongs to the node's event loop. `webhooks` None: nobody is called; `hooked`: for which
    events the API server is."""

    def __init__(
        self,
        *,
        executor: Executor,
        webhooks: Sender | None = None,
        hooked: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._executor = executor
        self._webhooks = webhooks
        self._hooked = frozenset(hooked)
        self._clock = clock
        self._queue: deque[_Event] = deque()
        self._lanes = [_Lane() for _ in range(LANES)]
        self._heard: OrderedDict[str, None] = OrderedDict()  # ids of changes
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def wanted(self, *names: str) -> bool:
        """Whether anybody listens to one of these events."""
        return any(name in self._hooked or _SIGNALS[name].has_listeners() for name in names)

    @property
    def changes_wanted(self) -> bool:
        """Whether anybody wants to know who comes online or goes offline."""
        return self.wanted("user_online", "user_offline")

    # --- what happened

    def changed(self, change: PresenceChange, done: Done) -> None:
        """A user came or went; `done(True)` follows when it was told, `done(False)` if not."""
        name = "user_online" if change.online else "user_offline"
        self._put(_Event(name, change.user, {"change": change}, done))

    def opened(self, info: SessionInfo) -> None:
        """A session is welcome."""
        self._put(_Event("session_opened", info.user, {"session": info}))

    def closed(self, info: SessionInfo, code: int, reason: str) -> None:
        """A session is gone."""
        members = {"session": info, "code": code, "reason": reason, "cause": cause_of(code)}
        self._put(_Event("session_closed", info.user, members))

    def _put(self, event: _Event) -> None:
        if not self.wanted(event.name):
            if event.done is not None:
                event.done(True)
            return
        if len(self._queue) >= MAX_EVENTS:
            self._drop(self._queue.popleft())
        self._queue.append(event)
        self._idle.clear()
        self._filled.set()

    @staticmethod
    def _drop(event: _Event) -> None:
        metrics.dropped_events.inc()
        if event.done is not None:
            event.done(False)

    # --- telling it

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._filled.wait()
            some = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            await self._to_receivers(some)
            for event in some:
                self._to_webhook(event)
            if not self._queue:
                self._filled.clear()
                self._idle.set()

    async def finish(self, grace: float) -> None:
        """Wait until what has happened was told to the receivers and handed to the webhooks."""
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%d events were not told in %g s", len(self._queue), grace)

    async def _to_receivers(self, events: list[_Event]) -> None:
        for event in events:
            if _SIGNALS[event.name].has_listeners() and not self._was_heard(event):
                lane = self._lanes[hash(event.user) % LANES]
                if len(lane.events) >= MAX_EVENTS:
                    lane.events.popleft()
                    metrics.dropped_events.inc()
                lane.events.append(event)
        for lane in self._lanes:
            self._start(lane)
        if running := [lane.job for lane in self._lanes if lane.job is not None]:
            _, late = await asyncio.wait(running, timeout=RECEIVERS_TIMEOUT)
            if late:
                logger.error("receivers of presence signals take over %g s", RECEIVERS_TIMEOUT)

    def _start(self, lane: _Lane) -> None:
        """One job of a lane at a time: receivers that hang take one thread, not all."""
        if lane.job is not None or not lane.events:
            return
        some = list(lane.events)
        lane.events.clear()
        loop = asyncio.get_running_loop()
        lane.job = loop.run_in_executor(self._executor, _tell_django, some)
        lane.job.add_done_callback(partial(self._ended, lane))

    def _ended(self, lane: _Lane, job: asyncio.Future[None]) -> None:
        lane.job = None
        if not job.cancelled():
            with suppress(RuntimeError):  # the node ends, and its threads take no more
                self._start(lane)

    def _was_heard(self, event: _Event) -> bool:
        """Whether receivers were told this before; from now on they were.

        While the API server is away, what its queue has no room for comes again and again.
        """
        if event.done is None or event.name not in self._hooked:
            return False
        id = event.members["change"].id
        if id in self._heard:
            return True
        self._heard[id] = None
        if len(self._heard) > MAX_HEARD:
            self._heard.popitem(last=False)
        return False

    def _to_webhook(self, event: _Event) -> None:
        if self._webhooks is not None and event.name in self._hooked:
            self._webhooks.put(_body(event, self._clock()), event.done)
        elif event.done is not None:
            event.done(True)


def _tell_django(events: list[_Event]) -> None:
    """In a thread."""
    for event in events:
        close_old_connections()
        try:
            _SIGNALS[event.name].send_robust(Events, **event.members)  # Django logs what fails
        finally:
            close_old_connections()


def _body(event: _Event, now: float) -> dict[str, Any]:
    """What the API server is told: JSON."""
    change: PresenceChange | None = event.members.get("change")
    if change is not None:
        return {
            "id": change.id,
            "type": event.name,
            "user": change.user,
            "at": change.at,
            "generation": change.generation,
        }
    info: SessionInfo = event.members["session"]
    body = {
        "id": f"{info.id}:{event.name.removeprefix('session_')}",
        "type": event.name,
        "user": info.user,
        "at": now,
        "session": {
            "id": info.id,
            "kind": info.kind.value,
            "client_id": info.client_id,
            "node": info.node,
            "connected_at": info.connected_at,
            "address": info.address,
            "agent": info.agent,
        },
    }
    if event.name == "session_closed":
        body |= {name: event.members[name] for name in ("code", "reason", "cause")}
    return body
