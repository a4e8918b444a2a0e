"""What every presence backend does, case by case; test_presence_model.py does it at random.

`PRESENCES` has an entry for each backend: a context manager that yields an empty one whose clock
the test moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import count
from math import inf
from typing import Any, Protocol

import pytest

from sockets.base.ids import new_id
from sockets.exceptions import Blocked, SessionLimit, TryAgainLater
from sockets.presence.base import (
    MAX_UNANNOUNCED,
    OVER_LIMIT,
    REPLACED,
    Effects,
    Erased,
    Fenced,
    Limit,
    Presence,
)
from sockets.presence.memory import MemoryPresence
from sockets.presence.redis import RedisPresence
from sockets.presence.revocation import MAX_REVOKED, REVOKED_TTL, USER, login, token
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys, connect
from sockets.types import Kind, PresenceChange, PresenceState, SessionInfo
from tests.support.doubles import NOON, MovedClock, info, no_warmup
from tests.support.valkey import shared

LEASE = 30.0
GRACE = 10.0
NODE = "a:1"
ANY = Limit()


@asynccontextmanager
async def memory(clock: MovedClock, limit: Limit = ANY) -> AsyncIterator[MemoryPresence]:
    yield MemoryPresence(lease=LEASE, grace=GRACE, limit=limit, clock=clock)


@asynccontextmanager
async def redis(clock: MovedClock, limit: Limit = ANY) -> AsyncIterator[RedisPresence]:
    client = connect(shared().url)
    keys = Keys(f"t{new_id()}")
    calls = PresenceCalls(keys, lease=LEASE, grace=GRACE, limit=limit, clock=clock)
    try:
        # Each call takes long: what the tests let pass in no time passed while it was on its way.
        yield RedisPresence(client, calls, warm=no_warmup, steady=count(0, LEASE).__next__)
    finally:
        await client.aclose()


class Make(Protocol):
    def __call__(
        self, clock: MovedClock, limit: Limit = ...
    ) -> AbstractAsyncContextManager[Presence]: ...


PRESENCES: dict[str, Make] = {"memory": memory, "redis": redis}


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=list(PRESENCES.values()), ids=list(PRESENCES))
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture
async def presence(make: Make, clock: MovedClock) -> AsyncIterator[Presence]:
    async with make(clock) as made:
        yield made


async def register(presence: Presence, one: SessionInfo) -> tuple[SessionInfo, ...]:
    """Let in; returns whom it replaced."""
    done = await presence.register(one, NODE)
    assert done.refused is None and done.evicted == ()
    return done.replaced


async def renew(presence: Presence, infos: list[SessionInfo]) -> list[str]:
    """The ids of those that must close."""
    return [one.session for one in (await presence.renew(infos, NODE)).fenced]


async def state(presence: Presence, user: str = "42") -> PresenceState:
    return (await presence.look(user)).state


def told(effects: Effects) -> list[bool]:
    """Online, offline, … as they were decided."""
    return [change.online for change in effects.changes]


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


async def test_until_when_a_user_is_blocked(presence: Presence, clock: MovedClock) -> None:
    assert await presence.blocked_until("42") is None
    until = await presence.now() + 3_600
    await presence.block("42", until)
    found = await presence.blocked_until("42")
    assert found is not None and abs(found - until) < 5
    await presence.block("42", None)
    assert await presence.blocked_until("42") == inf
    await presence.unblock("42")
    assert await presence.blocked_until("42") is None


async def test_a_user_with_many_sessions_costs_each_no_more(clock: MovedClock) -> None:
    """One user may open thousands of sockets: their renewal must not grow with the square."""
    presence = MemoryPresence(lease=LEASE, clock=clock)
    many = [info(client_id=CountedId(new_id())) for _ in range(300)]
    CountedId.compared = 0
    for one in many:
        assert await register(presence, one) == ()
    assert await renew(presence, many) == []
    assert CountedId.compared < 10 * len(many)


@pytest.mark.parametrize(("ahead", "wins"), [(0.2, "first"), (10.0, "first"), (10.5, "late")])
async def test_a_registration_that_was_long_on_its_way_replaces_nobody_newer(
    presence: Presence, ahead: float, wins: str
) -> None:
    """A client gives up, comes by another node, and only then its first registration arrives.
    From further ahead is a clock that is wrong, and no registration is on its way for so long."""
    client = new_id()
    first = info(client_id=client, connected_at=NOON + ahead)
    late = info(client_id=client, connected_at=NOON)
    assert await register(presence, first) == ()
    registered = await presence.register(late)
    if wins == "first":
        assert isinstance(registered.refused, TryAgainLater)
        assert registered.replaced == () and await ids(presence) == [first.id]
        assert (await presence.renew([first])).fenced == ()
    else:
        assert registered.replaced == (first,) and await ids(presence) == [late.id]


async def test_nobody_is_online_at_first(presence: Presence) -> None:
    assert await presence.is_online("42") is False
    assert await presence.sessions_of("42") == []


async def test_a_session_is_present_as_it_was_registered(presence: Presence) -> None:
    one = info(address="192.0.2.1:5", agent="Firefox 한", connected_at=NOON + 0.25)
    assert await register(presence, one) == ()
    assert await presence.sessions_of("42") == [one]
    assert await presence.is_online("42") is True
    assert await presence.is_online("4") is False


async def test_sessions_are_told_oldest_first(presence: Presence) -> None:
    new, old, middle = (info(connected_at=NOON + at) for at in (3, 1, 2))
    for one in (new, old, middle):
        await register(presence, one)
    assert await ids(presence) == [old.id, middle.id, new.id]


async def test_the_same_client_replaces(presence: Presence) -> None:
    old, new = info(client_id="C"), info(client_id="C")
    other_client, other_user = info(client_id="D"), info("7", client_id="C")
    for one in (old, other_client, other_user):
        assert await register(presence, one) == ()
    assert await register(presence, new) == (old,)
    assert set(await ids(presence)) == {other_client.id, new.id}
    assert await ids(presence, "7") == [other_user.id]


async def test_registering_again_replaces_nobody(presence: Presence) -> None:
    one = info()
    await register(presence, one)
    assert await register(presence, one) == ()
    assert await ids(presence) == [one.id]


async def test_of_two_at_once_exactly_one_replaces_the_other(presence: Presence) -> None:
    one, two = info(client_id="C"), info(client_id="C")
    replaced = await asyncio.gather(register(presence, one), register(presence, two))
    assert sorted(len(who) for who in replaced) == [0, 1]
    (loser,) = [who for many in replaced for who in many]
    assert await ids(presence) == [({one.id, two.id} - {loser.id}).pop()]


async def test_a_lease_runs_out(presence: Presence, clock: MovedClock) -> None:
    await register(presence, info())
    clock.advance(LEASE - 0.5)
    assert await presence.is_online("42")
    clock.advance(1)
    assert not await presence.is_online("42")
    assert await presence.sessions_of("42") == []
    assert (await presence.look("42")).sessions == ()


async def test_a_lease_that_ran_out_is_replaced_silently(
    presence: Presence, clock: MovedClock
) -> None:
    await register(presence, info(client_id="C"))
    clock.advance(LEASE + 1)
    assert await register(presence, info(client_id="C")) == ()


async def test_renewal_keeps(presence: Presence, clock: MovedClock) -> None:
    one, two = info(), info("7")
    for session in (one, two):
        await register(presence, session)
    for _ in range(5):
        clock.advance(LEASE - 1)
        assert await renew(presence, [one]) == []
    assert await presence.is_online("42") and not await presence.is_online("7")
    assert await renew(presence, []) == []


async def test_a_lease_that_ran_out_begins_anew(presence: Presence, clock: MovedClock) -> None:
    one = info()
    await register(presence, one)
    clock.advance(10 * LEASE)
    back = await presence.renew([one], NODE)
    assert back.fenced == () and back.lost == (), "it is back at once, and was never lost"
    assert await ids(presence) == [one.id]


async def test_what_was_replaced_is_fenced(presence: Presence, clock: MovedClock) -> None:
    old, new, other = info(client_id="C"), info(client_id="C"), info(client_id="D")
    for one in (old, new, other):
        await register(presence, one)
    assert await renew(presence, [old, other]) == [old.id]
    assert await renew(presence, [other, new, old]) == [old.id]
    assert set(await ids(presence)) == {new.id, other.id}


async def test_a_frozen_process_does_not_get_a_client_back(
    presence: Presence, clock: MovedClock
) -> None:
    frozen, new = info(client_id="C", node="frozen"), info(client_id="C", node="other")
    await register(presence, frozen)
    clock.advance(LEASE + 1)
    await register(presence, new)
    assert await renew(presence, [frozen]) == [frozen.id]
    assert await ids(presence) == [new.id]


async def test_release_ends_a_lease_and_no_other(presence: Presence) -> None:
    old, new, other = info(client_id="C"), info(client_id="C"), info()
    for one in (old, new, other):
        await register(presence, one)
    for gone in (old, other, other, info("nobody")):
        await presence.release(gone)
    assert await ids(presence) == [new.id]
    await presence.release(new)
    assert not await presence.is_online("42")


async def test_what_was_decided_in_the_name_of_a_former_life_is_brought_again(
    presence: Presence,
) -> None:
    """A process that was frozen goes on: what is done before it knows that it was taken for dead
    is done by a life that nobody sees to any more, and perhaps nobody waits for the answer."""
    one = info()
    await presence.register(one, "a:1")
    left = await presence.release(one, "a:2\na:1")
    assert told(left) == [True]
    await presence.announced(left.changes)
    assert (await presence.settle(["42"], "a:2\na:1"))["42"].changes == ()


async def test_what_was_asked_before_the_store_stood_still_decides_nothing(
    presence: Presence, clock: MovedClock
) -> None:
    one = info()
    await register(presence, one)
    asked = clock()
    clock.advance(LEASE + 1)
    late = (await presence.settle(["42"], NODE, until=asked + 1))["42"]
    assert late.changes == () and late.lost == () and late.wait == pytest.approx(LEASE)
    assert (await presence.renew([one], NODE)).fenced == ()
    assert await ids(presence) == [one.id]
    clock.advance(LEASE + 1)
    in_time = (await presence.settle(["42"], NODE, until=clock() + 1))["42"]
    assert told(in_time)[-1:] == [False] and in_time.lost == (one,)


async def test_workers_are_not_users(presence: Presence, clock: MovedClock) -> None:
    worker, again = (info(kind=Kind.WORKER, client_id="W") for _ in range(2))
    client = info(client_id="W")
    await register(presence, worker)
    assert not await presence.is_online("42") and await presence.sessions_of("42") == []
    assert await register(presence, client) == ()
    assert await register(presence, again) == (worker,), "the same worker id replaces"
    assert await renew(presence, [client, again, worker]) == [worker.id]
    assert await ids(presence) == [client.id]


async def test_many_users_in_one_answer(presence: Presence) -> None:
    await register(presence, one := info("한/국"))
    answer = await presence.look_at(["a", "한/국", "b", "a"])
    assert list(answer.users) == ["a", "한/국", "b"] and not answer.partial
    assert answer.users["한/국"].sessions == (one,) and answer.users["한/국"].online
    assert answer.users["a"].state is PresenceState.OFFLINE
    assert answer.users["a"].last_seen is None
    assert (await presence.look_at([])).users == {}


async def test_the_first_session_and_no_other_brings_a_user_online(presence: Presence) -> None:
    first = (await presence.register(info(), NODE)).effects
    assert told(first) == [True]
    await presence.announced(first.changes)
    assert told((await presence.register(info(), NODE)).effects) == []
    assert await state(presence) is PresenceState.CONNECTED


async def test_when_the_last_has_left_the_grace_begins(
    presence: Presence, clock: MovedClock
) -> None:
    one, two = info(), info()
    for session in (one, two):
        online = (await presence.register(session, NODE)).effects.changes
    await presence.announced(online)
    left = clock()
    assert (await presence.release(one, NODE)).wait is None
    assert (await presence.release(two, NODE)).wait == GRACE
    assert await state(presence) is PresenceState.IN_GRACE
    clock.advance(GRACE - 1)
    settled = (await presence.settle(["42"], NODE))["42"]
    assert told(settled) == [] and settled.wait == pytest.approx(1, abs=0.01)
    clock.advance(1.1)
    assert await state(presence) is PresenceState.OFFLINE, "whoever asks does not wait for it"
    settled = (await presence.settle(["42"], NODE))["42"]
    assert told(settled) == [False] and settled.wait is None
    assert settled.changes[0].generation > online[0].generation
    assert settled.changes[0].id == f"42:{settled.changes[0].generation}"
    assert (await presence.look("42")).last_seen == pytest.approx(left, abs=0.01)
    await presence.announced(settled.changes)
    assert told((await presence.settle(["42"], NODE))["42"]) == [], "decided once"


async def test_a_return_in_time_is_no_event(presence: Presence, clock: MovedClock) -> None:
    one = info()
    await presence.announced((await presence.register(one, NODE)).effects.changes)
    await presence.release(one, NODE)
    clock.advance(GRACE / 2)
    assert told((await presence.register(info(), NODE)).effects) == []
    clock.advance(GRACE)
    settled = (await presence.settle(["42"], NODE))["42"]
    assert told(settled) == [] and settled.wait is None


async def test_a_change_is_told_until_it_was_said_and_to_nobody_else(
    presence: Presence, make: Make
) -> None:
    one = info()
    (change,) = (await presence.register(one, NODE)).effects.changes
    assert (await presence.register(one, NODE)).effects.changes == (change,), "the answer was lost"
    assert (await presence.renew([one], NODE)).changes == (change,)
    if make is redis:
        assert (await presence.renew([one], "b:2")).changes == ()
        assert (await presence.settle(["42"], "b:2"))["42"].changes == ()
        assert (await presence.settle(["42"], NODE))["42"].changes == (change,), "node a died"
    await presence.announced([change])
    assert (await presence.renew([one], NODE)).changes == ()


async def test_changes_that_nobody_announces_do_not_pile_up(
    presence: Presence, clock: MovedClock
) -> None:
    """The API server is away for a day, and a user comes and goes."""
    dropped = 0
    for _ in range(20):
        came = (await presence.register(one := info(), NODE)).effects
        await presence.release(one, NODE)
        clock.advance(GRACE + 1)
        went = (await presence.settle(["42"], NODE))["42"]
        dropped += came.dropped + went.dropped
    assert dropped == 2 * 20 - MAX_UNANNOUNCED
    assert len(went.changes) == MAX_UNANNOUNCED and told(went)[-2:] == [True, False]
    assert [c.generation for c in went.changes] == sorted(c.generation for c in went.changes)


async def test_where_nobody_listens_nothing_is_kept(presence: Presence, clock: MovedClock) -> None:
    one = info()
    assert (await presence.register(one)).effects.changes == ()
    await presence.release(one)
    clock.advance(GRACE + 1)
    assert (await presence.settle(["42"]))["42"].changes == ()
    assert (await presence.register(info(), NODE)).effects.changes[0].online


async def test_a_lease_that_ran_out_gets_no_further_grace(
    presence: Presence, clock: MovedClock
) -> None:
    one, two = info(), info("42")
    for session in (one, two):
        await presence.announced((await presence.register(session, NODE)).effects.changes)
    clock.advance(5)
    await presence.renew([two], NODE)
    seen = clock()
    clock.advance(LEASE + 1)
    assert await state(presence) is PresenceState.OFFLINE
    assert (await presence.look("42")).last_seen in (None, pytest.approx(seen, abs=0.01))
    settled = (await presence.settle(["42"], NODE))["42"]
    assert told(settled) == [False] and {lost.id for lost in settled.lost} == {one.id, two.id}
    assert (await presence.look("42")).last_seen == pytest.approx(seen, abs=0.01)


async def test_what_was_lost_is_told_once_whoever_finds_it(
    presence: Presence, clock: MovedClock
) -> None:
    dead = info(agent="Firefox", address="1.2.3.4:5")
    await presence.register(dead, NODE)
    clock.advance(LEASE + 1)
    assert (await presence.register(info(), NODE)).effects.lost == (dead,)
    assert (await presence.settle(["42"], NODE))["42"].lost == ()


async def test_a_dead_node_is_no_event_for_whoever_came_back(
    presence: Presence, clock: MovedClock
) -> None:
    await presence.announced((await presence.register(info(), NODE)).effects.changes)
    clock.advance(LEASE + 1)
    assert told((await presence.register(info(), NODE)).effects) == []
    assert told((await presence.settle(["42"], NODE))["42"]) == []


async def test_leases_that_a_dead_node_left_are_waited_for(
    presence: Presence, clock: MovedClock
) -> None:
    """It may have registered a session a moment before: its own lease ends sooner."""
    await presence.announced((await presence.register(info(node="x"), NODE)).effects.changes)
    clock.advance(10)
    for node in ("x", "elsewhere"):
        await presence.register(info(node=node), NODE)
    clock.advance(5)
    settled = (await presence.settle(["42"], NODE, dead="x"))["42"]
    assert settled.changes == () and settled.wait == pytest.approx(LEASE - 5, abs=0.01)
    assert (await presence.settle(["42"], NODE, dead="y"))["42"].wait is None
    assert (await presence.settle(["42"], NODE))["42"].wait is None


async def test_in_a_warm_up_nobody_is_declared_offline(
    presence: Presence, clock: MovedClock
) -> None:
    one = info()
    await presence.announced((await presence.register(one, NODE)).effects.changes)
    clock.advance(10 * LEASE)
    settled = (await presence.settle(["42"], NODE, warm=20.0))["42"]
    assert told(settled) == [] and settled.wait == pytest.approx(20.0)
    assert await renew(presence, [one]) == []
    assert told((await presence.settle(["42"], NODE))["42"]) == []


async def test_a_frozen_node_brings_a_user_back_online(
    presence: Presence, clock: MovedClock
) -> None:
    one = info()
    await presence.announced((await presence.register(one, NODE)).effects.changes)
    clock.advance(LEASE + 1)
    (gone,) = (await presence.settle(["42"], NODE))["42"].changes
    await presence.announced([gone])
    back = await presence.renew([one], NODE)
    assert back.fenced == () and told(back) == [True]
    assert back.changes[0].generation > gone.generation


async def test_a_store_that_forgot_makes_no_event(presence: Presence) -> None:
    """Whoever renews was there before."""
    assert (await presence.renew([info("new")], NODE)).changes == ()
    assert await state(presence, "new") is PresenceState.CONNECTED


async def test_generations_go_on_after_a_store_that_forgot(
    presence: Presence, clock: MovedClock
) -> None:
    (before,) = (await presence.register(info("x"), NODE)).effects.changes
    clock.advance(1)
    (after,) = (await presence.register(info("y"), NODE)).effects.changes
    assert after.generation > before.generation, "they begin with the time"


async def test_the_limit_refuses(make: Make, clock: MovedClock) -> None:
    async with make(clock, Limit(2, fresh=15.0)) as presence:
        one, two = info(client_id="C"), info()
        for session in (one, two):
            await register(presence, session)
        refused = await presence.register(info(), NODE)
        assert isinstance(refused.refused, SessionLimit)
        assert len(await ids(presence)) == 2
        again = info(client_id="C")
        assert await register(presence, again) == (one,), "a client that returns takes no more room"
        assert await renew(presence, [again, two]) == []
        await presence.release(two)
        await register(presence, info())
        for _ in range(3):
            await register(presence, info(kind=Kind.WORKER))


async def test_at_the_limit_the_dead_are_waited_for(make: Make, clock: MovedClock) -> None:
    async with make(clock, Limit(2, fresh=15.0)) as presence:
        dead, live = info(), info()
        for session in (dead, live):
            await register(presence, session)
        clock.advance(16)
        await renew(presence, [live])
        assert isinstance((await presence.register(info(), NODE)).refused, TryAgainLater)
        clock.advance(15)
        await register(presence, info())


async def test_the_limit_may_let_the_oldest_go(make: Make, clock: MovedClock) -> None:
    async with make(clock, Limit(2, oldest_goes=True)) as presence:
        many = [info(connected_at=NOON + n) for n in (3, 1, 2)]
        for session in many[:2]:
            await register(presence, session)
        done = await presence.register(many[2], NODE)
        assert done.refused is None and done.evicted == (many[1],)
        assert await ids(presence) == [many[2].id, many[0].id]
        assert (await presence.renew([many[1]], NODE)).fenced == (
            Fenced(many[1].id, 4505, OVER_LIMIT),
        )


async def test_fifty_at_once_do_not_pass_the_limit(make: Make, clock: MovedClock) -> None:
    async with make(clock, Limit(5)) as presence:
        done = await asyncio.gather(*(presence.register(info(), NODE) for _ in range(50)))
        assert sum(one.refused is None for one in done) == 5 == len(await ids(presence))


async def test_a_frozen_session_comes_back_only_if_there_is_room(
    make: Make, clock: MovedClock
) -> None:
    async with make(clock, Limit(1)) as presence:
        frozen, new = info(), info()
        await register(presence, frozen)
        clock.advance(LEASE + 1)
        await register(presence, new)
        assert await renew(presence, [frozen]) == [frozen.id]


async def test_a_blocked_user_is_kept_out(presence: Presence) -> None:
    await presence.block("42", None)
    assert isinstance((await presence.register(info(), NODE)).refused, Blocked)
    assert await renew(presence, [one := info()]) == [one.id]
    await register(presence, info("7"))
    await register(presence, info(kind=Kind.WORKER))
    assert await presence.unblock("42") and not await presence.unblock("42")
    await register(presence, info())


async def test_a_block_ends_at_its_moment(presence: Presence, clock: MovedClock) -> None:
    await presence.block("42", clock() + 60)
    assert await presence.now() == clock()
    assert isinstance((await presence.register(info(), NODE)).refused, Blocked)
    for moment in (clock(), clock() - 1, 0.0):
        await presence.block("42", moment)
        await register(presence, one := info())
        await presence.block("42", clock() + 1e9)
        assert isinstance((await presence.register(info(), NODE)).refused, Blocked)
        await presence.release(one)
    assert await presence.unblock("42")


async def test_nobody_was_seen_before_they_came(presence: Presence, clock: MovedClock) -> None:
    """A node whose clock is ahead, or a clock that was set back."""
    await register(presence, replace(info(), connected_at=clock() + 300))
    found = await presence.look("42")
    assert found.last_seen == found.sessions[0].seen_at == found.sessions[0].connected_at
    await register(presence, replace(info("7"), connected_at=clock() - 300))
    (one,) = await presence.sessions_of("7")
    assert one.connected_at == clock() - 300 and one.seen_at == pytest.approx(clock())


async def refusal(presence: Presence, **proof: Any) -> int:
    """The close code of a registration with this proof; 0: it was let in, and has left again."""
    one = info(**proof)
    done = await presence.register(one, NODE)
    await presence.release(one, NODE)
    return 0 if done.refused is None else int(done.refused.close_code)


async def test_what_was_proved_before_a_revocation_counts_no_more(
    presence: Presence, clock: MovedClock
) -> None:
    old, other = info(issued_at=NOON - 60), info("7", issued_at=NOON - 60)
    worker = info(kind=Kind.WORKER)
    for one in (old, other, worker):
        await register(presence, one)
    clock.advance(0.5)
    done = await presence.revoke("42", USER, None)
    assert [one.id for one in done.ended] == [old.id]
    assert done.wait == GRACE, "the user has left"
    (fenced,) = (await presence.renew([old, other, worker], NODE)).fenced
    assert (fenced.session, fenced.code) == (old.id, 4508)
    assert await refusal(presence, issued_at=NOON - 1) == 4508
    assert await refusal(presence, issued_at=NOON + 0.4) == 4508
    assert await refusal(presence, issued_at=NOON) == 4003, "before or after? a new one will tell"
    assert await refusal(presence, issued_at=NOON + 0.6) == 0
    assert await refusal(presence, issued_at=NOON + 1) == 0
    assert await refusal(presence) == 4508, "nobody knows how old it is"
    assert await refusal(presence, user="7", issued_at=NOON - 60) == 0


async def test_one_login_or_one_token_is_revoked(presence: Presence, clock: MovedClock) -> None:
    phone, laptop = info(sid="p", jti="1", issued_at=NOON), info(sid="l", jti="2", issued_at=NOON)
    for one in (phone, laptop):
        await register(presence, one)
    clock.advance(5)
    assert [one.id for one in (await presence.revoke("42", login("p"), None)).ended] == [phone.id]
    assert await refusal(presence, sid="p", issued_at=NOON) == 4508
    assert await refusal(presence, sid="p", issued_at=NOON + 6) == 0
    assert await refusal(presence, issued_at=NOON) == 0
    assert await refusal(presence, jti="p", issued_at=NOON) == 0, "a token is no login"
    assert await renew(presence, [laptop]) == []
    assert [one.id for one in (await presence.revoke("42", token("2"), None)).ended] == [laptop.id]
    assert (await presence.revoke("42", login("nobody"), None)).ended == ()


async def test_a_revocation_of_the_past_spares_the_newer(
    presence: Presence, clock: MovedClock
) -> None:
    old, new = info(issued_at=NOON), info(issued_at=NOON + 100)
    for one in (old, new):
        await register(presence, one)
    clock.advance(200)
    await renew(presence, [])
    for one in (old, new):
        await presence.renew([one], NODE)
    assert [one.id for one in (await presence.revoke("42", USER, NOON + 50)).ended] == [old.id]
    # A later one that reaches less far back changes nothing.
    assert (await presence.revoke("42", USER, NOON - 50)).ended == ()
    assert await refusal(presence, issued_at=NOON + 49) == 4508


async def test_a_proof_that_came_after_it_was_revoked_is_fenced(presence: Presence) -> None:
    """A `refresh` crosses the revocation of its token on the way."""
    one = info(jti="old", issued_at=NOON - 60)
    await register(presence, one)
    assert (await presence.revoke("42", token("new"), None)).ended == ()
    assert await renew(presence, [one]) == []
    refreshed = replace(one, jti="new", issued_at=NOON - 1)
    (fenced,) = (await presence.renew([refreshed], NODE)).fenced
    assert (fenced.session, fenced.code) == (one.id, 4508)


async def test_revocations_end_and_have_a_bound(presence: Presence, clock: MovedClock) -> None:
    await presence.revoke("42", login("first"), None)
    clock.advance(REVOKED_TTL)
    assert await refusal(presence, sid="first", issued_at=NOON - 1) == 0
    for n in range(MAX_REVOKED):
        await presence.revoke("42", login(str(n)), None)
    assert await refusal(presence, sid="x", issued_at=NOON) == 0
    assert await refusal(presence, sid="0", issued_at=NOON) == 4508
    await presence.revoke("42", login("one more"), None)
    assert await refusal(presence, sid="x", issued_at=NOON) == 4508, "rather all than one too few"


async def test_whoever_was_ended_stays_out(presence: Presence, clock: MovedClock) -> None:
    many = [info(client_id=c) for c in "ABCD"]
    for session in many:
        await register(presence, session)
    done = await presence.end("42", 4504, "go", client="A")
    assert done.ended == (many[0],) and done.wait is None
    assert (await presence.end("42", 4504, "go", session=many[1].id)).ended == (many[1],)
    assert (await presence.end("42", 4504, "go", session="none")).ended == ()
    done = await presence.end("42", 4511, "all but one, said she", keep=["D", "Z"])
    assert done.ended == (many[2],) and await ids(presence) == [many[3].id]
    done = await presence.end("42", 4512, "all", keep=[many[3].id])
    assert done.ended == ()
    await presence.release(many[0], NODE)  # the reason stays, whoever comes too late
    clock.advance(LEASE + 1)
    renewed = await presence.renew(many, NODE)
    assert sorted(renewed.fenced, key=lambda one: one.code) == [
        Fenced(many[0].id, 4504, "go"),
        Fenced(many[1].id, 4504, "go"),
        Fenced(many[2].id, 4511, "all but one, said she"),
    ]


async def test_whoever_was_ended_may_come_back_in_the_grace(
    presence: Presence, clock: MovedClock
) -> None:
    await presence.announced((await presence.register(one := info(), NODE)).effects.changes)
    assert (await presence.end("42", 4504, "go")).wait == GRACE
    assert await state(presence) is PresenceState.IN_GRACE
    assert (await presence.release(one, NODE)).wait == GRACE, "its node settles it"
    assert (await presence.end("nobody", 4504, "go")).ended == ()


async def test_a_replaced_one_stays_out_when_the_newer_has_left(presence: Presence) -> None:
    old, new = info(client_id="C"), info(client_id="C")
    for session in (old, new):
        await register(presence, session)
    await presence.release(new)
    assert (await presence.renew([old], NODE)).fenced == (Fenced(old.id, 4503, REPLACED),)


async def test_a_registration_behind_its_release_comes_too_late(presence: Presence) -> None:
    one = info()
    await presence.release(one, NODE)
    assert isinstance((await presence.register(one, NODE)).refused, TryAgainLater)
    assert not await presence.is_online("42")


async def test_seen_at_is_the_last_renewal(presence: Presence, clock: MovedClock) -> None:
    await register(presence, one := info())
    clock.advance(7)
    await renew(presence, [one])
    found = await presence.look("42")
    assert found.sessions[0].seen_at == pytest.approx(clock(), abs=0.01) == found.last_seen


async def test_workers_have_no_state(presence: Presence, clock: MovedClock) -> None:
    worker = info(kind=Kind.WORKER)
    assert (await presence.register(worker, NODE)).effects.changes == ()
    assert (await presence.look("42", Kind.WORKER)).sessions == (worker,)
    clock.advance(LEASE + 1)
    settled = (await presence.settle(["42"], NODE, kind=Kind.WORKER))["42"]
    assert settled.changes == () and settled.lost == (worker,)


def test_the_id_of_a_change_names_user_and_generation() -> None:
    assert PresenceChange("kim", True, 7, 1.0).id == "kim:7"


# --- erasure


async def test_who_is_erased_is_as_if_they_had_never_been(
    presence: Presence, clock: MovedClock
) -> None:
    await register(presence, one := info())
    await presence.release(one, NODE)
    clock.advance(GRACE)
    settled = (await presence.settle(["42"], NODE))["42"]
    await presence.announced(settled.changes)
    assert (await presence.look("42")).last_seen is not None
    assert await presence.erase("42") == Erased(True, blocked=False, revoked=False)
    assert await presence.erase("42") == Erased(False, blocked=False, revoked=False)
    assert (await presence.look("42")).last_seen is None
    done = await presence.register(info(), NODE)
    assert told(done.effects) == [True], "they come online as somebody new"


async def test_an_erasure_waits_for_what_has_to_be_announced(
    presence: Presence, clock: MovedClock
) -> None:
    await register(presence, one := info())
    await presence.announced((await presence.settle(["42"], NODE))["42"].changes)
    await presence.end("42", 4500, "")
    assert (await presence.erase("42")).state
    assert await state(presence) is PresenceState.IN_GRACE
    assert (await presence.release(one, NODE, online=True)).wait is not None
    clock.advance(GRACE)
    settled = (await presence.settle(["42"], NODE))["42"]
    assert told(settled) == [False]
    assert told((await presence.settle(["42"], NODE))["42"]) == [False], "until it is announced"
    await presence.announced(settled.changes)
    assert told((await presence.settle(["42"], NODE))["42"]) == []
    assert not (await presence.erase("42")).state
    assert (await presence.look("42")).last_seen is None


async def test_where_nobody_listens_an_erasure_ends_with_the_grace(
    presence: Presence, clock: MovedClock
) -> None:
    await presence.register(info())
    await presence.end("42", 4500, "")
    await presence.erase("42")
    clock.advance(GRACE)
    await presence.settle(["42"])
    assert not (await presence.erase("42")).state


async def test_who_came_back_meanwhile_is_connected(presence: Presence, clock: MovedClock) -> None:
    await register(presence, info())
    await presence.end("42", 4500, "")
    await register(presence, back := info())
    await presence.erase("42")
    assert await ids(presence) == [back.id]
    await presence.end("42", 4500, "")
    await presence.erase("42")
    await register(presence, again := info())
    await presence.release(again, NODE)
    clock.advance(GRACE)
    await presence.settle(["42"], NODE)
    assert (await presence.look("42")).last_seen is not None, "the erasure was of before"


async def test_blocks_and_revocations_outlast_an_erasure(presence: Presence) -> None:
    await presence.block("42", None)
    await presence.revoke("42", USER, None)
    assert await presence.erase("42") == Erased(False, blocked=True, revoked=True)
    refused = (await presence.register(info(), NODE)).refused
    assert isinstance(refused, Blocked)
    await presence.unblock("42")
    assert await refusal(presence, issued_at=NOON - 10) == 4508
