"""The scripts of presence: how each is called, and what its answer means. No connection here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sockets.codes import CloseCode
from sockets.exceptions import (
    Blocked,
    Refused,
    Revoked,
    SessionLimit,
    TokenExpired,
    TryAgainLater,
)
from sockets.presence.base import (
    AFTERLIFE,
    BLOCKED,
    ENDED_TTL,
    MAX_OVERTAKEN,
    MAX_UNANNOUNCED,
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
from sockets.presence.doubt import CATCH_UP
from sockets.presence.infos import live, sessions, written
from sockets.presence.revocation import DOUBTFUL, MAX_REVOKED, REVOKED, REVOKED_TTL
from sockets.redis import Call, Keys, Script
from sockets.types import (
    Kind,
    PresenceChange,
    PresenceState,
    SessionInfo,
    UserPresence,
)

REGISTER = Script(__package__, "user", "register")
RENEW = Script(__package__, "user", "renew")
EXTEND = Script(__package__, "extend", asks=True)  # what it did is done again by RENEW
RELEASE = Script(__package__, "user", "release")
END = Script(__package__, "user", "end")
REVOKE = Script(__package__, "user", "revoke")
ERASE = Script(__package__, "user", "erase")
SETTLE = Script(__package__, "user", "settle")
ANNOUNCED = Script(__package__, "announced")
LOOK = Script(__package__, "look", asks=True)
COUNT = Script(__package__, "count", asks=True)
NOW = Script(__package__, "now")
BLOCK = Script(__package__, "block")

_REFUSALS: dict[bytes, Refused] = {
    b"blocked": Blocked(BLOCKED),
    b"limit": SessionLimit("this user has as many live sessions as are allowed"),
    b"stale": TryAgainLater("the limit of sessions is reached, perhaps by some that are dead"),
    b"revoked": Revoked(REVOKED),
    b"doubtful": TokenExpired(DOUBTFUL),
    b"ended": TryAgainLater("closed while it opened"),
    b"overtaken": TryAgainLater(OVERTAKEN),
}

EXTENDED = ("sessions", "info", "clients", "state", "revoked")
"""The keys of a user that EXTEND wants."""


class PresenceCalls:
    """`lease`, `grace`: seconds. `clock`: for tests; None: Redis' own."""

    def __init__(
        self,
        keys: Keys,
        *,
        lease: float,
        grace: float,
        limit: Limit,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._keys = keys
        self._lease = lease
        numbers = (
            lease,
            AFTERLIFE,
            ENDED_TTL,
            MAX_OVERTAKEN,
            STATE_TTL,
            REVOKED_TTL,
            MAX_UNANNOUNCED,
        )
        self._numbers = " ".join(map(str, numbers))
        self._grace = grace
        self._limit = limit
        self._clock = clock

    # --- calls

    def register(self, info: SessionInfo, by: str) -> Call:
        """Arguments of REGISTER."""
        limit = self._limit if info.kind is Kind.CLIENT else Limit()
        return self._call(
            info.kind,
            info.user,
            by,
            info.id,
            info.client_id,
            written(info),
            limit.count,
            _flag(limit.oldest_goes),
            limit.fresh,
            _why(CloseCode.REPLACED, REPLACED),
            _why(CloseCode.SESSION_LIMIT, OVER_LIMIT),
        )

    def renew(self, kind: Kind, user: str, infos: Iterable[SessionInfo], by: str) -> Call:
        """Arguments of RENEW."""
        args: list[str | bytes] = []
        for info in infos:
            args += (info.id, info.client_id, written(info))
        return self._call(kind, user, by, *self._reasons(kind), *args)

    def extend(self, grouped: Sequence[tuple[str, Sequence[SessionInfo]]]) -> Call:
        """Arguments of EXTEND: users, and their client sessions."""
        keys: list[str] = []
        args: list[Any] = [self._now(), self._lease, AFTERLIFE]
        for user, infos in grouped:
            start = self._keys.user(user, "")
            keys += [start + part for part in EXTENDED]
            args.append(len(infos))
            for info in infos:
                args += (info.id, written(info))
        return keys, args

    def _reasons(self, kind: Kind) -> tuple[int | str, ...]:
        limit = self._limit.count if kind is Kind.CLIENT else 0
        return (
            limit,
            _why(CloseCode.REPLACED, REPLACED),
            _why(CloseCode.SESSION_LIMIT, OVER_LIMIT),
            _why(CloseCode.BLOCKED, BLOCKED),
            _why(CloseCode.REVOKED, REVOKED),
            _why(CloseCode.TOKEN_EXPIRED, DOUBTFUL),
        )

    def release(self, info: SessionInfo, by: str, online: bool) -> Call:
        """Arguments of RELEASE."""
        why = _why(CloseCode.NORMAL, "")
        return self._call(info.kind, info.user, by, info.id, why, _flag(online))

    def end(
        self,
        user: str,
        code: int,
        reason: str,
        client: str | None,
        session: str | None,
        keep: Iterable[str],
    ) -> Call:
        """Arguments of END."""
        chosen = (client or "", session or "")
        return self._call(Kind.CLIENT, user, "", int(code), reason, *chosen, *keep)

    def revoke(self, user: str, name: str, before: float | None) -> Call:
        """Arguments of REVOKE."""
        since = "" if before is None else f"{before:.6f}"
        code = int(CloseCode.REVOKED)
        return self._call(Kind.CLIENT, user, "", name, since, code, REVOKED, MAX_REVOKED)

    def erase(self, user: str) -> Call:
        """Arguments of ERASE."""
        return self._call(Kind.CLIENT, user, "")

    def settle(
        self,
        kind: Kind,
        user: str,
        by: str,
        warm: float,
        dead: str,
        until: float | None,
        online: bool,
    ) -> Call:
        """Arguments of SETTLE."""
        latest = "" if until is None else f"{until:.6f}"
        return self._call(kind, user, by, warm, dead, latest, _flag(online))

    @property
    def patience(self) -> float:
        """Seconds that a call may be on its way and still decide something."""
        return CATCH_UP * self._lease

    @staticmethod
    def is_late(answer: Any) -> bool:
        """Of SETTLE: it was heard after its `until`."""
        return isinstance(answer, list) and len(answer) == 2

    def announced(self, changes: Iterable[PresenceChange]) -> list[Call]:
        """Arguments of ANNOUNCED, one for each user."""
        grouped: dict[str, list[int]] = defaultdict(list)
        for change in changes:
            grouped[change.user].append(change.generation)
        return [([self._keys.user(user, "state")], some) for user, some in grouped.items()]

    def look(self, kind: Kind, user: str) -> Call:
        """Arguments of LOOK."""
        names = self._names(kind, user)
        return [names[0], names[1], names[3]], [self._now()]

    def count(self, user: str) -> Call:
        """Arguments of COUNT."""
        return [self._keys.user(user, "sessions")], [self._now()]

    def now(self) -> Call:
        """Arguments of NOW."""
        return [self._keys.nodes("")], [self._now()]

    def block(self, user: str, until: float | None) -> Call:
        """Arguments of BLOCK."""
        return [self.block_key(user)], [self._now(), "" if until is None else f"{until:.6f}"]

    def block_key(self, user: str) -> str:
        """The key that exists while the user is blocked."""
        return self._keys.user(user, "block")

    def _call(self, kind: Kind, user: str, by: str, *args: Any) -> Call:
        grace = self._grace if kind is Kind.CLIENT else ""
        return self._names(kind, user), [self._now(), self._numbers, grace, by, *args]

    def _names(self, kind: Kind, user: str) -> list[str]:
        name = self._keys.user if kind is Kind.CLIENT else self._keys.worker
        parts = ("sessions", "info", "clients", "state", "block", "ended:", "revoked")
        return [name(user, part) for part in parts]

    def _now(self) -> str:
        return "" if self._clock is None else repr(self._clock())

    # --- answers

    def registered(self, info: SessionInfo, answer: list[Any]) -> Registered:
        """Read the answer of REGISTER."""
        effects, refused, replaced, evicted = answer
        return Registered(
            self._effects(info.kind, info.user, effects),
            _REFUSALS.get(refused),
            sessions(info.kind, info.user, replaced),
            sessions(info.kind, info.user, evicted),
        )

    def renewed(self, kind: Kind, user: str, answer: list[Any]) -> Effects:
        """Read the answer of RENEW."""
        effects, fenced = answer
        pairs = zip(fenced[::2], fenced[1::2], strict=True)
        return self._effects(
            kind, user, effects, fenced=tuple(_fenced(session, why) for session, why in pairs)
        )

    def ended(self, user: str, answer: list[Any]) -> Effects:
        """Read the answer of END and REVOKE."""
        effects, ended = answer
        ended = sessions(Kind.CLIENT, user, ended)
        return self._effects(Kind.CLIENT, user, effects, ended=ended)

    @staticmethod
    def erased(answer: list[Any]) -> Erased:
        """Read the answer of ERASE."""
        return Erased(*map(bool, answer[1:]))

    def effects(self, kind: Kind, user: str, answer: list[Any]) -> Effects:
        """Read the answer of RELEASE and SETTLE."""
        return self._effects(kind, user, answer[0])

    @staticmethod
    def depends_on_warmth(answer: Any) -> bool:
        """Whether an answer of LOOK is: online by the last decision, and nobody there."""
        return isinstance(answer, list) and answer[0] == b"online" and len(answer) == 3

    def presence(self, kind: Kind, user: str, answer: Any, warm: float) -> UserPresence:
        """Read the answer of LOOK."""
        state, grace, last_seen, *rows = answer
        found = live(kind, user, rows, self._lease)
        if found:
            newest = max(info.seen_at or 0.0 for info in found)
            return UserPresence(user, PresenceState.CONNECTED, found, newest)
        in_grace = (state == b"grace" and float(grace) > 0) or (state == b"online" and warm > 0)
        known = PresenceState.IN_GRACE if in_grace else PresenceState.OFFLINE
        return UserPresence(user, known, (), float(last_seen) if last_seen else None)

    @staticmethod
    def _effects(kind: Kind, user: str, effects: list[Any], **more: Any) -> Effects:
        changes, lost, wait, dropped = effects
        pairs = zip(changes[::2], changes[1::2], strict=True)
        found = sorted(
            (_change(user, generation, what) for generation, what in pairs),
            key=lambda change: change.generation,
        )
        return Effects(
            changes=tuple(found),
            lost=sessions(kind, user, lost),
            wait=float(wait) if wait else None,
            dropped=dropped,
            **more,
        )


def join(many: Iterable[Effects]) -> Effects:
    """The effects of several steps as those of one; nobody waits for several users."""
    found = list(many)
    return Effects(
        changes=tuple(change for one in found for change in one.changes),
        lost=tuple(info for one in found for info in one.lost),
        fenced=tuple(fenced for one in found for fenced in one.fenced),
        ended=tuple(info for one in found for info in one.ended),
        dropped=sum(one.dropped for one in found),
    )


def _flag(given: bool) -> str:
    return "1" if given else ""


def _why(code: CloseCode, reason: str) -> str:
    """Return why a session ends, as the scripts keep it."""
    return f"{int(code)} {reason}"


def _change(user: str, generation: bytes, what: bytes) -> PresenceChange:
    state, at, _ = what.split(b" ", 2)
    return PresenceChange(user, state == b"online", int(generation), float(at))


def _fenced(session: bytes, why: bytes) -> Fenced:
    code, _, reason = why.decode().partition(" ")
    return Fenced(session.decode(), int(code), reason)
