"""The life of a session: open, renew, close. The only writer of hub, presence and recorder."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from sockets.base import metrics
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.delivery import PAGE, Delivery
from sockets.delivery.hub import TOGETHER, Hub, LocalSession, Room, Stage
from sockets.events.feed import Events
from sockets.exceptions import GatewayUnavailable, ShuttingDown, TryAgainLater
from sockets.layers.groups import CLIENTS, user_group
from sockets.ledger.base import Ledger
from sockets.presence.base import OVER_LIMIT, REPLACED, Fenced, PartlyRenewed
from sockets.protocol.frames import Frame
from sockets.protocol.recovery import Opening, plan_opening
from sockets.recorder import SessionRecorder
from sockets.sessions.bookkeeper import Bookkeeper
from sockets.sessions.control import Control
from sockets.sessions.tracker import PresenceTracker
from sockets.streams.base import Streams
from sockets.streams.known import Known, newest
from sockets.tasks.base import Seat
from sockets.tasks.dispatcher import Dispatcher
from sockets.types import Kind, Page, Position, SessionInfo, Task

logger = logging.getLogger(__name__)

SLICE = 500
"""Sessions renewed before other work of the loop gets its turn."""

BUSY = 100
"""Messages from one round to the next, from which on a round has smaller steps: they wait less."""


CLAIM_EVERY = 60.0
"""Seconds between two positions of one user's clients that may begin a new epoch."""

MAX_CLAIMS = 10_000
"""Users of whom this is remembered."""


async def at_once(share: float) -> None:
    """Go through a round without a pause."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a client's `welcome` says, and what `Delivery.begin` needs after it.

    `replaced`: sessions of the same client, out of presence, whose sockets live until this one is
    welcome. `named`: as of `open_client`.
    """

    room: Room
    opening: Opening
    page: Page
    replaced: tuple[SessionInfo, ...]
    named: bool


class _Claims:
    """Limits how often a client's position may begin a new epoch for all sessions of its user.

    An honest client has what the store has lost. Whoever makes a position up would otherwise have
    everybody who shares its user id reload as often as it connects.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: OrderedDict[str, float] = OrderedDict()

    def counts(self, user: str) -> bool:
        """Whether the position that a session brings is believed beyond the stream's head."""
        return self._clock() - self._noted.get(user, -float("inf")) >= CLAIM_EVERY

    def note(self, user: str) -> None:
        """Note that a position was of another epoch than the stream is now."""
        self._noted[user] = self._clock()
        self._noted.move_to_end(user)
        if len(self._noted) > MAX_CLAIMS:
            self._noted.popitem(last=False)


class Sessions:
    """Belongs to the node's event loop. `accepting` goes off when the node returns its clients.

    `clock`: seconds since the epoch, dates what is recorded. `steady`: monotonic seconds.
    """

    def __init__(
        self,
        *,
        conf: Conf,
        hub: Hub,
        streams: Streams,
        tracker: PresenceTracker,
        events: Events,
        delivery: Delivery,
        recorder: SessionRecorder,
        control: Control,
        dispatcher: Dispatcher,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conf = conf
        self._node = conf.node_name
        self._hub = hub
        self._streams = streams
        self._tracker = tracker
        self._events = events
        self._delivery = delivery
        self._recorder = recorder
        self._control = control
        self._dispatcher = dispatcher
        self._clock = clock
        self._steady = steady
        self._claims = _Claims(steady)
        self._taken = 0  # messages, when the last round began
        self.books = Bookkeeper(ledger, clock)
        self.accepting = True

    async def open_client(
        self, session: LocalSession, position: Position | None, *, named: bool = True
    ) -> Opened:
        """Join, register, read: in this order nothing falls between (protocol.md section 2.4).

        `named`: the client gave its id itself, and will be known by it. Raises TryAgainLater,
        ShuttingDown, GatewayUnavailable; the caller must `close` the session in any case, also if
        this raised or was cancelled.
        """
        user = session.info.user
        self._admit(session)
        room = await self._hub.join(session, user_group(user), user, self._delivery.on_user_message)
        await self._hub.join(session, CLIENTS, "", self._delivery.on_broadcast)
        replaced = await self._register(session)
        claim = None if position is None or not self._claims.counts(user) else Known(position)
        try:
            page = await self._streams.follow(user, position, PAGE, newest(claim, room.known))
        except BaseException:
            await self._close_replaced(replaced)
            raise
        if claim is not None and page.epoch != claim.position.epoch:
            self._claims.note(user)
        self._announce(session)
        opening = plan_opening(position, page, self._conf.recovery_limit)
        return Opened(room, opening, page, replaced, named)

    async def welcome(self, session: LocalSession, opened: Opened, frame: Frame) -> None:
        """Write the first frame and what the client has missed; then close what it replaced."""
        try:
            self._delivery.begin(opened.room, session, frame, opened.opening, opened.page)
            self.books.open(session, opened.opening, opened.page, named=opened.named)
        finally:
            await self._close_replaced(opened.replaced)

    async def _close_replaced(self, replaced: Collection[SessionInfo]) -> None:
        """Close the sockets of sessions that a new one has replaced, wherever they are."""
        here = self.close_local([info.id for info in replaced], CloseCode.REPLACED, REPLACED)
        elsewhere = [info for info in replaced if info.id not in here]
        await self._control.request_close(elsewhere, CloseCode.REPLACED, REPLACED)

    async def open_worker(
        self, session: LocalSession, pools: tuple[str, ...], capacity: int
    ) -> list[Task]:
        """Register a worker, and seat it; returns the tasks that it still holds.

        Raises as `open_client` does.
        """
        self._admit(session)
        await self._close_replaced(await self._register(session))
        if session.close_code is not None:
            raise TryAgainLater("replaced while it opened")  # the newer one has the seat
        self._announce(session)
        info = session.info
        return await self._dispatcher.worker_joined(
            Seat(worker_name(info), info.id, info.node, pools, capacity)
        )

    def _admit(self, session: LocalSession) -> None:
        if not self.accepting:
            raise ShuttingDown("this node is shutting down")
        if len(self._hub) >= self._conf.max_sessions:
            raise TryAgainLater("this node is full")
        most = self._conf.sessions_per_address
        if most and self._hub.neighbours(session) >= most:
            raise TryAgainLater("too many sessions from this address")
        if session.info.node != self._node:  # it was renamed while this one proved who it is
            session.info = replace(session.info, node=self._node)
        self._hub.add(session)
        metrics.sessions[session.info.kind].inc()
        self._recorder.session_opened(session.info)

    async def _register(self, session: LocalSession) -> tuple[SessionInfo, ...]:
        """Begin its lease; returns the sessions that it replaced."""
        session.stage = Stage.ARRIVING
        done = await self._tracker.arrive(session.info)
        if done.refused is not None:
            raise done.refused
        session.stage = Stage.PRESENT
        await self._control.request_close(done.evicted, CloseCode.SESSION_LIMIT, OVER_LIMIT)
        for old in done.replaced:
            if (here := self._hub.get(old.id)) is not None:
                here.replaced = True
        return tuple(done.replaced)

    def _announce(self, session: LocalSession) -> None:
        session.stage = Stage.ANNOUNCED
        self._events.opened(session.info)

    async def close(self, session: LocalSession, code: int, reason: str) -> None:
        """Undo `open`: the socket is gone. Idempotent, and safe for a session never opened.

        `code` and `reason` are the peer's; what this side decided is used instead of them.
        """
        if session.closed or self._hub.get(session.info.id) is None:
            return
        before, session.stage = session.stage, Stage.CLOSED
        if session.close_code is not None:
            code, reason = session.close_code, session.close_reason
        self._hub.discard(session)
        metrics.sessions[session.info.kind].dec()
        metrics.count_disconnect(session.info.kind, code)
        self._recorder.session_closed(session.info.id, at=self._clock(), code=code, reason=reason)
        if before is Stage.ANNOUNCED:
            self._events.closed(session.info, code, reason)
        # Each step is begun even if this is cancelled in the one before.
        try:
            await self._undo("its groups", self._leave_rooms(session))
        finally:
            try:
                if session.info.kind is Kind.WORKER:
                    name, id = worker_name(session.info), session.info.id
                    await self._undo("its seat", self._dispatcher.worker_left(name, id))
            finally:
                steps = []
                if before >= Stage.ARRIVING:
                    steps.append(self._undo("its lease", self._tracker.leave(session.info)))
                if session.account is not None and session.account.named:
                    steps.append(self.books.close(session, code, reason))
                await asyncio.gather(*steps)  # where the store is silent, both wait for it at once

    async def _leave_rooms(self, session: LocalSession) -> None:
        mine = [room for room in session.rooms if room.reads_stream]
        try:
            await self._hub.leave(session)
        finally:
            for room in mine:
                if self._hub.room(room.group) is None:
                    self._streams.left(room.user, room.doubt or room.known)

    async def _undo(self, what: str, step: Awaitable[None]) -> None:
        """Do a step of the clean-up: what cannot be undone now ends by itself, and stops none."""
        try:
            await step
        except GatewayUnavailable as error:
            logger.warning("at the end of a session %s could not be given back: %s", what, error)

    async def renew(self, until: Callable[[float], Awaitable[None]] = at_once) -> None:
        """Renew all leases, close what was replaced, compare every stream with its readers.

        `until`: waits for the moment at which a share of the round is due, from 0 to 1.
        Raises GatewayUnavailable; what was done until then stays done. Where only a shard of a
        Cluster does not take it, all others are renewed before that is raised.
        """
        problem: GatewayUnavailable | None = None
        began = self._steady()
        for share, sessions in self._hub.parts(1 if self._is_busy() else TOGETHER):
            await until(share)
            part = list(sessions)  # not before: meanwhile some have come, and others gone
            for start in range(0, len(part), SLICE):
                try:
                    await self._renew(part[start : start + SLICE])
                except PartlyRenewed as error:
                    if self._steady() - began > self._conf.lease_renew:
                        raise  # it costs so long that the next round should begin
                    problem = error
                await asyncio.sleep(0)
            try:
                await self._compare(
                    {room for one in part for room in one.rooms if room.reads_stream}
                )
            except GatewayUnavailable as error:
                problem = problem or error  # it keeps nobody's lease back
            await self.books.note(part)
        await self.books.note(())  # ends may be late where nobody is here
        await self._dispatcher.renew()
        if problem is not None:
            raise problem

    def _is_busy(self) -> bool:
        """Return whether many messages came since this was asked last."""
        before, self._taken = self._taken, self._delivery.taken
        return self._taken - before >= BUSY

    async def _renew(self, sessions: Sequence[LocalSession]) -> None:
        # A session that is closing, or will be when the one that replaced it is welcome, must not
        # fence that one; one that still opens has no lease yet.
        some = [one for one in sessions if one.present and one.renewable]
        partly: PartlyRenewed | None = None
        try:
            ended = await self._tracker.renew([session.info for session in some])
        except PartlyRenewed as error:
            partly, ended = error, error.effects.fenced
        for fenced in ended:
            self._fence(fenced)
        for session in some:
            if session.closed:
                await self._tracker.leave_again(session.info)
        if partly is not None:
            raise partly

    async def _compare(self, rooms: Collection[Room]) -> None:
        by_user = {room.user: room for room in rooms if room.reads_stream and room.members}
        known = {user: room.known for user, room in by_user.items() if room.known is not None}
        for user, head in (await self._streams.heads(by_user, known)).items():
            self._delivery.compare(by_user[user], head)

    async def renew_now(self, session: LocalSession) -> None:
        """Renew one session, of which something has changed. Raises GatewayUnavailable."""
        if session.present and session.renewable:
            for fenced in await self._tracker.renew([session.info]):
                self._fence(fenced)
            if session.closed:
                await self._tracker.leave_again(session.info)

    def rename(self, node: str) -> None:
        """Use this name of the node: in leases and rows from when they are written next."""
        self._node = node
        for session in self._hub:
            session.info = replace(session.info, node=node)

    def reopen_rows(self) -> None:
        """Open the rows again that others closed as lost: they took this node for dead."""
        for session in self._hub:
            if not session.closed:
                self._recorder.session_opened(session.info)

    # --- closing from elsewhere

    def close_local(self, ids: Collection[str], code: int, reason: str) -> list[str]:
        """Close those of the sessions that are here; returns their ids."""
        found = [session for id in ids if (session := self._hub.get(id)) is not None]
        for session in found:
            if code == CloseCode.REPLACED and not self.accepting:
                # It came back elsewhere, as it was asked to.
                session.close(CloseCode.DRAINING, "this node is draining")
            else:
                session.close(code, reason)
        return [session.info.id for session in found]

    def _fence(self, fenced: Fenced) -> None:
        self.close_local([fenced.session], fenced.code, fenced.reason)


def worker_name(info: SessionInfo) -> str:
    """What a worker is called in tasks: its key goes with it, so that none can take another's."""
    return f"{info.user}/{info.client_id}"
