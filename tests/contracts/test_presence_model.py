"""Any history of a few sessions against a model with a moved clock, on each presence backend."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sockets.exceptions import Blocked, Revoked, SessionLimit, TryAgainLater
from sockets.presence.base import Effects, Limit, Presence
from sockets.types import Kind, PresenceState, SessionInfo
from tests.contracts.test_presence import GRACE, LEASE, NODE, PRESENCES
from tests.support.doubles import NOON, MovedClock, info
from tests.support.scale import scaled

LIMIT = Limit(3, fresh=15.0)
USERS = ("a", "b")
users = st.sampled_from(USERS)
clients = st.sampled_from("CDEFG")


@dataclass
class User:
    """What one user's keys should say. `due`: until when the grace lasts, if it does."""

    leases: dict[str, float] = field(default_factory=dict)
    state: str = ""
    due: float = 0.0
    blocked: bool = False
    revoked: list[tuple[str, float]] = field(default_factory=list)  # what, before
    changes: int = 0
    told: int = 0


class History(RuleBasedStateMachine):
    make: Any

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovedClock()
        self.loop = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.store: Presence | None = None
        self.model = {user: User() for user in USERS}
        self.held: dict[str, SessionInfo] = {}  # what some node believes to be open
        self.past: dict[str, SessionInfo] = {}  # all there ever were
        self.ended: set[str] = set()
        self.lost: set[str] = set()  # leases that ran out, told or not
        self.told_lost: set[str] = set()

    @initialize()
    def begin(self) -> None:
        self.store = self.run(self.stack.enter_async_context(self.make(self.clock, LIMIT)))

    def run(self, call: Any) -> Any:
        return self.loop.run(call)

    @property
    def presence(self) -> Presence:
        assert self.store is not None
        return self.store

    # --- the model

    def purge(self, user: User) -> None:
        for id in [id for id, end in user.leases.items() if end <= self.clock()]:
            del user.leases[id]
            self.lost.add(id)

    def rival(self, user: User, one: SessionInfo) -> str | None:
        same = (
            id for id in user.leases if id != one.id and self.past[id].client_id == one.client_id
        )
        return next(same, None)

    def arrive(self, user: User) -> None:
        if user.state in ("", "offline"):
            user.changes += 1
        user.state = "online"

    def left(self, user: User) -> None:
        if not user.leases and user.state == "online":
            user.state, user.due = "grace", self.clock() + GRACE

    def heard(self, effects: Effects) -> None:
        """Everything that is told is announced at once; nothing twice."""
        for change in effects.changes:
            user = self.model[change.user]
            user.told += 1
            assert change.online is (user.told % 2 == 1), "in turns"
        self.run(self.presence.announced(effects.changes))
        for one in effects.lost:
            assert one.id in self.lost and one.id not in self.told_lost
            self.told_lost.add(one.id)

    # --- what happens

    def revoked(self, one: SessionInfo) -> bool:
        assert one.issued_at is not None
        return any(
            what in ("user", f"sid:{one.sid}") and one.issued_at < before
            for what, before in self.model[one.user].revoked
        )

    @rule(name=users, client=clients, sid=st.sampled_from("xy"))
    def open(self, name: str, client: str, sid: str) -> None:
        user = self.model[name]
        at = NOON + len(self.past)
        # Fractions: of whole seconds the test beside this one tells.
        one = info(name, client_id=client, connected_at=at, sid=sid, issued_at=self.clock() + 0.25)
        self.past[one.id] = one
        self.purge(user)
        rival = self.rival(user, one)
        done = self.run(self.presence.register(one, NODE))
        self.heard(done.effects)
        if user.blocked:
            assert isinstance(done.refused, Blocked)
        elif self.revoked(one):
            assert isinstance(done.refused, Revoked)
        elif len(user.leases) - (rival is not None) >= LIMIT.count:
            stale = min(user.leases.values()) - self.clock() < LIMIT.fresh
            assert isinstance(done.refused, TryAgainLater if stale else SessionLimit)
        else:
            assert done.refused is None
            assert [old.id for old in done.replaced] == ([rival] if rival else [])
            if rival:
                del user.leases[rival]
                self.ended.add(rival)
            user.leases[one.id] = self.clock() + LEASE
            self.held[one.id] = one
            self.arrive(user)

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        if not self.held:
            return
        some = data.draw(st.lists(st.sampled_from(sorted(self.held)), unique=True, min_size=1))
        for user in {self.held[id].user for id in some}:
            self.purge(self.model[user])
        fenced = {id for id in some if not self.renewed(self.held[id])}
        effects = self.run(self.presence.renew([self.held[id] for id in some], NODE))
        assert {one.session for one in effects.fenced} == fenced
        assert not {one.id for one in effects.lost} & (set(some) - fenced), "they are back"
        self.heard(effects)
        for id in fenced:
            del self.held[id]

    def renewed(self, one: SessionInfo) -> bool:
        user = self.model[one.user]
        if one.id not in user.leases:
            full = len(user.leases) >= LIMIT.count
            if one.id in self.ended or self.rival(user, one) or user.blocked or full:
                return False
        if self.revoked(one):
            return False
        user.leases[one.id] = self.clock() + LEASE
        self.lost.discard(one.id)
        self.told_lost.discard(one.id)
        self.arrive(user)
        return True

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        if not self.held:
            return
        one = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        user = self.model[one.user]
        self.purge(user)
        user.leases.pop(one.id, None)
        self.left(user)
        effects = self.run(self.presence.release(one, NODE))
        assert (effects.wait is not None) is (user.state == "grace")
        self.heard(effects)

    @rule(name=users, client=st.none() | clients, spared=clients)
    def end(self, name: str, client: str | None, spared: str) -> None:
        user = self.model[name]
        self.purge(user)
        out = {
            id
            for id in user.leases
            if client in (None, self.past[id].client_id) and self.past[id].client_id != spared
        }
        effects = self.run(self.presence.end(name, 4504, "because", client=client, keep=[spared]))
        assert {one.id for one in effects.ended} == out
        self.ended |= out
        for id in out:
            del user.leases[id]
        self.left(user)
        self.heard(effects)

    @rule(name=users)
    def block(self, name: str) -> None:
        user = self.model[name]
        if user.blocked:
            assert self.run(self.presence.unblock(name))
        else:
            self.run(self.presence.block(name, None))
        user.blocked = not user.blocked

    @rule(name=users, what=st.sampled_from(["user", "sid:x"]), ago=st.sampled_from([None, 10.0]))
    def revoke(self, name: str, what: str, ago: float | None) -> None:
        user = self.model[name]
        self.purge(user)
        before = self.clock() - (ago or 0.0) + 0.5
        user.revoked.append((what, before))
        concerned = {id for id in user.leases if what in ("user", f"sid:{self.past[id].sid}")}
        out = {id for id in concerned if self.revoked(self.past[id])}
        effects = self.run(self.presence.revoke(name, what, before))
        assert {one.id for one in effects.ended} == out
        self.ended |= out
        for id in out:
            del user.leases[id]
        self.left(user)
        self.heard(effects)

    @rule(seconds=st.sampled_from([1.0, 9.0, 14.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(warm=st.sampled_from([0.0, 0.0, 5.0]))
    def settle(self, warm: float) -> None:
        for user in self.model.values():
            self.purge(user)
            over = user.state == "online" or (user.state == "grace" and user.due <= self.clock())
            if not user.leases and over and not warm:
                user.state = "offline"
                user.changes += 1
        for effects in self.run(self.presence.settle(USERS, NODE, warm=warm)).values():
            self.heard(effects)

    # --- what must be so

    @invariant()
    def all_is_told(self) -> None:
        for user in self.model.values():
            assert user.told == user.changes

    @invariant()
    def who_is_there(self) -> None:
        if self.store is None:
            return
        now = self.clock()
        for name, user in self.model.items():
            live = {id for id, end in user.leases.items() if end > now}
            found = self.run(self.presence.look(name))
            assert {one.id for one in found.sessions} == live
            assert len(live) <= LIMIT.count
            if live:
                assert found.state is PresenceState.CONNECTED
            elif user.state == "grace" and user.due > now:
                assert found.state is PresenceState.IN_GRACE
            else:
                assert found.state is PresenceState.OFFLINE
            held = [one.client_id for one in found.sessions]
            assert len(held) == len(set(held)), "one session per client id"
            assert found == self.run(self.presence.look_at([name])).users[name]
            assert self.run(self.presence.look(name, Kind.WORKER)).sessions == ()

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()


for _name, _make in PRESENCES.items():
    _made: Any = type(f"History_{_name}", (History,), {"make": staticmethod(_make)})
    _case = _made.TestCase
    _case.settings = settings(max_examples=scaled(60, 25), stateful_step_count=40)
    globals()[f"Test{_name.title()}History"] = _case
    del _made, _case
