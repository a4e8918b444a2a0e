"""Presence at a node, and what it is responsible for; two nodes on one store where need be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sockets.base.ids import new_id
from sockets.cluster.registry_redis import NodeCalls, RedisNodes
from sockets.exceptions import GatewayUnavailable
from sockets.node.reaper import Reaper
from sockets.presence.base import Limit
from sockets.presence.redis import RedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys, close, connect
from sockets.sessions.handover import Handover
from sockets.sessions.tracker import PresenceTracker
from sockets.types import Kind, NodeInfo, PresenceChange, PresenceState, SessionInfo
from tests.support.doubles import MovedClock, begin_life, info, node_info, until
from tests.support.valkey import shared

LEASE, GRACE = 30.0, 10.0


class NotingEvents:
    """Stands for `Events`: notes what is announced, at once or, while it is `held`, never."""

    def __init__(self) -> None:
        self.announced: list[str] = []
        self.waiting: list[Any] = []
        self.held = False
        self.changes_wanted = True

    def changed(self, change: PresenceChange, done: Any) -> None:
        if self.held:
            self.waiting.append((change, done))
            return
        self.announced.append(f"{'+' if change.online else '-'}{change.user}")
        done(True)

    def closed(self, session: SessionInfo, code: int, reason: str) -> None:
        self.announced.append(f"{code} {session.user}")


class Cluster:
    """A store, and nodes on it; `clock` is everybody's."""

    def __init__(self, client: Any, clock: MovedClock) -> None:
        keys = Keys(f"t{new_id()}")
        self.clock = clock
        calls = PresenceCalls(keys, lease=LEASE, grace=GRACE, limit=Limit(), clock=clock)
        node_calls = NodeCalls(keys, lease=LEASE, warmup=LEASE + GRACE, clock=clock)
        self.nodes = RedisNodes(client, node_calls)
        self.presence = RedisPresence(client, calls, warm=self.nodes.warm)
        self.events: dict[str, NotingEvents] = {}

    async def node(self, name: str) -> PresenceTracker:
        self.events[name] = NotingEvents()
        made = PresenceTracker(
            presence=self.presence,
            nodes=self.nodes,
            events=self.events[name],  # type: ignore[arg-type]
            lease=LEASE,
            clock=self.clock,
        )
        await begin_life(self.nodes, node_info(name))
        await made.begin(f"{name}:1")
        made.beat_succeeded(0.0)
        return made

    async def beat(self, name: str, tracker: PresenceTracker) -> None:
        await begin_life(self.nodes, node_info(name))
        tracker.beat_succeeded(0.0)

    async def pass_time(self, seconds: float, **alive: PresenceTracker) -> None:
        """So long, while these nodes live."""
        while seconds > 0:
            self.clock.advance(step := min(seconds, LEASE / 3))
            seconds -= step
            for name, tracker in alive.items():
                await self.beat(name, tracker)

    async def users_of(self, name: str) -> set[str]:
        return set(await self.nodes.users_of(f"{name}:1", Kind.CLIENT, 100))

    def reaper(self, tracker: PresenceTracker, buried: Any = None) -> Reaper:
        return Reaper(
            nodes=self.nodes,
            tracker=tracker,
            handover=Handover(
                presence=self.presence,
                nodes=self.nodes,
                events=self.events[tracker.life.partition(":")[0]],  # type: ignore[arg-type]
                tracker=tracker,
            ),
            lease=LEASE,
            buried=buried or (lambda info, at: None),
        )


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    client = connect(shared().url)
    yield Cluster(client, MovedClock())
    await close(client)


async def test_a_visit_is_announced_when_it_begins_and_when_the_grace_is_over(
    cluster: Cluster,
) -> None:
    a = await cluster.node("a")
    one, two = info("42"), info("42")
    for session in (one, two):
        await a.arrive(session)
    assert a.users == 1 and await cluster.users_of("a") == {"42"}
    await a.leave(one)
    await a.leave(two)
    assert a.users == 0 and await cluster.users_of("a") == {"42"}, "it is not over yet"
    await cluster.pass_time(GRACE - 1, a=a)
    await a.tick()
    assert cluster.events["a"].announced == ["+42"]
    await cluster.pass_time(2, a=a)
    await a.tick()
    assert cluster.events["a"].announced == ["+42", "-42"]
    assert await cluster.users_of("a") == set()


async def test_a_return_elsewhere_within_the_grace_is_no_event(cluster: Cluster) -> None:
    a, b = await cluster.node("a"), await cluster.node("b")
    one = info("42")
    await a.arrive(one)
    await a.leave(one)
    await cluster.pass_time(GRACE / 2, a=a, b=b)
    await b.arrive(info("42"))
    await cluster.pass_time(GRACE, a=a, b=b)
    for each in (a, b, a):
        await each.tick()
    assert cluster.events["a"].announced == ["+42"] and cluster.events["b"].announced == []
    assert await cluster.users_of("a") == set() and await cluster.users_of("b") == {"42"}


async def test_nobody_arrives_at_a_node_that_is_not_registered(cluster: Cluster) -> None:
    a = await cluster.node("a")
    a.taken_for_dead()
    with pytest.raises(GatewayUnavailable, match="not registered"):
        await a.arrive(one := info("42"))
    await a.leave(one)
    assert not await cluster.presence.is_online("42")


async def test_what_a_dead_node_left_is_settled_and_announced_once(cluster: Cluster) -> None:
    """kill -9: one user is gone, one is elsewhere too, one left a moment before."""
    a, b, c = [await cluster.node(name) for name in "abc"]
    for user in ("gone", "also at b", "left"):
        await a.arrive(session := info(user))
    await b.arrive(at_b := info("also at b"))
    await a.leave(session)
    await a.tick()
    worker = info("key", kind=Kind.WORKER)
    await a.arrive(worker)
    await cluster.pass_time(15, b=b, c=c)
    await b.renew([at_b])
    await cluster.pass_time(LEASE - 14, b=b, c=c)
    buried: list[str] = []
    reapers = [cluster.reaper(each, lambda info, at: buried.append(info.name)) for each in (b, c)]
    await asyncio.gather(*(reaper.reap() for reaper in reapers))
    announced = cluster.events["b"].announced + cluster.events["c"].announced
    assert sorted(announced) == ["-gone", "-left", "4099 also at b", "4099 gone", "4099 key"]
    assert buried == ["a"] and await cluster.users_of("a") == set()
    assert await cluster.presence.is_online("also at b")
    assert [info.name for info in await cluster.nodes.all()] == ["b", "c"]


async def test_a_session_that_outlives_its_node_is_settled_when_it_ends(
    cluster: Cluster,
) -> None:
    """Registered after the last beat: the node's own lease ends before the session's."""
    a, b = await cluster.node("a"), await cluster.node("b")
    await cluster.pass_time(20, b=b)
    await a.arrive(info("42", node="a"))
    await a.arrive(info("key", node="a", kind=Kind.WORKER))
    await a.tick()
    await cluster.pass_time(11, b=b)
    assert await cluster.reaper(b).reap() == 1
    assert await cluster.presence.is_online("42") and cluster.events["b"].announced == []
    assert await cluster.users_of("b") == {"42"}
    await cluster.pass_time(20, b=b)
    await b.tick()
    assert sorted(cluster.events["b"].announced) == ["-42", "4099 42", "4099 key"]
    assert await cluster.users_of("b") == set()


async def test_a_grace_that_was_cancelled_elsewhere_hides_no_later_end(cluster: Cluster) -> None:
    """Left here, came back at a node that then died: its lease ends after the grace here."""
    a, b = await cluster.node("a"), await cluster.node("b")
    await cluster.pass_time(LEASE - 5, b=b)
    await b.arrive(one := info("42", node="b"))
    await b.leave(one)
    await a.arrive(info("42", node="a"))
    await cluster.pass_time(6, b=b)
    assert await cluster.reaper(b).reap() == 1
    await cluster.pass_time(GRACE, b=b)
    await b.tick()
    assert await cluster.users_of("b") == {"42"}
    await cluster.pass_time(LEASE, b=b)
    await b.tick()
    assert cluster.events["b"].announced == ["+42", "4099 42", "-42"]


async def test_what_was_decided_and_not_announced_is_announced_by_another(cluster: Cluster) -> None:
    a, b = await cluster.node("a"), await cluster.node("b")
    cluster.events["a"].held = True
    await a.arrive(info("42"))
    (change, _) = cluster.events["a"].waiting[0]
    await cluster.pass_time(LEASE + 1, b=b)
    heard: list[PresenceChange] = []
    changed = cluster.events["b"].changed

    def hear(change: PresenceChange, done: Any) -> None:
        heard.append(change)
        changed(change, done)

    cluster.events["b"].changed = hear  # type: ignore[method-assign]
    await cluster.reaper(b).reap()
    assert cluster.events["b"].announced == ["4099 42", "+42", "-42"]
    assert heard[0].id == change.id, "by the same id"
    assert not (await cluster.presence.settle(["42"], "a:1"))["42"].changes


async def test_a_reaper_that_dies_too_is_followed_by_another(cluster: Cluster) -> None:
    a, b, c = [await cluster.node(name) for name in "abc"]
    await a.arrive(info("42"))
    await a.tick()
    await cluster.pass_time(LEASE + 1, b=b, c=c)
    cluster.events["b"].held = True
    reaping = asyncio.ensure_future(cluster.reaper(b).reap())
    await until(lambda: cluster.events["b"].waiting)
    reaping.cancel()
    assert await cluster.reaper(c).reap() == 0, "b has the claim"
    await cluster.pass_time(LEASE + 2, c=c)
    assert await cluster.reaper(c).reap() == 2, "a, and b itself"
    assert cluster.events["c"].announced == ["-42"]


async def test_what_could_not_be_announced_is_left_for_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sockets.sessions.handover.TIMEOUT", 0.05)
    a, b = await cluster.node("a"), await cluster.node("b")
    await a.arrive(info("42"))
    await cluster.pass_time(LEASE + 1, b=b)
    cluster.events["b"].held = True
    await cluster.reaper(b).reap()
    assert "again later" in caplog.text and await cluster.users_of("a") == {"42"}
    cluster.events["b"].held = False
    await cluster.pass_time(LEASE + 1, b=b)
    await cluster.reaper(b).reap()
    assert cluster.events["b"].announced == ["4099 42", "+42", "-42"]


async def test_a_long_list_is_worked_off_in_batches_under_one_claim(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sockets.sessions.handover.BATCH", 4)
    a, b, c = [await cluster.node(name) for name in "abc"]
    for n in range(10):
        await a.arrive(info(f"u{n}"))
    await a.tick()
    await cluster.pass_time(LEASE + 1, b=b, c=c)
    users_of, others = cluster.nodes.users_of, []

    async def slow(*given: Any) -> list[str]:
        await cluster.pass_time(12, b=b, c=c)  # a batch takes long, and the claim goes on
        others.append(await cluster.nodes.claim())
        return await users_of(*given)

    monkeypatch.setattr(cluster.nodes, "users_of", slow)
    assert await cluster.reaper(b).reap() == 1
    assert others == [None] * len(others) and len(others) >= 4
    assert sorted(cluster.events["b"].announced) == sorted(
        [f"-u{n}" for n in range(10)] + [f"4099 u{n}" for n in range(10)]
    )


async def test_a_grace_that_goes_on_is_the_finders(cluster: Cluster) -> None:
    """A node that ends in good order leaves its users in grace to the others."""
    a, b = await cluster.node("a"), await cluster.node("b")
    await a.arrive(one := info("42"))
    await a.leave(one)
    await a.tick()
    await cluster.nodes.leave("a:1")
    await cluster.pass_time(GRACE - 2, b=b)
    assert await cluster.reaper(b).reap() == 1
    assert cluster.events["b"].announced == []
    assert (await cluster.presence.look("42")).state is PresenceState.IN_GRACE
    await cluster.pass_time(GRACE + 1, b=b)
    await b.tick()
    assert cluster.events["b"].announced == ["-42"]


async def test_a_node_that_is_out_of_touch_settles_nobody(cluster: Cluster) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.leave(one)
    cluster.clock.advance(LEASE + 1)
    await a.tick()
    assert cluster.events["a"].announced == ["+42"], "perhaps the others know better"
    a.beat_succeeded(20.0)
    await a.tick()
    assert cluster.events["a"].announced == ["+42"], "a warm-up"
    await cluster.pass_time(21, a=a)
    await a.tick()
    assert cluster.events["a"].announced == ["+42", "-42"]


async def test_a_new_life_is_responsible_for_everybody(cluster: Cluster) -> None:
    a = await cluster.node("a")
    await a.arrive(info("here"))
    await a.arrive(one := info("in grace"))
    await a.leave(one)
    cluster.events["a"].held = True
    await a.arrive(info("decided"))
    await a.begin("a:2")
    listed = await cluster.nodes.users_of("a:2", Kind.CLIENT, 10)
    assert set(listed) == {"here", "in grace", "decided"}


async def test_users_that_the_store_forgot_are_listed_again(cluster: Cluster) -> None:
    a = await cluster.node("a")
    await a.arrive(info("42"))
    await cluster.nodes.remove_users("a:1", Kind.CLIENT, ["42"])
    await a.check()
    assert await cluster.users_of("a") == {"42"}


async def test_a_failed_release_is_noticed_when_the_lease_is_over(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    with monkeypatch.context() as away:

        async def fail(*_: Any) -> None:
            raise GatewayUnavailable("away")

        away.setattr(cluster.presence, "release", fail)
        with pytest.raises(GatewayUnavailable):
            await a.leave(one)
    await cluster.pass_time(LEASE + 1, a=a)
    await a.tick()
    assert cluster.events["a"].announced == ["+42", "4099 42", "-42"]


async def test_a_change_for_which_there_was_no_space_comes_again(cluster: Cluster) -> None:
    a = await cluster.node("a")
    cluster.events["a"].held = True
    await a.arrive(one := info("42"))
    (_, done) = cluster.events["a"].waiting.pop()
    done(False)
    cluster.events["a"].held = False
    await a.renew([one])
    assert cluster.events["a"].announced == ["+42"]
    await a.tick()
    await a.renew([one])
    assert cluster.events["a"].announced == ["+42"], "announced once"


async def test_whoever_comes_while_they_are_let_go_stays_listed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.leave(one)
    await cluster.pass_time(GRACE + 1, a=a)
    remove_users = cluster.nodes.remove_users

    async def slow(*given: Any) -> None:
        await a.arrive(info("42"))
        await remove_users(*given)

    monkeypatch.setattr(cluster.nodes, "remove_users", slow)
    await a.tick()
    assert await cluster.users_of("a") == {"42"}


async def test_one_that_left_while_it_was_renewed_is_gone(cluster: Cluster) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.leave(one)
    await cluster.presence.renew([info("42", id=one.id, client_id=one.client_id)], "a:1")
    await a.leave_again(one)
    assert not await cluster.presence.is_online("42")


async def test_a_lease_that_was_renewed_too_late_is_waited_for(cluster: Cluster) -> None:
    """Redis stood still: the release came first, and the renewal that nobody awaits any more."""
    a = await cluster.node("a")
    await a.arrive(one := info("42", node="a"))
    await a.leave(one)
    await cluster.presence.renew([one], "a:1")
    await cluster.pass_time(GRACE + 1, a=a)
    await a.tick()
    assert await cluster.users_of("a") == {"42"}
    await cluster.pass_time(LEASE - GRACE, a=a)
    await a.tick()
    assert cluster.events["a"].announced == ["+42", "4099 42", "-42"]
    assert await cluster.users_of("a") == set()


async def test_whoever_is_here_is_not_looked_at_by_the_clock(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42", node="a"))
    await a.leave(one)
    await a.arrive(two := info("42", node="a"))
    settled: list[str] = []
    settle = cluster.presence.settle

    async def note(users: Any, *given: Any, **more: Any) -> Any:
        settled.extend(users := list(users))
        return await settle(users, *given, **more)

    monkeypatch.setattr(cluster.presence, "settle", note)
    for _ in range(8):
        await cluster.pass_time(LEASE / 2, a=a)
        await a.renew([two])
        await a.tick()
    assert settled == ["42"], "once, when the grace was over"


async def test_a_second_release_that_failed_is_noticed_when_the_lease_is_over(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42", node="a"))
    await a.leave(one)
    await cluster.pass_time(GRACE + 1, a=a)
    await cluster.presence.renew([one], "a:1")
    await a.tick()
    with monkeypatch.context() as away:

        async def fail(*_: Any) -> None:
            raise GatewayUnavailable("away")

        away.setattr(cluster.presence, "release", fail)
        with pytest.raises(GatewayUnavailable):
            await a.leave_again(one)
    await cluster.pass_time(LEASE + 1, a=a)
    await a.tick()
    assert (await cluster.presence.look("42")).state is PresenceState.OFFLINE
    assert cluster.events["a"].announced == ["+42", "4099 42", "-42"]


async def test_whoever_is_just_leaving_stays_listed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock ticks while the lease is given back."""
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.tick()
    release, listed = cluster.presence.release, []

    async def slow(*given: Any) -> Any:
        await a.tick()
        listed.append(await cluster.users_of("a"))
        return await release(*given)

    monkeypatch.setattr(cluster.presence, "release", slow)
    await a.leave(one)
    assert listed == [{"42"}] and await cluster.users_of("a") == {"42"}


async def test_whoever_is_just_settled_stays_listed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that ends looks at the clock once more, beside the look that goes on."""
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.leave(one)
    await a.tick()
    await cluster.pass_time(GRACE + 1, a=a)
    settle, listed = cluster.presence.settle, []

    async def slow(users: Any, *given: Any, **more: Any) -> Any:
        if users:
            await a.tick()
            listed.append(await cluster.users_of("a"))
        return await settle(users, *given, **more)

    monkeypatch.setattr(cluster.presence, "settle", slow)
    await a.tick()
    assert listed == [{"42"}] and cluster.events["a"].announced == ["+42", "-42"]


async def test_where_nobody_listens_nothing_is_announced_and_all_are_let_go(
    cluster: Cluster,
) -> None:
    a = await cluster.node("a")
    cluster.events["a"].changes_wanted = False
    await a.arrive(one := info("42"))
    await a.leave(one)
    await cluster.pass_time(GRACE + 1, a=a)
    await a.tick()
    assert cluster.events["a"].announced == [] and await cluster.users_of("a") == set()
    assert (await cluster.presence.look("42")).state is PresenceState.OFFLINE


async def test_an_offline_that_had_no_space_comes_again_by_itself(cluster: Cluster) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.leave(one)
    await a.tick()
    cluster.events["a"].held = True
    await cluster.pass_time(GRACE + 1, a=a)
    await a.tick()
    (_, done) = cluster.events["a"].waiting.pop()
    done(False)
    cluster.events["a"].held = False
    await cluster.pass_time(LEASE + 1, a=a)
    await a.tick()
    assert cluster.events["a"].announced == ["+42", "-42"]


async def test_whoever_leaves_while_they_are_settled_is_settled_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.leave(one)
    await a.arrive(two := info("42"))
    await cluster.pass_time(GRACE + 1, a=a)
    settle = cluster.presence.settle

    async def slow(*given: Any, **more: Any) -> Any:
        answer = await settle(*given, **more)
        if "42" in answer:
            monkeypatch.undo()
            await a.leave(two)
        return answer

    monkeypatch.setattr(cluster.presence, "settle", slow)
    await a.tick()
    assert (await cluster.presence.look("42")).state is PresenceState.IN_GRACE
    await cluster.pass_time(GRACE + 1, a=a)
    await a.tick()
    assert cluster.events["a"].announced == ["+42", "-42"]


async def test_a_settlement_that_failed_is_due_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    await a.leave(one)
    await cluster.pass_time(GRACE + 1, a=a)
    with monkeypatch.context() as away:

        async def fail(*_: Any, **__: Any) -> None:
            raise GatewayUnavailable("away")

        away.setattr(cluster.presence, "settle", fail)
        with pytest.raises(GatewayUnavailable):
            await a.tick()
    await a.tick()
    assert cluster.events["a"].announced == ["+42", "-42"]


async def test_after_an_outage_the_others_have_time_to_come_back(cluster: Cluster) -> None:
    """Shorter than a lease, as a fail-over is: of two nodes only one is overdue when it ends."""
    a, b = await cluster.node("a"), await cluster.node("b")
    await cluster.pass_time(LEASE, a=a, b=b)
    await a.arrive(one := info("42", node="a"))
    await cluster.pass_time(8, b=b)
    await cluster.pass_time(LEASE - 6)
    await cluster.beat("b", b)
    reaper = cluster.reaper(b)
    assert await reaper.reap() == 0
    await cluster.beat("a", a)
    await a.renew([one])
    await cluster.pass_time(LEASE / 2, a=a, b=b)
    assert await reaper.reap() == 0
    assert cluster.events["b"].announced == [] and cluster.events["a"].announced == ["+42"]
    await cluster.pass_time(LEASE + 1, b=b)
    assert await reaper.reap() == 1, "now it is dead"


async def test_rows_of_a_name_that_lives_again_are_left_alone(cluster: Cluster) -> None:
    """Only an old life of it is dead: its new one has opened the rows again."""
    await cluster.node("a")
    b = await cluster.node("b")
    await cluster.pass_time(LEASE + 1, b=b)
    assert (await cluster.nodes.claim()) is not None
    await begin_life(cluster.nodes, NodeInfo("a:2", "a", 7, "h", "1", 0.0, "ready"))
    await cluster.pass_time(LEASE - 1, b=b)
    await begin_life(cluster.nodes, NodeInfo("a:2", "a", 7, "h", "1", 0.0, "ready"))
    await cluster.pass_time(2, b=b)
    buried: list[str] = []
    assert await cluster.reaper(b, lambda info, at: buried.append(info.id)).reap() == 1
    assert buried == []


async def test_whoever_could_not_renew_waits_for_the_others(cluster: Cluster) -> None:
    """Nearly a lease long nothing could be written. At a the user's grace ran out meanwhile; at b
    they are still there, and b will say so with its next renewal."""
    a, b = await cluster.node("a"), await cluster.node("b")
    at_a, at_b = info("42"), info("42")
    await b.arrive(at_b)
    cluster.clock.advance(LEASE / 3)
    await cluster.beat("a", a)
    await a.arrive(at_a)
    cluster.clock.advance(LEASE * 2 / 3 + 1)
    await a.leave(at_a)  # b's lease has run out: the grace begins
    cluster.clock.advance(GRACE + 1)
    await cluster.beat("a", a)
    await a.tick()
    assert cluster.events["a"].announced == ["4099 42"], "not offline"
    await cluster.beat("b", b)
    await b.renew([at_b])
    cluster.clock.advance(LEASE / 4 + 1)
    await cluster.beat("a", a)
    await a.tick()
    assert (await cluster.presence.look("42")).state == PresenceState.CONNECTED
    assert "-42" not in cluster.events["a"].announced + cluster.events["b"].announced


async def test_who_cannot_be_settled_now_is_due_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Cluster: a shard is away, and the users of the others do not wait for it."""
    a = await cluster.node("a")
    for user in ("away", "42"):
        await a.arrive(one := info(user))
        await a.leave(one)
    await cluster.pass_time(GRACE + 1, a=a)
    settle = cluster.presence.settle

    async def partly(users: list[str], by: str = "", **options: Any) -> dict[str, Any]:
        return await settle([user for user in users if user != "away"], by, **options)

    with monkeypatch.context() as patch:
        patch.setattr(cluster.presence, "settle", partly)
        await a.tick()
    assert cluster.events["a"].announced == ["+away", "+42", "-42"]
    await a.tick()
    assert cluster.events["a"].announced[-1] == "-away"
    await a.tick()
    assert await cluster.users_of("a") == set()


async def test_whoever_could_not_renew_buries_nobody(cluster: Cluster) -> None:
    """Redis takes writes again: both seem to be dead, and one looks before it has renewed."""
    a, b = await cluster.node("a"), await cluster.node("b")
    for name, tracker in (("a", a), ("b", b)):
        await tracker.arrive(info(f"at {name}"))
    cluster.clock.advance(LEASE + 1)
    assert await cluster.reaper(a).reap() == 0
    assert (await cluster.nodes.beat(node_info("a"), begin=False, silent=LEASE + 1)).alive
    assert cluster.events["a"].announced == ["+at a"]
