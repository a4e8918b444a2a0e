"""What a presence backend promises; `tests/contracts/test_presence*.py` hold each one to it.

A session is present while its lease runs. Nothing here closes a socket: what must be closed is
returned, and `sockets/sessions/lifecycle.py` closes it. Time is the backend's own.

A user is online from the first session on, in grace when the last one has left, offline when the
grace is over or the last lease ran out. The two ends of that are decided here, once for all nodes,
and are returned to the node that decided until they are `announced`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sockets.exceptions import GatewayUnavailable, Refused
from sockets.presence.doubt import Doubt
from sockets.types import Kind, PresenceAnswer, PresenceChange, SessionInfo, UserPresence

AFTERLIFE = 600.0
"""Seconds that what was known of a session is kept when its lease has run out, so that its end can
be announced."""

ENDED_TTL = 3600.0
"""Seconds that the end of a session by others is remembered for a node that was frozen then."""

STATE_TTL = 30 * 24 * 3600.0
"""Seconds that it is known when a user was last seen."""

MAX_UNANNOUNCED = 32
"""Changes of one user that wait to be announced; the oldest go first."""

MAX_OVERTAKEN = 10.0
"""Seconds by which a session may be older than the one of its client id that is there already,
because its registration was longer on its way. It does not replace that one."""

OVERTAKEN = "a newer connection of this client is there"
REPLACED = "replaced by a newer connection of this client"
OVER_LIMIT = "the limit of sessions of this user: the oldest goes"
BLOCKED = "this user is blocked"


@dataclass(frozen=True, slots=True)
class Limit:
    """How many live sessions a user may have.

    `count` 0: any number. `oldest_goes`: the newest is let in, and the oldest ended. `fresh`:
    seconds that a lease of a node that surely lives has left at least.
    """

    count: int = 0
    oldest_goes: bool = False
    fresh: float = 0.0


@dataclass(frozen=True, slots=True)
class Fenced:
    """A session of the asking node that must be closed."""

    session: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Effects:
    """What a step brought about.

    `changes`: to be announced by the asking node; returned again until they are `announced`.
    `lost`: sessions whose leases had run out. `fenced`: sessions of the asking node that must be
    closed. `ended`: sessions of any node that must be closed. `wait`: seconds after which somebody
    has to settle the user. `dropped`: changes that were never announced, and are given up for newer
    ones (MAX_UNANNOUNCED).
    """

    changes: tuple[PresenceChange, ...] = ()
    lost: tuple[SessionInfo, ...] = ()
    fenced: tuple[Fenced, ...] = ()
    ended: tuple[SessionInfo, ...] = ()
    wait: float | None = None
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a registration.

    `refused`: it was not let in; Blocked, SessionLimit, or TryAgainLater (the limit is reached, but
    perhaps by the dead). `replaced`: the live session of the same client. `evicted`: those that had
    to go for this one.
    """

    effects: Effects = Effects()
    refused: Refused | None = None
    replaced: tuple[SessionInfo, ...] = ()
    evicted: tuple[SessionInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure found. `state`: something was known of the user. `blocked`, `revoked`: there
    is a block, there are revocations; they stay."""

    state: bool
    blocked: bool
    revoked: bool


class PartlyRenewed(GatewayUnavailable):
    """A shard of a Cluster did not take its renewals. `effects`: of those that were done."""

    def __init__(self, text: str, effects: Effects) -> None:
        super().__init__(text, outcome="unknown")
        self.effects = effects


class Presence(Protocol):
    """The leases of all sessions, clients and workers. Any method may raise GatewayUnavailable.

    `by`: the life that is responsible for what the step changes, as the registry of nodes calls it,
    and on lines of their own the former lives of the same process, whose changes are returned again
    too; "": nobody wants to hear of changes.
    """

    def believe(self, doubt: Doubt) -> None:
        """Correct answers by what this node knows while its leases cannot be renewed."""

    async def register(self, info: SessionInfo, by: str = "") -> Registered:
        """Begin a lease.

        One step: of two that register at once, exactly one is returned to the other.
        """

    async def renew(self, infos: Sequence[SessionInfo], by: str = "") -> Effects:
        """Extend leases; those that ended by others' will are `fenced`.

        A lease that ran out (a frozen process) begins anew, unless its client id has another
        session by now, or the user was blocked, or is at the limit. Also fenced is whose proof was
        revoked: by a token that came after the revocation was heard of, say. Raises PartlyRenewed
        too, on a Cluster.
        """

    async def release(self, info: SessionInfo, by: str = "", *, online: bool = False) -> Effects:
        """End a lease; idempotent, and harmless to a session that replaced this one.

        A registration of it that is still on its way comes too late. `online`: as of `settle`.
        """

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
        """End leases of a user, all or those named; `keep`: ids of clients or sessions to spare.

        They are gone from now on; a node that is not asked to close them finds them fenced.
        """

    async def now(self) -> float:
        """Return the time by the store's clock: on a Cluster by that of the registry's shard."""

    async def block(self, user: str, until: float | None) -> None:
        """Let no session of this user register, until a moment (seconds since the epoch, by the
        store's clock) or for ever; `end` closes the live."""

    async def unblock(self, user: str) -> bool:
        """Unblock a user. Returns whether they were blocked."""

    async def blocked_until(self, user: str) -> float | None:
        """Return until when a user is blocked, seconds since the epoch; infinity: for ever; None:
        they are not."""

    async def revoke(self, user: str, name: str, before: float | None) -> Effects:
        """Revoke what a user had proved before: nobody registers with it, and sessions that were
        opened with it are `ended`. `name`: as `sockets/presence/revocation.py` calls all of it, a
        login, a token; `before`: seconds since the epoch; None: now.
        """

    async def erase(self, user: str) -> Erased:
        """Remove what is known of a user who is not connected. May be repeated.

        Whoever waits for the end of their grace, or for an announcement of it, gets that first. A
        user who is connected keeps their state, but for when they were last seen.
        """

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
        """Decide who is offline: whose grace is over, or whose leases all ran out.

        `warm`: for so many seconds more nobody is declared offline. `dead`: the name of a node that
        renews no lease of these users any more; whoever has one of it that still runs must be
        settled when that has run out. `until`: by the store's time, when this is too old to decide
        anything: a store that stood still meanwhile sees nobody's renewals before it. `online`: who
        of them is known to have been online: a store that has forgotten them takes them for in
        grace, for a lease at least. Left out of the answer is whose shard of a Cluster does not
        take it now.
        """

    async def announced(self, changes: Iterable[PresenceChange]) -> None:
        """Note that these changes have been announced: they are not returned again."""

    async def look(self, user: str, kind: Kind = Kind.CLIENT) -> UserPresence:
        """Return the presence of a user, or of the workers of a key."""

    async def look_at(self, users: Iterable[str], kind: Kind = Kind.CLIENT) -> PresenceAnswer:
        """Return the presence of many users. Raises GatewayUnavailable if nobody at all answers."""

    async def is_online(self, user: str) -> bool:
        """Whether the user has a live client session.

        Raises GatewayUnavailable too where there is doubt, and none is at this node.
        """

    async def sessions_of(self, user: str) -> list[SessionInfo]:
        """Return the live client sessions of a user, oldest first; raises as `is_online` does."""


class SyncPresence(Protocol):
    """The part of `Presence` that Django code needs, for threads."""

    def is_online(self, user: str) -> bool: ...

    def sessions_of(self, user: str) -> list[SessionInfo]: ...

    def look(self, user: str, kind: Kind = Kind.CLIENT) -> UserPresence: ...

    def look_at(self, users: Iterable[str], kind: Kind = Kind.CLIENT) -> PresenceAnswer: ...

    def counts(self, users: Sequence[str]) -> list[int]:
        """Return how many live client sessions each of the users has."""
