"""What every presence backend does, case by case and against a model.

`PRESENCES` has an entry for each backend: a context manager that yields an empty one whose clock
the test moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sockets.ids import new_id
from sockets.presence.base import Presence
from sockets.presence.memory import MemoryPresence
from sockets.presence.redis import RedisPresence
from sockets.redis import Keys, connect
from sockets.types import Kind, SessionInfo
from tests.unit.doubles import NOON, MovedClock, info
from tests.valkey import shared

LEASE = 30.0


@asynccontextmanager
async def memory(clock: MovedClock) -> AsyncIterator[MemoryPresence]:
    yield MemoryPresence(lease=LEASE, clock=clock)


@asynccontextmanager
async def redis(clock: MovedClock) -> AsyncIterator[RedisPresence]:
    client = connect(shared().url)
    try:
        yield RedisPresence(client, Keys(f"t{new_id()}"), lease=LEASE, clock=clock)
    finally:
        await client.aclose()


Make = Callable[[MovedClock], AbstractAsyncContextManager[Presence]]
PRESENCES: dict[str, Make] = {"memory": memory, "redis": redis}


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=PRESENCES.values(), ids=PRESENCES)
async def presence(request: pytest.FixtureRequest, clock: MovedClock) -> AsyncIterator[Presence]:
    make: Make = request.param
    async with make(clock) as made:
        yield made


async def ids(presence: Presence, user: str = "42") -> list[str]:
    return [one.id for one in await presence.sessions_of(user)]


class CountedId(str):
    """A client id that counts how often it is compared."""

    compared = 0
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedId.compared += 1
        return str.__eq__(self, other)


async def test_a_user_with_many_sessions_costs_each_no_more(clock: MovedClock) -> None:
    """One user may open thousands of sockets: their renewal must not grow with the square."""
    presence = MemoryPresence(lease=LEASE, clock=clock)
    many = [info(client_id=CountedId(new_id())) for _ in range(300)]
    CountedId.compared = 0
    for one in many:
        assert await presence.register(one) == ()
    assert await presence.renew(many) == []
    assert CountedId.compared < 10 * len(many)


async def test_nobody_is_online_at_first(presence: Presence) -> None:
    assert await presence.is_online("42") is False
    assert await presence.sessions_of("42") == []


async def test_a_session_is_present_as_it_was_registered(presence: Presence) -> None:
    one = info(address="192.0.2.1:5", agent="Firefox 한", connected_at=NOON + 0.25)
    assert await presence.register(one) == ()
    assert await presence.sessions_of("42") == [one]
    assert await presence.is_online("42") is True
    assert await presence.is_online("4") is False


async def test_sessions_are_told_oldest_first(presence: Presence) -> None:
    new, old, middle = (info(connected_at=NOON + at) for at in (3, 1, 2))
    for one in (new, old, middle):
        await presence.register(one)
    assert await ids(presence) == [old.id, middle.id, new.id]


async def test_the_same_client_replaces(presence: Presence) -> None:
    old, new = info(client_id="C"), info(client_id="C")
    other_client, other_user = info(client_id="D"), info("7", client_id="C")
    for one in (old, other_client, other_user):
        assert await presence.register(one) == ()
    assert await presence.register(new) == (old,)
    assert set(await ids(presence)) == {other_client.id, new.id}
    assert await ids(presence, "7") == [other_user.id]


async def test_registering_again_replaces_nobody(presence: Presence) -> None:
    one = info()
    await presence.register(one)
    assert await presence.register(one) == ()
    assert await ids(presence) == [one.id]


async def test_of_two_at_once_exactly_one_replaces_the_other(presence: Presence) -> None:
    one, two = info(client_id="C"), info(client_id="C")
    replaced = await asyncio.gather(presence.register(one), presence.register(two))
    assert sorted(len(who) for who in replaced) == [0, 1]
    (loser,) = [who for many in replaced for who in many]
    assert await ids(presence) == [({one.id, two.id} - {loser.id}).pop()]


async def test_a_lease_runs_out(presence: Presence, clock: MovedClock) -> None:
    await presence.register(info())
    clock.advance(LEASE - 0.5)
    assert await presence.is_online("42")
    clock.advance(1)
    assert not await presence.is_online("42")
    assert await presence.sessions_of("42") == []
    assert await presence.online(["42"]) == {"42": False}


async def test_a_lease_that_ran_out_is_replaced_silently(
    presence: Presence, clock: MovedClock
) -> None:
    await presence.register(info(client_id="C"))
    clock.advance(LEASE + 1)
    assert await presence.register(info(client_id="C")) == ()


async def test_renewal_keeps(presence: Presence, clock: MovedClock) -> None:
    one, two = info(), info("7")
    for session in (one, two):
        await presence.register(session)
    for _ in range(5):
        clock.advance(LEASE - 1)
        assert await presence.renew([one]) == []
    assert await presence.is_online("42") and not await presence.is_online("7")
    assert await presence.renew([]) == []


async def test_a_lease_that_ran_out_begins_anew(presence: Presence, clock: MovedClock) -> None:
    one = info()
    await presence.register(one)
    clock.advance(10 * LEASE)
    assert await presence.renew([one]) == []
    assert await ids(presence) == [one.id]


async def test_what_was_replaced_is_fenced(presence: Presence, clock: MovedClock) -> None:
    old, new, other = info(client_id="C"), info(client_id="C"), info(client_id="D")
    for one in (old, new, other):
        await presence.register(one)
    assert await presence.renew([old, other]) == [old.id]
    assert await presence.renew([other, new, old]) == [old.id]
    assert set(await ids(presence)) == {new.id, other.id}


async def test_a_frozen_process_does_not_get_a_client_back(
    presence: Presence, clock: MovedClock
) -> None:
    frozen, new = info(client_id="C", node="frozen"), info(client_id="C", node="other")
    await presence.register(frozen)
    clock.advance(LEASE + 1)
    await presence.register(new)
    assert await presence.renew([frozen]) == [frozen.id]
    assert await ids(presence) == [new.id]


async def test_release_ends_a_lease_and_no_other(presence: Presence) -> None:
    old, new, other = info(client_id="C"), info(client_id="C"), info()
    for one in (old, new, other):
        await presence.register(one)
    for gone in (old, other, other, info("nobody")):
        await presence.release(gone)
    assert await ids(presence) == [new.id]
    await presence.release(new)
    assert not await presence.is_online("42")


async def test_workers_are_not_users(presence: Presence, clock: MovedClock) -> None:
    worker, again = (info(kind=Kind.WORKER, client_id="W") for _ in range(2))
    client = info(client_id="W")
    await presence.register(worker)
    assert not await presence.is_online("42") and await presence.sessions_of("42") == []
    assert await presence.register(client) == ()
    assert await presence.register(again) == (worker,), "the same worker id replaces"
    assert await presence.renew([client, again, worker]) == [worker.id]
    assert await ids(presence) == [client.id]


async def test_online_is_is_online_for_many(presence: Presence) -> None:
    await presence.register(info("한/국"))
    assert await presence.online(["a", "한/국", "b"]) == {"a": False, "한/국": True, "b": False}
    assert await presence.online([]) == {}


async def test_many_who_came_and_went_leave_nothing(presence: Presence, clock: MovedClock) -> None:
    for n in range(50):
        one = info(f"u{n}")
        await presence.register(one)
        await presence.release(one)
    if isinstance(presence, MemoryPresence):
        assert not presence._leases


# --- any history, against a model: session id -> (info, end of its lease)

SESSIONS = [
    info(user, client_id=client, kind=kind, id=f"{user}{client}{kind[0]}{n}", connected_at=NOON + n)
    for user in ("a", "b")
    for client in ("C", "D")
    for kind in Kind
    for n in range(2)
]
sessions = st.sampled_from(SESSIONS)


class Leases(RuleBasedStateMachine):
    make: Any

    def __init__(self) -> None:
        super().__init__()
        self.clock = MovedClock()
        self.loop = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.presence: Presence | None = None
        self.model: dict[str, tuple[SessionInfo, float]] = {}

    @initialize()
    def begin(self) -> None:
        self.presence = self.run(self.stack.enter_async_context(self.make(self.clock)))

    def run(self, call: Any) -> Any:
        return self.loop.run(call)

    def rivals(self, one: SessionInfo) -> list[SessionInfo]:
        return [
            other
            for other, end in self.model.values()
            if end > self.clock()
            and other.id != one.id
            and (other.kind, other.user, other.client_id) == (one.kind, one.user, one.client_id)
        ]

    def lease(self, one: SessionInfo) -> None:
        self.model[one.id] = (one, self.clock() + LEASE)

    @rule(one=sessions)
    def register(self, one: SessionInfo) -> None:
        assert self.presence is not None
        rivals = self.rivals(one)
        for rival in rivals:
            del self.model[rival.id]
        self.lease(one)
        assert list(self.run(self.presence.register(one))) == rivals

    @rule(many=st.lists(sessions, unique_by=lambda one: one.id))
    def renew(self, many: list[SessionInfo]) -> None:
        assert self.presence is not None
        fenced = []
        for one in many:
            if self.rivals(one):
                fenced.append(one.id)
            else:
                self.lease(one)
        assert sorted(self.run(self.presence.renew(many))) == sorted(fenced)

    @rule(one=sessions)
    def release(self, one: SessionInfo) -> None:
        assert self.presence is not None
        self.model.pop(one.id, None)
        self.run(self.presence.release(one))

    @rule(seconds=st.sampled_from([1.0, 14.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def who_is_there(self) -> None:
        if self.presence is None:
            return
        for user in ("a", "b"):
            live = [
                one
                for one, end in self.model.values()
                if end > self.clock() and one.user == user and one.kind is Kind.CLIENT
            ]
            found = self.run(self.presence.sessions_of(user))
            assert found == sorted(live, key=lambda one: (one.connected_at, one.id))
            assert self.run(self.presence.is_online(user)) is bool(live)
            clients = [one.client_id for one in found]
            assert len(clients) == len(set(clients)), "one session per client id"

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()


for _name, _make in PRESENCES.items():
    _case = type(f"Leases_{_name}", (Leases,), {"make": staticmethod(_make)}).TestCase
    _case.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
    globals()[f"Test{_name.title()}Leases"] = _case
    del _case
