"""Presence in this process, with leases like any other backend's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf

from sockets.base.clock import steady_time
from sockets.codes import CloseCode
from sockets.exceptions import Blocked, Refused, SessionLimit, TryAgainLater
from sockets.presence.base import (
    BLOCKED,
    ENDED_TTL,
    MAX_OVERTAKEN,
    OVER_LIMIT,
    OVERTAKEN,
    REPLACED,
    STATE_TTL,
    Effects,
    Erased,
    Fenced,
    Limit,
    Registered,
)
from sockets.presence.doubt import Doubt
from sockets.presence.memory_user import User, oldest_first
from sockets.presence.revocation import REVOKED, Revocations, names_of
from sockets.types import (
    Kind,
    PresenceAnswer,
    PresenceChange,
    PresenceState,
    SessionInfo,
    UserPresence,
)

_MAX_ENDED = 100_000
"""Ended sessions that are remembered; only a node of another process could still ask for one."""

_MIN_SWEEP = 1_000
"""Blocks at which those that are over are first looked for; then at twice as many as are left."""


class MemoryPresence:
    """The presence interface on dictionaries. Belongs to one event loop.

    `lease`, `grace`: seconds. `max_users`: of whom something is remembered when they have left; the
    longest unused goes first.
    """

    def __init__(
        self,
        *,
        lease: float,
        grace: float = 0.0,
        limit: Limit | None = None,
        max_users: int = 100_000,
        clock: Callable[[], float] = steady_time,
    ) -> None:
        self._lease = lease
        self._grace = grace
        self._limit = limit or Limit()
        self._max_users = max_users
        self._clock = clock
        self._users: OrderedDict[tuple[Kind, str], User] = OrderedDict()
        self._ended: OrderedDict[str, tuple[float, int, str]] = OrderedDict()  # by session
        self._blocked: dict[str, float | None] = {}
        self._sweep_at = _MIN_SWEEP
        self._revoked: dict[str, Revocations] = {}
        self._sweep_revoked_at = _MIN_SWEEP

    # --- the interface

    def believe(self, doubt: Doubt) -> None:
        pass  # a dictionary takes every renewal

    async def register(self, info: SessionInfo, by: str = "") -> Registered:
        user = self._purged(info.kind, info.user)
        limit = self._limit if info.kind is Kind.CLIENT else Limit()
        rival = user.rival(info)
        spared = {info.id, rival.id if rival else info.id}
        others = [one for one in user.leases.values() if one.info.id not in spared]
        over = limit.count and len(others) >= limit.count
        if (refused := self._refusal(user, info, rival, bool(over), limit)) is not None:
            return Registered(user.effects(), refused)
        evicted: list[SessionInfo] = []
        if over:
            oldest = oldest_first(one.info for one in others)
            evicted = oldest[: len(others) - limit.count + 1]
        for one in evicted:
            self._end(user, one, CloseCode.SESSION_LIMIT, OVER_LIMIT)
        if rival is not None:
            self._end(user, rival, CloseCode.REPLACED, REPLACED)
        user.write(info, self._clock() + self._lease)
        user.arrived(self._clock(), by, adopted=False)
        replaced = () if rival is None else (rival,)
        return Registered(user.effects(), None, replaced, tuple(evicted))

    def _refusal(
        self, user: User, info: SessionInfo, rival: SessionInfo | None, over: bool, limit: Limit
    ) -> Refused | None:
        if self._end_of(info.id) is not None:
            return TryAgainLater("closed while it opened")
        if info.kind is Kind.CLIENT and self._is_blocked(info.user):
            return Blocked(BLOCKED)
        if (revoked := self._revocation(info)) is not None:
            return revoked
        if rival and 0 < rival.connected_at - info.connected_at <= MAX_OVERTAKEN:
            return TryAgainLater(OVERTAKEN)
        if not over or limit.oldest_goes:
            return None
        first = min(one.end for one in user.leases.values())
        if first - self._clock() < limit.fresh:
            return TryAgainLater("the limit of sessions is reached, perhaps by some that are dead")
        return SessionLimit("this user has as many live sessions as are allowed")

    async def renew(self, infos: Sequence[SessionInfo], by: str = "") -> Effects:
        changes: list[PresenceChange] = []
        lost: list[SessionInfo] = []
        fenced: list[Fenced] = []
        dropped = 0
        grouped: dict[tuple[Kind, str], list[SessionInfo]] = {}
        for info in infos:
            grouped.setdefault((info.kind, info.user), []).append(info)
        for (kind, name), some in grouped.items():
            user = self._purged(kind, name)
            kept = False
            for info in some:
                if (why := self._fence(user, info)) is not None:
                    fenced.append(why)
                else:
                    user.write(info, self._clock() + self._lease)
                    kept = True
            if kept:
                user.arrived(self._clock(), by, adopted=True)
            effects = user.effects()
            changes += effects.changes
            lost += effects.lost
            dropped += effects.dropped
        return Effects(tuple(changes), tuple(lost), tuple(fenced), dropped=dropped)

    def _fence(self, user: User, info: SessionInfo) -> Fenced | None:
        """Why this session may not go on."""
        leased = info.id in user.leases
        if not leased and (end := self._end_of(info.id)) is not None:
            return Fenced(info.id, *end)
        rival = None if leased else user.rival(info)
        if rival is not None and rival.connected_at >= info.connected_at:
            return Fenced(info.id, CloseCode.REPLACED, REPLACED)
        if rival is not None:
            self._end(user, rival, CloseCode.REPLACED, REPLACED)  # it had been replaced before
        if (revoked := self._revocation(info)) is not None:
            return Fenced(info.id, revoked.close_code, str(revoked))
        if leased or info.kind is Kind.WORKER:
            return None
        if self._is_blocked(info.user):
            return Fenced(info.id, CloseCode.BLOCKED, BLOCKED)
        if self._limit.count and len(user.leases) >= self._limit.count:
            return Fenced(info.id, CloseCode.SESSION_LIMIT, OVER_LIMIT)
        return None

    async def release(self, info: SessionInfo, by: str = "", *, online: bool = False) -> Effects:
        user = self._purged(info.kind, info.user)
        if info.id in user.leases:
            user.forget(info)
        else:
            if self._end_of(info.id) is None:
                self._ended[info.id] = (self._clock() + self._lease, CloseCode.NORMAL, "")
        user.left(self._clock(), self._grace)
        return user.effects()

    async def end(
        self,
        user: str,
        code: int,
        reason: str,
        *,
        client: str | None = None,
        session: str | None = None,
        keep: Iterable[str] = (),
    ) -> Effects:
        spared = set(keep)
        found = self._purged(Kind.CLIENT, user)
        ended = [
            info
            for info in (one.info for one in found.leases.values())
            if client in (None, info.client_id)
            and session in (None, info.id)
            and not spared & {info.id, info.client_id}
        ]
        for info in ended:
            self._end(found, info, code, reason)
        found.left(self._clock(), self._grace)
        return found.effects(ended=ended)

    async def now(self) -> float:
        return self._clock()

    async def block(self, user: str, until: float | None) -> None:
        now = self._clock()
        self._blocked[user] = until
        if len(self._blocked) >= self._sweep_at:
            self._blocked = {
                name: until for name, until in self._blocked.items() if until is None or until > now
            }
            self._sweep_at = max(_MIN_SWEEP, 2 * len(self._blocked))

    async def unblock(self, user: str) -> bool:
        was = self._is_blocked(user)
        self._blocked.pop(user, None)
        return was

    async def blocked_until(self, user: str) -> float | None:
        if not self._is_blocked(user):
            return None
        until = self._blocked[user]
        return inf if until is None else until

    async def revoke(self, user: str, name: str, before: float | None) -> Effects:
        now = self._clock()
        known = self._revoked.setdefault(user, Revocations())
        known.add(name, now if before is None else before, now)
        if len(self._revoked) >= self._sweep_revoked_at:
            self._revoked = {u: known for u, known in self._revoked.items() if not known.over(now)}
            self._sweep_revoked_at = max(_MIN_SWEEP, 2 * len(self._revoked))
        found = self._purged(Kind.CLIENT, user)
        ended = [
            info
            for info in (one.info for one in found.leases.values())
            if name in names_of(info) and (before is None or known.refusal(info, now) is not None)
        ]
        for info in ended:
            self._end(found, info, CloseCode.REVOKED, REVOKED)
        found.left(self._clock(), self._grace)
        return found.effects(ended=ended)

    async def erase(self, user: str) -> Erased:
        now = self._clock()
        found = self._purged(Kind.CLIENT, user)
        known = found.state is not None or found.last_seen is not None
        found.last_seen = None
        if not found.leases:
            found.erased = True
            found.left(now, self._grace)
            found.effects()
            self._drop_erased(user)
        revoked = self._revoked.get(user)
        there = revoked is not None and not revoked.over(now)
        return Erased(known, self._is_blocked(user), there)

    def _drop_erased(self, name: str) -> None:
        user = self._users.get((Kind.CLIENT, name))
        if user is not None and user.erased and not user.is_needed:
            del self._users[Kind.CLIENT, name]

    async def settle(
        self,
        users: Iterable[str],
        by: str = "",
        *,
        kind: Kind = Kind.CLIENT,
        warm: float = 0.0,
        dead: str = "",
        until: float | None = None,
        online: Collection[str] = (),
    ) -> dict[str, Effects]:
        if until is not None and self._clock() > until:
            return {name: Effects(wait=self._lease) for name in users}
        settled: dict[str, Effects] = {}
        for name in users:
            user = self._purged(kind, name)
            user.settle(self._clock(), by, warm, dead)
            settled[name] = user.effects()
            self._drop_erased(name)
        return settled

    async def announced(self, changes: Iterable[PresenceChange]) -> None:
        for change in changes:
            if (user := self._users.get((Kind.CLIENT, change.user))) is not None:
                user.unannounced.pop(change.generation, None)
                self._drop_erased(change.user)

    async def look(self, user: str, kind: Kind = Kind.CLIENT) -> UserPresence:
        found = self._users.get((kind, user))
        if found is None:
            return UserPresence(user, PresenceState.OFFLINE)
        return found.presence(self._clock(), self._lease)

    async def look_at(self, users: Iterable[str], kind: Kind = Kind.CLIENT) -> PresenceAnswer:
        return PresenceAnswer({user: await self.look(user, kind) for user in users})

    async def is_online(self, user: str) -> bool:
        return (await self.look(user)).online

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        return list((await self.look(user)).sessions)

    # --- as in user.lua

    def _purged(self, kind: Kind, name: str) -> User:
        """The user without leases that have run out; made if need be."""
        now = self._clock()
        self._forget_old(now)
        key = (kind, name)
        user = self._users.get(key)
        if user is None:
            user = self._users[key] = User(kind, name)
        self._users.move_to_end(key)
        user.purge(now, self._lease)
        return user

    def _forget_old(self, now: float) -> None:
        """Forget at most one user and one ended session. Each call adds at most one of each, so
        removing one per call keeps the size bounded."""
        if self._ended and (
            len(self._ended) > _MAX_ENDED or next(iter(self._ended.values()))[0] <= now
        ):
            self._ended.popitem(last=False)
        if not self._users:
            return
        key, user = next(iter(self._users.items()))  # the longest unused
        if user.is_needed:
            self._users.move_to_end(key)  # it must not keep those after it
            return
        known = user.last_seen is not None and now - user.last_seen < STATE_TTL
        if not known or len(self._users) > self._max_users:
            self._users.popitem(last=False)

    def _end_of(self, session: str) -> tuple[int, str] | None:
        """Code and reason of a session ended by others, or closed before it was registered."""
        until, code, reason = self._ended.get(session, (0.0, 0, ""))
        return (code, reason) if until > self._clock() else None

    def _is_blocked(self, user: str) -> bool:
        if user not in self._blocked:
            return False
        until = self._blocked[user]
        if until is not None and until <= self._clock():
            del self._blocked[user]
            return False
        return True

    def _revocation(self, info: SessionInfo) -> Refused | None:
        known = self._revoked.get(info.user) if info.kind is Kind.CLIENT else None
        return None if known is None else known.refusal(info, self._clock())

    def _end(self, user: User, info: SessionInfo, code: int, reason: str) -> None:
        self._ended[info.id] = (self._clock() + ENDED_TTL, code, reason)
        user.forget(info)
