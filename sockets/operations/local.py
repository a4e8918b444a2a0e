"""What one node answers when operators ask: from what it holds, and about itself alone.

Answers are bounded, and walks through all sessions go in slices: a page that asks each second must
be nobody's delay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from msgspec import Struct

from sockets.base.refusals import RING, Refusals
from sockets.cluster.bus import Bus
from sockets.conf import Conf
from sockets.delivery.hub import Hub, LocalSession
from sockets.layers.fanout import Message
from sockets.layers.groups import user_group, worker_group
from sockets.operations.find import MAX_LIMIT, census, find
from sockets.operations.health import looks
from sockets.operations.recording import Recordings
from sockets.operations.samples import Sampler
from sockets.operations.shared import Shared, TooManyQuestions
from sockets.operations.wire import (
    Condition,
    Found,
    OfUser,
    Query,
    Refused,
    Report,
    TraceEnded,
    TraceOrder,
    TraceStarted,
    answer,
    answer_busy,
    read,
)
from sockets.reports import Health, SessionReport, TurnedAway
from sockets.types import Kind, Position, SessionInfo

CENSUS_FOR: Final = 5.0
"""Seconds for which sessions are not counted by their health again."""

FOUND_FOR: Final = 0.5
"""Seconds for which what was found is found for others too."""

MAX_REFUSALS: Final = 1_000
"""Lines of one answer about refusals."""

MAX_ATTACHED: Final = 100
"""Users of a worker, or workers of a user, in one answer."""


class LocalOperations:
    """Belongs to the node's event loop.

    `clock`: seconds since the epoch, the same for all nodes. `state`: "ready", or why not.
    `redis`, `database`: "" is well, else what is wrong. `webhooks`: how many events wait.
    """

    def __init__(
        self,
        *,
        conf: Conf,
        bus: Bus,
        hub: Hub,
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        state: Callable[[], str],
        redis: Callable[[], str],
        database: Callable[[], str],
        webhooks: Callable[[], int],
        refusals: Refusals = RING,
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._spawn = spawn
        self._state, self._redis = state, redis
        self._database, self._webhooks = database, webhooks
        self._refusals = refusals
        self._grace = conf.token_grace
        self._look = looks(conf, hub.timetable.now, hub.timetable.wall)
        self._shared = Shared(hub.timetable.clock)
        self._counts = Shared(hub.timetable.clock)  # no search keeps the overview waiting
        self.sampler = Sampler(hub, clock)
        self.recordings = Recordings(hub, clock)
        self._answers: dict[str, Callable[[Message], Awaitable[Struct]]] = {
            "operations.overview": self._condition,
            "operations.find": self._find,
            "operations.session": self._session,
            "operations.refusals": self._refused,
            "operations.user": self._of_user,
            "operations.trace": self._trace,
            "operations.read_trace": self._read_trace,
            "operations.end_trace": self._end_trace,
            "operations.forget": self._forget,
        }

    def receive(self, message: Message) -> None:
        """Answer an `operations.…` message, from this node or another."""
        make = self._answers.get(message["type"])
        if make is None:
            raise ValueError(f"type {message['type']!r} is not for a node")
        self._spawn(self._answer(make, message))

    async def _answer(self, make: Callable[[Message], Awaitable[Struct]], message: Message) -> None:
        try:
            made = await make(message)
        except TooManyQuestions:
            await answer_busy(self._bus, message)  # it counts as silent, and nobody waits for it
            return
        await answer(self._bus, message, made)

    # --- the node

    async def _condition(self, message: Message) -> Condition:
        return await self.condition(message["after"].get(self._bus.node, 0.0))

    async def condition(self, after: float) -> Condition:
        """Return how this node is, with the steps that end after a moment. Raises
        TooManyQuestions."""
        counts = await self._counts.get("census", CENSUS_FOR, self._census)
        return Condition(
            state=self._state(),
            clients=self._hub.count(Kind.CLIENT),
            workers=self._hub.count(Kind.WORKER),
            users=self._hub.users(),
            slow=counts[Health.SLOW],
            lagging=counts[Health.LAGGING],
            in_grace=counts[Health.IN_GRACE],
            webhooks=self._webhooks(),
            loop_lag=round(self.sampler.loop_lag, 6),
            redis=self._redis(),
            database=self._database(),
            steps=self.sampler.after(after),
        )

    async def _census(self) -> dict[Health, int]:
        return await census(self._hub, self._look)

    async def _refused(self, message: Message) -> Refused:
        user, address, limit = message["user"], message["address"], message["limit"]
        lines, forgotten = self._refusals.read()
        fitting = [
            (line, times)
            for line, times in lines
            if (not user or line.user == user) and line.address.startswith(address)
        ]
        shown = [
            TurnedAway(
                at=times.at,
                since=times.since,
                count=times.count,
                node=self._bus.node,
                kind=line.kind,
                code=line.code,
                reason=line.reason,
                address=line.address,
                agent=line.agent,
                origin=line.origin,
                user=line.user,
                client_id=line.client_id,
            )
            for line, times in fitting[: min(limit, MAX_REFUSALS)]
        ]
        return Refused(shown, len(fitting) - len(shown), forgotten)

    # --- sessions

    async def _find(self, message: Message) -> Found:
        query = read(message, Query)
        return await self._shared.get(query, FOUND_FOR, lambda: find(self._hub, query, self._look))

    async def _session(self, message: Message) -> Report:
        session = self._hub.get(message["session"])
        if session is None:
            return Report(None)
        frames = self.recordings.headers(session) if message["frames"] else []
        waiting, drained = session.outbox.flow()
        ends = session.connection.expires_at
        cursor, room = session.cursor, session.stream_room
        known = None if room is None else room.known
        return Report(
            SessionReport(
                session=self._look().report(session),
                method=session.method,
                proof_ends=None if ends is None else ends - self._grace,
                head=None if known is None else known.position,
                sent=None if cursor is None else Position(cursor.epoch, cursor.offset),
                buffers={"outbox": waiting, "opening": session.opening_bytes},
                counters={
                    "frames_in": session.received,
                    "bytes_out": drained,
                    "missed": session.missed,
                },
                attached=sorted(session.attached)[:MAX_ATTACHED],
                frames=frames,
            )
        )

    # --- users

    async def _of_user(self, message: Message) -> OfUser:
        user = message["user"]
        live = self._members(user_group(user))
        live.sort(key=lambda one: one.info.connected_at, reverse=True)
        look = self._look()
        attached: list[SessionInfo] = [one.info for one in self._members(worker_group(user))]
        return OfUser([look.report(one) for one in live[:MAX_LIMIT]], attached[:MAX_ATTACHED])

    def _members(self, group: str) -> list[LocalSession]:
        room = self._hub.room(group)
        return list(room.members) if room is not None else []

    async def _trace(self, message: Message) -> TraceStarted:
        return TraceStarted(self.recordings.trace(read(message, TraceOrder), self._bus.node))

    async def _read_trace(self, message: Message) -> Struct:
        after = message["after"].get(self._bus.node, 0)
        return self.recordings.read_trace(
            message["user"], after, began=message.get("began"), bodies=message["bodies"]
        )

    async def _end_trace(self, message: Message) -> TraceEnded:
        return TraceEnded(self.recordings.end_trace(message["user"]))

    async def _forget(self, message: Message) -> TraceEnded:
        self._refusals.forget(message["user"])
        return TraceEnded(self.recordings.end_trace(message["user"]))
