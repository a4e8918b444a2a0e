"""Who comes and goes, announced to Django's receivers and to the API server.

    online, offline, opened, closed -> the user's line -> receivers -> webhooks -> `done`

A change of presence is announced at least once: its `done` is called when everybody has it, and
what is not done comes again, to the API server alone. Sessions are announced once at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Protocol

from django.dispatch import Signal

from sockets import signals
from sockets.base import metrics
from sockets.base.database import tidy_connections
from sockets.codes import LOST, CloseCode
from sockets.events.receivers import ReceiverPool
from sockets.types import Kind, PresenceChange, SessionInfo

logger = logging.getLogger(__name__)

MAX_OF_USER = 1_000
"""Events of one user that wait to be announced; more are dropped, and a change comes again."""

MAX_HEARD = 50_000
"""Changes that receivers have heard, and do not hear again while they come back for the API
server's sake."""

RECEIVERS_TIMEOUT = 10.0
"""Seconds that receivers get for an event before the API server hears of it beside them."""

Done = Callable[[bool], None]


class Sender(Protocol):
    """What is needed of `sockets.events.webhooks.Webhooks`."""

    def put(self, event: dict[str, Any], done: Done | None = None) -> None: ...


@dataclass(slots=True, eq=False)
class _Event:
    """`user`: whose turn it is. `ready`: receivers have heard it, or had their time."""

    name: str
    user: str
    members: dict[str, Any]
    done: Done | None = None
    ready: bool = True
    timer: asyncio.TimerHandle | None = None


_SIGNALS: dict[str, Signal] = {
    "user_online": signals.user_online,
    "user_offline": signals.user_offline,
    "session_opened": signals.session_opened,
    "session_closed": signals.session_closed,
}


def _has_receivers(signal: Signal) -> bool:
    return bool(signal.receivers) and signal.has_listeners()  # which locks, and makes lists


def cause_of(code: int) -> str:
    """Return why a session ended, as a word: the name of our close code, `client` for any other."""
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
        receivers: ReceiverPool,
        webhooks: Sender | None = None,
        hooked: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._receivers = receivers
        self._webhooks = webhooks
        self._hooked = frozenset(hooked)
        self._clock = clock
        self._lines: dict[str, deque[_Event]] = {}  # by user; none is empty
        self._heard: OrderedDict[str, None] = OrderedDict()  # ids of changes
        self._complained_at = -inf
        self._idle = asyncio.Event()
        self._idle.set()

    def wanted(self, *names: str) -> bool:
        """Return whether anybody listens to one of these events."""
        return any(name in self._hooked or _has_receivers(_SIGNALS[name]) for name in names)

    @property
    def changes_wanted(self) -> bool:
        """Whether anybody wants to know who comes online or goes offline."""
        return self.wanted("user_online", "user_offline")

    # --- what happened

    def changed(self, change: PresenceChange, done: Done) -> None:
        """Announce that a user came or went; `done(True)` follows, or `done(False)` if dropped."""
        name = "user_online" if change.online else "user_offline"
        self._put(_Event(name, change.user, {"change": change}, done))

    def opened(self, info: SessionInfo) -> None:
        """Announce that a session has opened."""
        self._put(_Event("session_opened", _turn_of(info), {"session": info}))

    def closed(self, info: SessionInfo, code: int, reason: str) -> None:
        """Announce that a session is gone."""
        members = {"session": info, "code": code, "reason": reason, "cause": cause_of(code)}
        self._put(_Event("session_closed", _turn_of(info), members))

    def _put(self, event: _Event) -> None:
        if not self.wanted(event.name):
            if event.done is not None:
                event.done(True)
            return
        heard = not _has_receivers(_SIGNALS[event.name]) or self._was_heard(event)
        line = self._lines.get(event.user)
        if heard and line is None:
            self._to_webhook(event)
        elif line is not None and len(line) >= MAX_OF_USER:
            metrics.dropped_events.inc()
            self._dropped(event)
        else:
            self._lines.setdefault(event.user, deque()).append(event)
            self._idle.clear()
            if not heard:
                self._to_receivers(event)

    # --- announcing it

    async def finish(self, grace: float) -> None:
        """Wait until what has happened is announced to the receivers and handed to the webhooks."""
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            left = sum(map(len, self._lines.values()))
            logger.warning("%d events were not announced in %g s", left, grace)

    def _to_receivers(self, event: _Event) -> None:
        event.ready = False
        loop = asyncio.get_running_loop()
        event.timer = loop.call_later(RECEIVERS_TIMEOUT, self._late, event)
        work = self._receivers.submit(event.user, partial(_call_receivers, event))
        work.add_done_callback(partial(self._receivers_done, event))

    def _receivers_done(self, event: _Event, work: asyncio.Future[bool]) -> None:
        if event.ready:
            return  # it was late, and has been handed on
        if event.timer is not None:
            event.timer.cancel()
        if work.result() or event.done is None:
            event.ready = True
        else:
            self._lines[event.user].remove(event)
            self._dropped(event)
        self._advance(event.user)

    def _late(self, event: _Event) -> None:
        now = time.monotonic()
        if now - self._complained_at >= RECEIVERS_TIMEOUT:
            self._complained_at = now
            logger.error("receivers of presence signals take over %g s", RECEIVERS_TIMEOUT)
        event.ready = True
        self._advance(event.user)

    def _advance(self, user: str) -> None:
        """Hand on what is ready, in the order of what happened to the user."""
        line = self._lines[user]
        while line and line[0].ready:
            self._to_webhook(line.popleft())
        if not line:
            del self._lines[user]
        if not self._lines:
            self._idle.set()

    def _dropped(self, event: _Event) -> None:
        """Note that an event was dropped; a change comes again, and to the receivers too."""
        if event.done is None:
            return
        self._heard.pop(event.members["change"].id, None)
        event.done(False)

    def _was_heard(self, event: _Event) -> bool:
        """Return whether receivers have heard this before; from now on they have.

        While the API server is away, what its queue has no space for comes again and again.
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


def _turn_of(info: SessionInfo) -> str:
    """Return whose turn it is: a user's, or one worker's, because many have one key."""
    return info.user if info.kind is Kind.CLIENT else f"worker:{info.user}/{info.client_id}"


def _call_receivers(event: _Event) -> None:
    """Call the receivers of an event, in a thread."""
    tidy_connections()
    try:
        _SIGNALS[event.name].send_robust(Events, **event.members)  # Django logs what fails
    finally:
        tidy_connections()


def _body(event: _Event, now: float) -> dict[str, Any]:
    """Return an event as the API server gets it."""
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
