"""Who comes and goes at this node, and what the node answers for until it is done and told.

The presence backend decides; this keeps its promises: a user is charged to this node's life before
they are touched, settled when their grace ends, announced, and discharged only then. So a node
that dies leaves a list of what it had not finished, and another one finishes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from sockets.base import metrics
from sockets.cluster.registry import Nodes
from sockets.codes import LOST
from sockets.events.feed import Events
from sockets.exceptions import GatewayUnavailable
from sockets.presence.base import Effects, Fenced, PartlyRenewed, Presence, Registered
from sockets.presence.doubt import CATCH_UP, SILENCE
from sockets.types import Kind, NodeInfo, PresenceChange, SessionInfo

logger = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between two looks at whose grace is over."""

BATCH = 500
TOLD_TIMEOUT = 10.0
"""Seconds to tell what a dead node had not; then somebody tries again later."""

FORMER = 4
"""Former lives of which changes are still asked for: those that were decided in their name while
they ended, and whose answer nobody waited for."""

Key = tuple[Kind, str]


class Attendance:
    """Belongs to the node's event loop. Any method may raise GatewayUnavailable.

    `lease`: seconds. `store_time`: the presence backend's clock, as this node knows it; None: where
    no call is ever long on its way. `life`: what the registry of nodes calls this one; "" while it
    knows none, and then nobody can arrive.
    """

    def __init__(
        self,
        *,
        presence: Presence,
        nodes: Nodes,
        events: Events,
        lease: float,
        store_time: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presence = presence
        self._nodes = nodes
        self._events = events
        self._lease = lease
        self._store_time = store_time
        self._clock = clock
        self.life = ""
        self._former: deque[str] = deque(maxlen=FORMER)
        self._beaten = -float("inf")
        self._back_at = -float("inf")  # after a silence
        self._warm_until = 0.0
        self._patient_until = 0.0  # the others may not have renewed yet
        self._here: Counter[Key] = Counter()
        self._due: dict[Key, float] = {}  # when to settle
        self._untold: dict[str, set[int]] = {}  # generations that are being announced
        self._told: list[PresenceChange] = []  # and the backend does not know it yet
        self._charged: set[Key] = set()
        self._perhaps_idle: set[Key] = set()

    @property
    def users(self) -> int:
        """How many users have a client session at this node."""
        return sum(kind is Kind.CLIENT for kind, _ in self._here)

    # --- sessions of this node

    async def arrive(self, info: SessionInfo) -> Registered:
        """A session wants to begin. `leave` must follow, whatever becomes of this."""
        key = (info.kind, info.user)
        self._here[key] += 1
        await self._charge([key])
        registered = await self._presence.register(info, self._by)
        self._heed(registered.effects, key)
        return registered

    async def leave(self, info: SessionInfo) -> None:
        """A session is gone."""
        key = (info.kind, info.user)
        try:
            await self._release(info)
        finally:
            # Not before: meanwhile the user would seem to be nobody's, and be discharged.
            self._here[key] -= 1
            if self._here[key] <= 0:
                del self._here[key]
            self._perhaps_idle.add(key)

    async def _release(self, info: SessionInfo) -> None:
        key = (info.kind, info.user)
        try:
            self._heed(await self._presence.release(info, self._by), key)
        except BaseException:
            # Its lease ends by itself, and then somebody has to notice.
            self._settle_in(key, self._lease)
            raise

    async def renew(self, infos: Sequence[SessionInfo]) -> tuple[Fenced, ...]:
        """These are still here; returns those that must be closed. Raises PartlyRenewed too."""
        try:
            effects = await self._presence.renew(infos, self._by)
        except PartlyRenewed as error:
            self._heed(error.effects)
            raise
        self._heed(effects)
        return effects.fenced

    async def leave_again(self, info: SessionInfo) -> None:
        """It left while it was being renewed: which of the two came first is not known."""
        await self._release(info)

    def beaten(self, warm: float) -> None:
        """This node is alive to the others. For `warm` seconds nobody is declared offline."""
        now = self._clock()
        if now - self._beaten > SILENCE * self._lease:
            self._back_at = now
            if self._beaten > -float("inf"):  # else it has only begun
                self._patient_until = now + CATCH_UP * self._lease
        self._beaten = now
        self._warm_until = now + warm

    @property
    def just_back(self) -> bool:
        """Whether this node was out of touch a moment ago. Perhaps the store was: then the others
        come back as well, and one that seems to be dead may only be the second to do so."""
        return self._clock() - self._back_at < CATCH_UP * self._lease

    @property
    def out_of_touch(self) -> bool:
        """Whether this node could not say for long that it lives. Perhaps nobody could, and then
        all seem to be dead, itself too."""
        return self._clock() - self._beaten > SILENCE * self._lease

    def taken_for_dead(self) -> None:
        """Others have cleared up behind this life: nobody is charged to it any more."""
        self._former.appendleft(self.life)
        self.life = ""

    async def begin(self, life: str) -> None:
        """This node lives by a new name: it answers for all its users under that."""
        self.life = life
        self._charged.clear()
        await self._charge(self._all())

    async def check(self) -> None:
        """Charge again what the registry has forgotten."""
        for kind in Kind:
            mine = sum(of is kind for of, _ in self._charged)
            if await self._nodes.count_charges(self.life, kind) < mine:
                self._charged = {key for key in self._charged if key[0] is not kind}
        await self._charge(self._all())

    def _all(self) -> set[Key]:
        return {*self._here, *self._due, *((Kind.CLIENT, user) for user in self._untold)}

    # --- the clock's

    async def watch(self) -> None:
        """Run for ever: settle whose grace is over, and put in order what has been told."""
        while True:
            await asyncio.sleep(TICK)
            try:
                await self.tick()
            except GatewayUnavailable:
                continue  # the renewal says that, once
            except Exception:
                logger.exception("settling who is offline failed; again in %g s", TICK)

    async def tick(self) -> None:
        """One look at the clock."""
        now = self._clock()
        if not self.life or now - self._beaten > self._lease:
            return  # who knows what happened meanwhile: the next beat tells
        due = [key for key, at in self._due.items() if at <= now]
        for kind in Kind:
            await self._settle(kind, [user for of, user in due if of is kind])
        await self._say_told()
        await self._discharge_idle()

    async def _settle(self, kind: Kind, users: list[str]) -> None:
        for start in range(0, len(users), BATCH):
            some = users[start : start + BATCH]
            warm = max(0.0, max(self._warm_until, self._patient_until) - self._clock())
            # Before: whoever leaves meanwhile is due again, and that must not be forgotten.
            due = {(kind, user): self._due.pop((kind, user)) for user in some}
            # A renewal that Redis carried out late leaves a lease of nobody: it is waited for too.
            own = self.life.rpartition(":")[0]
            try:
                settled = await self._presence.settle(
                    some, self._by, kind=kind, warm=warm, dead=own, until=self._until()
                )
            except BaseException:
                self._due = due | self._due
                raise
            waiting = {key: at for key, at in due.items() if key[1] not in settled}
            self._due = waiting | self._due
            for user, effects in settled.items():
                # While somebody is here nothing has to be waited for: they will leave.
                self._heed(effects, None if (kind, user) in self._here else (kind, user))
            self._perhaps_idle.update(due.keys() - waiting.keys())

    async def _say_told(self) -> None:
        told, self._told = self._told, []
        try:
            await self._presence.said(told)
        except BaseException:
            self._told = told + self._told
            raise
        for change in told:
            untold = self._untold.get(change.user, set())
            untold.discard(change.generation)
            if not untold:
                self._untold.pop(change.user, None)
                self._perhaps_idle.add((Kind.CLIENT, change.user))

    async def _discharge_idle(self) -> None:
        idle = {key for key in self._perhaps_idle if key in self._charged and self._is_idle(key)}
        self._perhaps_idle.clear()
        self._charged -= idle
        try:
            for kind in Kind:
                users = [user for of, user in idle if of is kind]
                if users:
                    await self._nodes.discharge(self.life, kind, users)
        finally:
            # Whoever came meanwhile may have been charged before and discharged after that.
            back = [key for key in idle if not self._is_idle(key)]
            self._charged.difference_update(back)
            await self._charge(back)

    def _is_idle(self, key: Key) -> bool:
        return (
            key not in self._here
            and key not in self._due
            and not (key[0] is Kind.CLIENT and key[1] in self._untold)
        )

    # --- what another node left behind

    async def finish_for(self, dead: NodeInfo) -> bool:
        """Settle and tell what a dead node had not; whether nothing of it is left."""
        for kind in Kind:
            while users := await self._nodes.charges(dead.id, kind, BATCH):
                await self._nodes.keep_claim(dead.id)
                by = dead.id if self._events.changes_wanted else ""
                settled = await self._presence.settle(
                    users, by, kind=kind, dead=dead.name, until=self._until()
                )
                for effects in settled.values():
                    metrics.dropped_events.inc(effects.dropped)
                    self._lost(effects)
                told = await self._tell_all(
                    [change for effects in settled.values() for change in effects.changes]
                )
                done = []
                for user, effects in settled.items():
                    if effects.wait is not None:
                        # A grace or a lease goes on, and from now on this node sees to its end.
                        self._due[kind, user] = self._clock() + effects.wait
                        await self._charge([(kind, user)])
                    if all(change in told for change in effects.changes):
                        done.append(user)
                await self._presence.said(told)
                await self._nodes.discharge(dead.id, kind, done)
                if not done:
                    return False
        return True

    async def _tell_all(self, changes: Iterable[PresenceChange]) -> set[PresenceChange]:
        """Those that were told in time."""
        told: set[PresenceChange] = set()
        answers: list[asyncio.Future[None]] = []
        for change in changes:
            answer = asyncio.get_running_loop().create_future()
            answers.append(answer)
            self._events.changed(change, partial(_answered, answer, change, told))
        if answers:
            await asyncio.wait(answers, timeout=TOLD_TIMEOUT)
        return set(told)

    # --- inside

    def _until(self) -> float | None:
        """When what is asked now decides nothing any more: the others renew in the meantime, and a
        store that stood still may hear of that only after this."""
        return self._store_time() + CATCH_UP * self._lease if self._store_time else None

    @property
    def _by(self) -> str:
        if not self._events.changes_wanted:
            return ""
        return "\n".join([self.life, *self._former] if self.life else self._former)

    async def _charge(self, keys: Iterable[Key]) -> None:
        """Before anything is done about them."""
        new = [key for key in keys if key not in self._charged]
        if new and not self.life:
            raise GatewayUnavailable("this node is not registered yet")
        for kind in Kind:
            users = [user for of, user in new if of is kind]
            if users:
                await self._nodes.charge(self.life, kind, users)
        self._charged.update(new)

    def _heed(self, effects: Effects, key: Key | None = None) -> None:
        metrics.dropped_events.inc(effects.dropped)
        self._lost(effects)
        for change in effects.changes:
            self._announce(change)
        if key is not None and effects.wait is not None:
            # The backend knows all reasons to wait; those of before no longer count.
            self._due[key] = self._clock() + effects.wait

    def _announce(self, change: PresenceChange) -> None:
        untold = self._untold.setdefault(change.user, set())
        if change.generation not in untold:
            untold.add(change.generation)
            self._events.changed(change, partial(self._announced, change))

    def _announced(self, change: PresenceChange, told: bool) -> None:
        if told:
            self._told.append(change)
            return
        # There was no room for it: the backend brings it again.
        self._untold.get(change.user, set()).discard(change.generation)
        if not self._untold.get(change.user):
            self._untold.pop(change.user, None)
        self._settle_in((Kind.CLIENT, change.user), self._lease)

    def _lost(self, effects: Effects) -> None:
        for info in effects.lost:
            self._events.closed(info, LOST, "its process died, or was cut off")

    def _settle_in(self, key: Key, seconds: float) -> None:
        """At the latest."""
        at = self._clock() + seconds
        self._due[key] = min(at, self._due.get(key, at))


def _answered(
    answer: asyncio.Future[None], change: PresenceChange, told: set[PresenceChange], ok: bool
) -> None:
    if ok:
        told.add(change)
    if not answer.done():
        answer.set_result(None)
