"""What a dead node left behind is finished by another one, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sockets.redis import close, connect
from sockets.types import Kind, PresenceChange, PresenceState
from tests.support.doubles import MovedClock, info
from tests.support.nodes import GRACE, LEASE, Cluster
from tests.support.valkey import shared


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    client = connect(shared().url)
    yield Cluster(client, MovedClock())
    await close(client)


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
