"""The presence of users at this node, and what this node is responsible for.

The presence backend decides who is online. This keeps, for each user (or worker's key), what this
node still has to do about them:

               arrive                      leave (the last session)
    absent ─────────────► here ──────────────────────────────► due
      ▲                    │  ▲                                 │
      │                    │  └──────────── arrive ─────────────┤
      │ tick: nothing      │ arrive: online                     │ tick: offline, when the grace
      │ is left            ▼                                    ▼ or the last lease is over
    announced ◄──────── decided ◄───────────────────────────────┘
    once receivers and webhooks have it; where they had no space: due after a lease, decided again

Somebody who is here may be decided or announced at the same time. While a user is anything but
absent, the registry of nodes lists them under the life of this node: it is responsible for them.
They are listed before anything is done about them, and until nothing about them is left to be done
or announced. So a life that ends leaves a list of what it had not finished, and the user is handed
over: to the node that finds it (`handover.py`), or to the next life of this process (`begin`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from sockets.base import metrics
from sockets.base.together import Together
from sockets.cluster.registry import Nodes
from sockets.codes import LOST
from sockets.events.feed import Events
from sockets.exceptions import GatewayUnavailable
from sockets.presence.base import Effects, Fenced, PartlyRenewed, Presence, Registered
from sockets.presence.doubt import CATCH_UP, SILENCE
from sockets.types import Kind, PresenceChange, SessionInfo

logger = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between two looks at whose grace is over."""

BATCH = 500
"""Users settled in one call."""

FORMER = 4
"""Former lives of which changes are still asked for: those that were decided in their name while
they ended, and whose answer nobody waited for."""

Key = tuple[Kind, str]


class PresenceTracker:
    """Belongs to the node's event loop. Any method may raise GatewayUnavailable.

    `lease`: seconds. `store_time`: the presence backend's clock, as this node knows it; None: of
    presence in this process, where no call comes late. `clock`: monotonic seconds.
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
        self._life = ""
        self._former: deque[str] = deque(maxlen=FORMER)
        self._beat_at = -float("inf")
        self._back_at = -float("inf")  # when it was alive to the others again, after a silence
        self._warm_until = 0.0
        self._patient_until = 0.0  # until then the other nodes may not have renewed yet
        self._here: Counter[Key] = Counter()  # sessions
        self._due: dict[Key, float] = {}  # when to settle: in grace, or after a failure
        self._decided: dict[str, set[int]] = {}  # by user: generations being announced
        self._announced: list[PresenceChange] = []  # the backend does not know it yet
        self._responsible: set[Key] = set()  # for whom the registry lists this life
        self._arrivals = Together(self._take_on, BATCH)
        self._perhaps_idle: set[Key] = set()
        self._online: set[str] = set()  # users that were registered here: should the store forget

    @property
    def life(self) -> str:
        """What the registry of nodes calls this one; "" while it knows none: nobody can arrive."""
        return self._life

    @property
    def users(self) -> int:
        """How many users have a client session at this node."""
        return sum(kind is Kind.CLIENT for kind, _ in self._here)

    # --- sessions of this node

    async def arrive(self, info: SessionInfo) -> Registered:
        """Register a session. `leave` must follow, whatever becomes of this."""
        key = (info.kind, info.user)
        self._here[key] += 1
        if key not in self._responsible:
            await self._arrivals.do(key)
        registered = await self._presence.register(info, self._lives)
        self._apply(registered.effects, key)
        if registered.refused is None and info.kind is Kind.CLIENT:
            self._online.add(info.user)
        return registered

    async def leave(self, info: SessionInfo) -> None:
        """Release a session that is gone."""
        key = (info.kind, info.user)
        try:
            await self._release(info)
        finally:
            # Not before: meanwhile the user would seem to be absent, and be let go.
            self._here[key] -= 1
            if self._here[key] <= 0:
                del self._here[key]
            self._perhaps_idle.add(key)

    async def _release(self, info: SessionInfo) -> None:
        key = (info.kind, info.user)
        try:
            online = info.kind is Kind.CLIENT and info.user in self._online
            self._apply(await self._presence.release(info, self._lives, online=online), key)
        except BaseException:
            # Its lease ends by itself, and then somebody has to notice.
            self._settle_in(key, self._lease)
            raise

    async def renew(self, infos: Sequence[SessionInfo]) -> tuple[Fenced, ...]:
        """Renew sessions. Returns those that must be closed. Raises PartlyRenewed too."""
        try:
            effects = await self._presence.renew(infos, self._lives)
        except PartlyRenewed as error:
            self._apply(error.effects)
            raise
        self._apply(effects)
        return effects.fenced

    async def leave_again(self, info: SessionInfo) -> None:
        """Release a session again that left while it was renewed: which came first is not known."""
        await self._release(info)

    def beat_succeeded(self, warm: float) -> None:
        """Note that this node is alive to the others, and for how long nobody is declared offline.

        `warm`: seconds.
        """
        now = self._clock()
        if now - self._beat_at > SILENCE * self._lease:
            self._back_at = now
            if self._beat_at > -float("inf"):  # else it has only begun
                self._patient_until = now + CATCH_UP * self._lease
        self._beat_at = now
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
        return self._clock() - self._beat_at > SILENCE * self._lease

    def taken_for_dead(self) -> None:
        """End this life, which others took for dead: they have cleared up after it, and it is
        responsible for nobody any more."""
        self._former.appendleft(self._life)
        self._life = ""

    async def begin(self, life: str) -> None:
        """Begin a new life of this node: it is responsible for all its users."""
        self._life = life
        self._responsible.clear()
        await self._take_on(self._all())

    async def check(self) -> None:
        """List again the users that the registry has forgotten."""
        for kind in Kind:
            mine = sum(of is kind for of, _ in self._responsible)
            if await self._nodes.count_users(self._life, kind) < mine:
                self._responsible = {key for key in self._responsible if key[0] is not kind}
        await self._take_on(self._all())

    def _all(self) -> set[Key]:
        return {*self._here, *self._due, *((Kind.CLIENT, user) for user in self._decided)}

    # --- what time brings

    async def watch(self) -> None:
        """Run for ever: settle whose grace is over, and confirm what has been announced."""
        while True:
            await asyncio.sleep(TICK)
            try:
                await self.tick()
            except GatewayUnavailable:
                continue  # the renewal logs that, once
            except Exception:
                logger.exception("settling who is offline failed; again in %g s", TICK)

    async def tick(self) -> None:
        """Settle who is due, confirm what is announced, let go of whom nothing is left."""
        now = self._clock()
        if not self._life or now - self._beat_at > self._lease:
            return  # others may have taken over meanwhile: the next beat shows
        if due := [key for key, at in self._due.items() if at <= now]:
            for kind in Kind:
                await self._settle(kind, [user for of, user in due if of is kind])
        if self._announced:
            await self._confirm_announced()
        if self._perhaps_idle:
            await self._let_go_of_idle()

    async def _settle(self, kind: Kind, users: list[str]) -> None:
        for start in range(0, len(users), BATCH):
            some = users[start : start + BATCH]
            warm = max(0.0, max(self._warm_until, self._patient_until) - self._clock())
            # Before the call: whoever leaves meanwhile is due again, and that must not be lost.
            due = {(kind, user): self._due.pop((kind, user)) for user in some}
            # A renewal that Redis carried out late leaves a lease in this node's own name that no
            # session here has: its end is waited for too.
            own = self._life.rpartition(":")[0]
            try:
                settled = await self._presence.settle(
                    some,
                    self._lives,
                    kind=kind,
                    warm=warm,
                    dead=own,
                    until=self.latest(),
                    online=self._online if kind is Kind.CLIENT else (),
                )
            except BaseException:
                self._due = due | self._due
                raise
            waiting = {key: at for key, at in due.items() if key[1] not in settled}
            self._due = waiting | self._due
            for user, effects in settled.items():
                # While somebody is here nothing has to be waited for: they will leave.
                self._apply(effects, None if (kind, user) in self._here else (kind, user))
            self._perhaps_idle.update(due.keys() - waiting.keys())

    async def _confirm_announced(self) -> None:
        """Tell the backend what has been announced, so that it does not come again."""
        announced, self._announced = self._announced, []
        try:
            await self._presence.announced(announced)
        except BaseException:
            self._announced = announced + self._announced
            raise
        for change in announced:
            if self._forget_change(change):
                self._perhaps_idle.add((Kind.CLIENT, change.user))

    async def _let_go_of_idle(self) -> None:
        """Be responsible no more for those about whom nothing is left."""
        idle = {
            key for key in self._perhaps_idle if key in self._responsible and self._is_idle(key)
        }
        self._perhaps_idle.clear()
        self._responsible -= idle
        self._online.difference_update(user for kind, user in idle if kind is Kind.CLIENT)
        try:
            for kind in Kind:
                users = [user for of, user in idle if of is kind]
                if users:
                    await self._nodes.remove_users(self._life, kind, users)
        finally:
            # Whoever came meanwhile may have been added before they were removed.
            back = [key for key in idle if not self._is_idle(key)]
            self._responsible.difference_update(back)
            await self._take_on(back)

    def _is_idle(self, key: Key) -> bool:
        return (
            key not in self._here
            and key not in self._due
            and not (key[0] is Kind.CLIENT and key[1] in self._decided)
        )

    # --- for whoever takes over from a dead node

    def latest(self) -> float | None:
        """Return until when, by the store's time, what is asked now may decide something.

        The others renew in the meantime, and a store that stood still may hear of that later.
        """
        return self._store_time() + CATCH_UP * self._lease if self._store_time else None

    async def take_over(self, key: Key, wait: float) -> None:
        """Be responsible for a user of a dead node whose grace or lease ends in `wait` seconds."""
        self._due[key] = self._clock() + wait
        await self._take_on([key])

    def announce_lost(self, effects: Effects) -> None:
        """Announce the sessions whose leases had run out; count the changes that were given up."""
        metrics.dropped_events.inc(effects.dropped)
        for info in effects.lost:
            self._events.closed(info, LOST, "its process died, or was cut off")

    # --- inside

    @property
    def _lives(self) -> str:
        """This life and the former ones, as the argument `by` of Presence has them."""
        if not self._events.changes_wanted:
            return ""
        return "\n".join([self._life, *self._former] if self._life else self._former)

    async def _take_on(self, keys: Iterable[Key]) -> None:
        """Be responsible for these users; awaited before anything is done about them."""
        new = [key for key in keys if key not in self._responsible]
        if new and not self._life:
            raise GatewayUnavailable("this node is not registered yet")
        for kind in Kind:
            users = [user for of, user in new if of is kind]
            if users:
                await self._nodes.add_users(self._life, kind, users)
        self._responsible.update(new)
        # Whoever was waited for may have left meanwhile.
        self._perhaps_idle.update(filter(self._is_idle, new))

    def _apply(self, effects: Effects, key: Key | None = None) -> None:
        self.announce_lost(effects)
        for change in effects.changes:
            self._announce(change)
        if key is not None and effects.wait is not None:
            # The backend knows all reasons to wait; those of before no longer count.
            self._due[key] = self._clock() + effects.wait

    def _announce(self, change: PresenceChange) -> None:
        decided = self._decided.setdefault(change.user, set())
        if change.generation not in decided:
            decided.add(change.generation)
            self._events.changed(change, partial(self._after_announcement, change))

    def _after_announcement(self, change: PresenceChange, announced: bool) -> None:
        if announced:
            self._announced.append(change)
            return
        # There was no space for it: the backend brings it again.
        self._forget_change(change)
        self._settle_in((Kind.CLIENT, change.user), self._lease)

    def _forget_change(self, change: PresenceChange) -> bool:
        """Forget a change. Returns whether it was the last one of its user."""
        decided = self._decided.get(change.user, set())
        decided.discard(change.generation)
        if not decided:
            self._decided.pop(change.user, None)
        return not decided

    def _settle_in(self, key: Key, seconds: float) -> None:
        """Settle a user in so many seconds at the latest."""
        at = self._clock() + seconds
        self._due[key] = min(at, self._due.get(key, at))
