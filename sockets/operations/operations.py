"""Asks all nodes what operators want to know, and puts their answers together.

A node that does not answer within ASK_TIMEOUT is named in the answer: it may be frozen, cut off,
gone a moment ago, or of a version that knows no such questions.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from math import isinf
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from sockets.base.ids import is_user_id, parse_ulid
from sockets.cluster.bus import Bus
from sockets.cluster.registry import Nodes
from sockets.conf import Conf
from sockets.exceptions import GatewayUnavailable, InvalidMessage, TooManyRequests
from sockets.layers.fanout import Message
from sockets.operations.find import MAX_KNOWN, first_of
from sockets.operations.history import History
from sockets.operations.recording import MAX_FRAMES, MAX_TRACES
from sockets.operations.samples import STEP
from sockets.operations.shared import Shared, TooManyQuestions
from sockets.operations.silence import Silence
from sockets.operations.wire import (
    ASK_TIMEOUT,
    KIND,
    Condition,
    Found,
    OfUser,
    Query,
    Refused,
    Report,
    TraceEnded,
    TraceOrder,
    TracePart,
    TraceStarted,
    body_of,
    is_busy,
    read,
)
from sockets.presence.base import Presence
from sockets.redis.errors import SILENT
from sockets.reports import (
    EndedTrace,
    Health,
    LiveSession,
    LiveSessions,
    NodeReport,
    Overview,
    SessionReport,
    StreamHeader,
    Trace,
    TurnedAwayList,
    UserReport,
    WorkerReport,
    WorkersReport,
)
from sockets.streams.base import Streams
from sockets.tasks.dispatcher import Dispatcher
from sockets.types import Entry, Kind, NodeInfo, Position, SessionInfo, Task

logger = logging.getLogger(__name__)

MAX_WORKERS: Final = 500
"""Workers in one report ..."""

WORKERS_FOR: Final = 1.0
"""Seconds for which what was found of workers is found for others too."""

MAX_TASKS: Final = 500
"""... and the tasks that they hold."""

MAX_ENDS: Final = 100
"""Ends of tasks in one report."""

MAX_MESSAGES: Final = 100
"""Headers of a stream in one report."""

MAX_OF_USER: Final = 100
"""Sessions in the report of a user."""

RETRY_TRACE: Final = 60.0
"""Seconds after which it may be worth asking for a trace again."""

HANDED_BACK: Final = "handed back by an operator"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What came of a question. `silent`: nodes that did not answer in time."""

    answers: dict[str, T]
    silent: list[str]


@dataclass(frozen=True, slots=True)
class Here:
    """The node of this process, which needs no Redis to be asked. `condition`: takes the end of the
    last step that is known. `cut_off_for`: seconds for which Redis has not answered it."""

    describe: Callable[[], NodeInfo]
    condition: Callable[[float], Awaitable[Condition]]
    cut_off_for: Callable[[], float]


class Operations:
    """Belongs to one event loop. Any method may raise GatewayUnavailable. `clock`: seconds since
    the epoch; `monotonic`: since whenever. `here`: None in a process that holds no sockets."""

    here: Here | None = None

    def __init__(
        self,
        *,
        conf: Conf,
        nodes: Nodes,
        bus: Bus,
        presence: Presence,
        streams: Streams,
        dispatcher: Dispatcher,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._renew = conf.lease_renew
        self._nodes = nodes
        self._bus = bus
        self._presence = presence
        self._streams = streams
        self._dispatcher = dispatcher
        self._clock = clock
        self._history = History(clock)
        self._silence = Silence(monotonic)
        self._shared = Shared(monotonic)

    # --- the gateway

    async def overview(self, after: float = 0.0, last: float | None = None) -> Overview:
        """Return how the gateway is, and the steps of its last hour that end after a moment, or in
        the `last` so many seconds. Where Redis does not answer, a node tells of itself."""
        after = after if last is None else max(after, self._clock() - last)
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                infos, gone = await self._nodes.all(), await self._nodes.lost()
        except TimeoutError:
            return await self._alone(after, GatewayUnavailable(SILENT))
        except GatewayUnavailable as error:
            return await self._alone(after, error)
        known = {info.name: self._history.newest(info.name) for info in infos}
        asked = await self._ask(infos, Condition, type="overview", after=known)
        for name, condition in asked.answers.items():
            self._history.take(name, condition.steps)
        now = self._clock()
        nodes = [self._node(info, asked.answers.get(info.name), now) for info in infos]
        alive = {info.name for info in infos}
        for info in gone:
            if info.name not in alive:
                alive.add(info.name)
                nodes.append(NodeReport(info, answered=False, lost=True))
        living = [node.info for node in nodes if not node.lost]
        return Overview(
            at=now,
            sessions=sum(info.clients + info.workers for info in living),
            users=sum(info.users for info in living),
            workers=sum(info.workers for info in living),
            nodes=sorted(nodes, key=lambda node: node.info.name),
            samples=self._history.samples(after),
            step=STEP,
            silent=asked.silent,
        )

    async def _alone(self, after: float, error: GatewayUnavailable) -> Overview:
        if self.here is None:
            raise error
        now, info = self._clock(), self.here.describe()
        try:
            condition = await self.here.condition(self._history.newest(info.name))
        except TooManyQuestions:
            raise error from None
        self._history.take(info.name, condition.steps)
        node = self._node(info, condition, now)
        return Overview(
            at=now,
            sessions=condition.clients + condition.workers,
            users=condition.users,
            workers=condition.workers,
            nodes=[node if node.redis else replace(node, redis=str(error))],
            samples=self._history.samples(after),
            step=STEP,
            silent=[],
            unreachable=str(error),
            unreachable_since=now - self.here.cut_off_for(),
        )

    def _node(self, info: NodeInfo, found: Condition | None, now: float) -> NodeReport:
        if found is None:
            return NodeReport(info, answered=False, lost=now - info.seen_at > 1.5 * self._renew)
        shown = replace(
            info,
            state=found.state,
            clients=found.clients,
            workers=found.workers,
            users=found.users,
        )
        return NodeReport(
            shown,
            answered=True,
            slow=found.slow,
            lagging=found.lagging,
            in_grace=found.in_grace,
            webhooks=found.webhooks,
            loop_lag=found.loop_lag,
            redis=found.redis,
            database=found.database,
        )

    async def refusals(self, user: str, address: str, limit: int) -> TurnedAwayList:
        """Return who was refused in the last hour, the newest first. `address`: how it begins."""
        asked = await self._ask(
            await self._nodes.all(),
            Refused,
            type="refusals",
            user=user,
            address=address,
            limit=limit,
        )
        answers = asked.answers.values()
        lines = [line for found in answers for line in found.lines]
        lines.sort(key=lambda line: line.at, reverse=True)
        more = sum(found.more for found in answers) + len(lines[limit:])
        forgotten = sum(found.forgotten for found in answers)
        return TurnedAwayList(lines[:limit], forgotten, more, asked.silent)

    # --- sessions

    async def find(
        self, q: str, node: str | None, query_at: Callable[[float], Query]
    ) -> LiveSessions:
        """Return the first live sessions that fit. `q`: the exact id of a user, a client or a
        session, or the name of a worker's key; "": any. `node`: only those of this node.
        `query_at`: gives the rest, as it is at a moment."""
        query = query_at(self._clock())
        infos = [info for info in await self._nodes.all() if node in (None, info.name)]
        if not q:
            asked = await self._ask(infos, Found, type="find", body=body_of(query))
            return self._found(asked, query, infos, [])
        known = [one for one in await self._known_as(q) if node in (None, one.node)]
        known = [one for one in known if query.fits(one)][-MAX_KNOWN:]
        ulid = parse_ulid(q) or ""
        homes = {one.node for one in known}
        some = [info for info in infos if ulid or info.name in homes]
        query = msgspec.structs.replace(query, ids=frozenset(one.id for one in known), either=ulid)
        asked = await self._ask(some, Found, type="find", body=body_of(query))
        return self._found(asked, query, infos, known)

    async def _known_as(self, user: str) -> list[SessionInfo]:
        """Return what presence knows of a user, and of the workers of a key."""
        if not is_user_id(user):
            return []
        found = [await self._presence.look(user, kind) for kind in Kind]
        return [info for presence in found for info in presence.sessions]

    def _found(
        self,
        asked: Asked[Found],
        query: Query,
        infos: Collection[NodeInfo],
        known: list[SessionInfo],
    ) -> LiveSessions:
        sessions = [one for found in asked.answers.values() for one in found.sessions]
        matching = sum(found.matching for found in asked.answers.values())
        if query.health is None:
            unseen = [
                LiveSession(info, Health.UNKNOWN)
                for info in known
                if info.node not in asked.answers
            ]
            sessions += unseen
            matching += len(unseen)
        total = sum(
            asked.answers[info.name].total
            if info.name in asked.answers
            else (0 if info.name in asked.silent else info.clients + info.workers)
            for info in infos
        )
        shown = first_of(sessions, query)
        at = min((found.at for found in asked.answers.values()), default=self._clock())
        return LiveSessions(shown, total, matching, asked.silent, at)

    async def session(self, session_id: str, *, frames: bool) -> SessionReport | None:
        """Return one session in full; None: all nodes say that they have none of this id.

        Raises GatewayUnavailable where a silent node may have it.
        """
        asked = await self._ask(
            await self._nodes.all(),
            Report,
            type="session",
            session=session_id,
            frames=frames,
            enough=lambda found: found.report is not None,
        )
        for found in asked.answers.values():
            if found.report is not None:
                return found.report
        if asked.silent:
            names = ", ".join(asked.silent)
            raise GatewayUnavailable(f"no node that answers has it, and these do not: {names}")
        return None

    # --- work

    async def workers(self) -> WorkersReport:
        """Return the live workers, what they hold, and what ended last; the same for all who ask
        within WORKERS_FOR seconds."""
        try:
            return await self._shared.get("workers", WORKERS_FOR, self._workers)
        except TooManyQuestions:
            raise GatewayUnavailable("too many ask for the workers at once: ask again") from None

    async def _workers(self) -> WorkersReport:
        seated, total = await self._dispatcher.seated(MAX_WORKERS, MAX_TASKS)
        sessions = await self._worker_sessions({one.seat.worker for one in seated})
        reports = [
            WorkerReport(
                worker=one.seat.worker,
                session=sessions.get(one.seat.session),
                node=one.seat.node,
                held=one.held,
                pools=tuple(one.seat.pools),
                capacity=one.seat.capacity,
                tasks=sorted(one.tasks, key=lambda task: task.created),
            )
            for one in seated
        ]
        return WorkersReport(
            pools=await self._dispatcher.pools(),
            workers=reports,
            total=total,
            ended=await self._dispatcher.newest_ends(MAX_ENDS),
        )

    async def _worker_sessions(self, workers: Collection[str]) -> dict[str, SessionInfo]:
        keys = {worker.rpartition("/")[0] for worker in workers}
        if not keys:
            return {}
        found = await self._presence.look_at(keys, Kind.WORKER)
        return {info.id: info for one in found.users.values() for info in one.sessions}

    async def release_task(self, task_id: str) -> Task | None:
        """Hand a running task back for its worker; None: it does not run."""
        ended = await self._dispatcher.hand_back(task_id, HANDED_BACK)
        self._shared.forget("workers")
        return ended

    # --- one user

    async def user(self, user: str) -> UserReport:
        """Return what is known of a user, without what the database remembers."""
        presence = await self._presence.look(user)
        asked = await self._ask(await self._nodes.all(), OfUser, type="user", user=user)
        live = {one.info.id: one for found in asked.answers.values() for one in found.live}
        for info in presence.sessions:
            if info.node in asked.silent:
                live.setdefault(info.id, LiveSession(info, Health.UNKNOWN))
        newest = sorted(live.values(), key=lambda one: one.info.connected_at, reverse=True)
        until = await self._presence.blocked_until(user)
        head, floor, stream = await self._stream(user)
        return UserReport(
            user=user,
            presence=replace(presence, sessions=presence.sessions[-MAX_OF_USER:]),
            live=newest[:MAX_OF_USER],
            workers=[info for found in asked.answers.values() for info in found.attached],
            tasks=await self._tasks_of(user),
            blocked=until is not None,
            blocked_until=None if until is None or isinf(until) else until,
            head=head,
            floor=floor,
            stream=stream,
            visits=[],
            silent=asked.silent,
        )

    async def _stream(self, user: str) -> tuple[Position, int, list[StreamHeader]]:
        found = await self._streams.read(user, None, 1)
        after = Position(found.epoch, max(found.floor, found.head - MAX_MESSAGES))
        headers: list[StreamHeader] = []
        while after.offset < found.head:  # a page ends where its bodies are large
            found = await self._streams.read(user, after, MAX_MESSAGES)
            headers += map(_header, found.entries)
            if found.epoch != after.epoch or found.complete or not found.entries:
                break
            after = Position(found.epoch, found.end)
        return Position(found.epoch, found.head), found.floor, headers[::-1][:MAX_MESSAGES]

    async def _tasks_of(self, user: str) -> list[Task]:
        seated, _ = await self._dispatcher.seated(MAX_WORKERS, MAX_TASKS)
        live = [task for one in seated for task in one.tasks]
        ended = await self._dispatcher.newest_ends(MAX_ENDS)
        live.sort(key=lambda task: task.created, reverse=True)
        return [task for task in (*live, *ended) if task.user == user]

    # --- traces

    async def trace(self, user: str, *, seconds: float, bodies: bool, by: str) -> Trace:
        """Begin to record the frames of a user, on all nodes. Raises TooManyRequests."""
        now = self._clock()
        order = TraceOrder(user, now, now + seconds, bodies, by)
        infos = await self._nodes.all()
        asked = await self._ask(infos, TraceStarted, type="trace", body=body_of(order), do=True)
        if not all(found.started for found in asked.answers.values()):
            await self.end_trace(user)
            text = f"{MAX_TRACES} users are traced already: end one of those traces first"
            raise TooManyRequests(text, RETRY_TRACE)
        return Trace(user, now, order.until, bodies, by, [], silent=asked.silent)

    async def read_trace(self, user: str, after: str, *, bodies: bool) -> Trace | None:
        """Return what was recorded since `after`, the `next` of the time before; None: this user is
        not traced. Raises InvalidMessage for an `after` that is none."""
        known = _place_in(after)
        infos = await self._nodes.all()
        asked = await self._ask(
            infos,
            TracePart,
            type="read_trace",
            user=user,
            began=known.began,
            after=known.numbers,
            bodies=bodies,
        )
        orders = [part.order for part in asked.answers.values() if part.order is not None]
        if not orders:
            return None
        order = max(orders, key=lambda one: one.started_at)
        if any(part.ended == order for part in asked.answers.values()):
            await self.end_trace(user)  # whoever records it still has not heard of its end
            return None
        parts = {name: part for name, part in asked.answers.items() if part.order == order}
        # Those that came later, or did not hear of it.
        others = [info for info in infos if info.name in asked.answers.keys() - parts.keys()]
        await self._ask(others, TraceStarted, type="trace", body=body_of(order))
        frames = [frame for part in parts.values() for frame in part.frames]
        frames.sort(key=lambda one: (one.header.at, one.node, one.header.number))
        place = _Place(
            order.started_at, {**known.numbers} if known.began == order.started_at else {}
        )
        place.numbers.update({name: part.number for name, part in parts.items() if part.number})
        return Trace(
            user=user,
            started_at=order.started_at,
            until=order.until,
            bodies=order.bodies,
            by=order.by,
            frames=frames[-MAX_FRAMES:],
            dropped=sum(part.dropped for part in parts.values()) + len(frames[:-MAX_FRAMES]),
            next=_after(place),
            silent=asked.silent,
        )

    async def end_trace(self, user: str) -> EndedTrace:
        """End the trace of a user."""
        infos = await self._nodes.all()
        asked = await self._ask(infos, TraceEnded, type="end_trace", user=user, do=True)
        return EndedTrace(any(found.ended for found in asked.answers.values()), asked.silent)

    # --- a user who is forgotten

    async def forget(self, user: str) -> None:
        """End the trace of a user, and forget who of this name was refused. A node that is silent
        keeps these until they end by themselves."""
        await self._ask(await self._nodes.all(), TraceEnded, type="forget", user=user, do=True)

    # --- inside

    async def _ask(
        self,
        infos: Collection[NodeInfo],
        kind: type[T],
        *,
        type: str,
        enough: Callable[[T], bool] | None = None,
        do: bool = False,
        **question: Any,
    ) -> Asked[T]:
        """Ask these nodes. One that answers what cannot be read is silent, and one that did not
        answer just now is not asked again, unless it has something to `do`."""

        def is_enough(message: Message) -> bool:
            found = _read(message, kind)
            return enough is not None and found is not None and enough(found)

        able = {info.id or info.name: info.name for info in infos if info.operations}
        if not do:
            worth = self._silence.worth_asking(able, ASK_TIMEOUT)
            able = {life: name for life, name in able.items() if life in worth}
        messages = await self._bus.ask(
            able.values(),
            timeout=ASK_TIMEOUT,
            enough=None if enough is None else is_enough,
            type=f"{KIND}.{type}",
            **question,
        )
        read = {name: _read(message, kind) for name, message in messages.items()}
        answers = {name: found for name, found in read.items() if found is not None}
        answered = {life for life, name in able.items() if name in messages}
        has_enough = enough is not None and any(map(enough, answers.values()))
        self._silence.heard(answered, () if has_enough else able.keys() - answered)
        silent = sorted({info.name for info in infos} - answers.keys())
        return Asked(answers, silent)


def _read(message: Message, kind: type[T]) -> T | None:
    if is_busy(message):
        return None
    try:
        return read(message, kind)
    except ValueError as error:
        logger.warning("node %s gave an answer of another form: %s", message.get("node"), error)
        return None


def _header(entry: Entry) -> StreamHeader:
    head = msgspec.json.decode(entry.body, type=_Stored)
    size = len(entry.body)
    return StreamHeader(
        entry.offset, head.id, head.event, head.time, size, entry.idempotency_key or ""
    )


class _Stored(msgspec.Struct):
    id: str = ""
    event: str = ""
    time: float = 0.0


class _Place(msgspec.Struct):
    """How far a trace was read: the last number of each node that recorded something. `began`: of
    the trace that they are of."""

    began: float = 0.0
    numbers: dict[str, Annotated[int, msgspec.Meta(ge=0, lt=2**53)]] = {}


def _after(place: _Place) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _place_in(after: str) -> _Place:
    """Raises InvalidMessage."""
    if not after:
        return _Place()
    try:
        raw = urlsafe_b64decode(f"{after}{'=' * (-len(after) % 4)}")
        return msgspec.json.decode(raw, type=_Place)
    except (ValueError, TypeError):  # msgspec's errors are such
        raise InvalidMessage("this is no `next` of a trace: begin without `after`") from None
