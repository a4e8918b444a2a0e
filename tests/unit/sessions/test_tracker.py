"""Presence at a node, and what it is responsible for; two nodes on one store where need be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from sockets.exceptions import GatewayUnavailable
from sockets.redis import close, connect
from sockets.types import Kind, PresenceState
from tests.support.doubles import MovedClock, info
from tests.support.nodes import GRACE, LEASE, Cluster
from tests.support.valkey import shared


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


@pytest.mark.parametrize("forgotten", ["before it left", "in grace", "while writes were refused"])
async def test_who_leaves_a_store_that_forgot_them_is_announced(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """And nobody else: other nodes renew whom they have within a lease."""
    a, b = await cluster.node("a"), await cluster.node("b")
    elsewhere, back = info("at both"), info("comes back")
    for session in (gone := [info("gone"), info("at both"), info("comes back")]):
        await a.arrive(session)
    await b.arrive(elsewhere)
    if forgotten == "before it left":
        await cluster.forget_users()
    with monkeypatch.context() as away:
        if forgotten == "while writes were refused":

            async def fail(*_: Any, **__: Any) -> None:
                raise GatewayUnavailable("no memory left")

            away.setattr(cluster.presence, "release", fail)
        for session in gone:
            with suppress(GatewayUnavailable):
                await a.leave(session)
    if forgotten != "before it left":
        await cluster.forget_users()
    await b.arrive(back)
    await b.renew([elsewhere])
    for _ in range(9):
        await cluster.pass_time(LEASE / 3, a=a, b=b)
        await b.renew([elsewhere, back])
        await a.tick()
        await b.tick()
    announced = cluster.events["a"].announced + cluster.events["b"].announced
    offline = [one for one in announced if one.startswith("-")]
    assert offline == ["-gone"], announced
    assert await cluster.users_of("a") == set()
    assert await cluster.users_of("b") == {"at both", "comes back"}


async def test_who_never_came_in_is_not_announced_as_gone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")

    async def fail(*_: Any, **__: Any) -> None:
        raise GatewayUnavailable("no memory left")

    with monkeypatch.context() as away, pytest.raises(GatewayUnavailable):
        away.setattr(cluster.presence, "register", fail)
        await a.arrive(one := info("42"))
    await a.leave(one)
    await cluster.pass_time(3 * LEASE, a=a)
    await a.tick()
    assert cluster.events["a"].announced == [] and await cluster.users_of("a") == set()


async def test_a_failed_release_is_noticed_when_the_lease_is_over(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await cluster.node("a")
    await a.arrive(one := info("42"))
    with monkeypatch.context() as away:

        async def fail(*_: Any, **__: Any) -> None:
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

        async def fail(*_: Any, **__: Any) -> None:
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

    async def slow(*given: Any, **more: Any) -> Any:
        await a.tick()
        listed.append(await cluster.users_of("a"))
        return await release(*given, **more)

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
