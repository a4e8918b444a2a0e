"""What presence in memory knows of one user: the same as the user's keys in Redis and user.lua.

    None ──arrived──► online ──left──► grace ──settle──► offline ──arrived──► online
                        ▲                │
                        └────arrived─────┘

No clock here: time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sockets.presence.base import MAX_UNANNOUNCED, Effects, Fenced
from sockets.types import Kind, PresenceChange, PresenceState, SessionInfo, UserPresence

ONLINE, GRACE, OFFLINE = "online", "grace", "offline"


@dataclass(slots=True)
class Lease:
    """A session, and when its lease ends."""

    info: SessionInfo
    end: float


@dataclass(slots=True)
class User:
    """One user's sessions, or those of one worker key, which have no state.

    `unannounced`: changes by their generation. `lost`, `wait`, `dropped`: what the step that goes
    on brings about, as of Effects. `erased`: it goes when nothing is left to be done.
    """

    kind: Kind
    name: str
    leases: dict[str, Lease] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)
    state: str | None = None
    generation: int | None = None
    grace_end: float = 0.0
    last_seen: float | None = None
    unannounced: dict[int, PresenceChange] = field(default_factory=dict)
    lost: list[SessionInfo] = field(default_factory=list)
    wait: float | None = None
    dropped: int = 0
    erased: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether something about the user is left to be done."""
        return bool(self.leases or self.unannounced) or self.state in (ONLINE, GRACE)

    def effects(self, fenced: Sequence[Fenced] = (), ended: Sequence[SessionInfo] = ()) -> Effects:
        """Return what the step that ends here brought about."""
        lost, self.lost = tuple(oldest_first(self.lost)), []
        wait, self.wait = self.wait, None
        dropped, self.dropped = self.dropped, 0
        changes = tuple(self.unannounced.values())
        return Effects(changes, lost, tuple(fenced), tuple(oldest_first(ended)), wait, dropped)

    def presence(self, now: float, lease: float) -> UserPresence:
        """Return the presence of the user."""
        live = [_seen(one.info, one.end - lease) for one in self.leases.values() if one.end > now]
        if live:
            newest = max(info.seen_at or 0.0 for info in live)
            return UserPresence(
                self.name, PresenceState.CONNECTED, tuple(oldest_first(live)), newest
            )
        ends = [one.end - lease for one in self.leases.values()]
        known = [at for at in (self.last_seen, *ends) if at is not None]
        in_grace = self.state == GRACE and self.grace_end > now
        state = PresenceState.IN_GRACE if in_grace else PresenceState.OFFLINE
        return UserPresence(self.name, state, (), max(known, default=None))

    # --- leases

    def purge(self, now: float, lease: float) -> None:
        """Take out the leases that have run out."""
        for one in [one for one in self.leases.values() if one.end <= now]:
            self.lost.append(one.info)
            self.forget(one.info)
            self._note_seen(one.end - lease)

    def rival(self, info: SessionInfo) -> SessionInfo | None:
        """Return the other live session of the same client id, if there is one."""
        other = self.clients.get(info.client_id)
        if other is None or other == info.id or other not in self.leases:
            return None
        return self.leases[other].info

    def write(self, info: SessionInfo, end: float) -> None:
        """Begin or extend a lease."""
        self.leases[info.id] = Lease(info, end)
        self.lost = [lost for lost in self.lost if lost.id != info.id]
        self.clients[info.client_id] = info.id

    def forget(self, info: SessionInfo) -> None:
        """End a lease; nothing where there is none."""
        self.leases.pop(info.id, None)
        if self.clients.get(info.client_id) == info.id:
            del self.clients[info.client_id]

    # --- the state

    def arrived(self, now: float, by: str, *, adopted: bool) -> None:
        """Somebody is there. `adopted`: they were before, and only this store did not know."""
        self.erased = False
        if self.kind is Kind.WORKER or self.state == ONLINE:
            return
        if self.state == GRACE:
            self.state = ONLINE
        elif self.state is not None or not adopted:
            self._change(now, ONLINE, by)
        else:
            self.state, self.generation = ONLINE, int(now * 1000)

    def left(self, now: float, grace: float) -> None:
        """Perhaps nobody is there any more: then the grace begins, or goes on."""
        if self.kind is Kind.WORKER or self.leases:
            return
        if self.state == ONLINE:
            self.state, self.grace_end = GRACE, now + grace
            self._note_seen(now)
        if self.state == GRACE:
            self.wait = max(0.0, self.grace_end - now)

    def settle(self, now: float, by: str, warm: float, dead: str) -> None:
        """Decide whether the user is offline; arguments as of `Presence.settle`."""
        left = [one.end for one in self.leases.values() if one.info.node == dead]
        if left:
            self.wait = max(left) - now
        if not self.leases and self.state in (ONLINE, GRACE):
            due = self.grace_end - now if self.state == GRACE else 0.0
            due = max(due, warm)
            if due > 0:
                self.wait = due
            else:
                self._change(now, OFFLINE, by)

    def _change(self, now: float, state: str, by: str) -> None:
        last = max(int(now * 1000), self.generation or 0)
        self.state, self.generation = state, last + 1
        if by:
            change = PresenceChange(self.name, state == ONLINE, last + 1, now)
            self.unannounced[change.generation] = change
            if len(self.unannounced) > MAX_UNANNOUNCED:
                del self.unannounced[next(iter(self.unannounced))]
                self.dropped += 1

    def _note_seen(self, at: float) -> None:
        if self.kind is Kind.CLIENT and not self.erased:
            self.last_seen = max(at, self.last_seen or at)


def _seen(info: SessionInfo, at: float) -> SessionInfo:
    return replace(info, seen_at=max(at, info.connected_at))


def oldest_first(infos: Iterable[SessionInfo]) -> list[SessionInfo]:
    """In the order in which they connected."""
    return sorted(infos, key=lambda info: (info.connected_at, info.id))
