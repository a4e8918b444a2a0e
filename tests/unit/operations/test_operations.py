"""What all nodes answer together, and what is said of those that do not."""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest

from sockets.base import refusals
from sockets.exceptions import GatewayUnavailable, InvalidMessage, TooManyRequests
from sockets.node.core import Core
from sockets.operations import operations, silence
from sockets.operations.shared import TooManyQuestions
from sockets.operations.wire import Query
from sockets.reports import EndedTrace, Health
from sockets.types import Kind, Notification, TaskState
from tests.support.doubles import (
    NOON,
    StillNode,
    begin_life,
    local_session,
    node_info,
    outbox_of,
    task_signals,
    until,
)
from tests.unit.operations.conftest import Pair


def whatever(**given: Any) -> Any:
    return lambda now: Query(**given)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "ASK_TIMEOUT", 0.05)


async def mute(pair: Pair, **given: Any) -> None:
    """A node that lives, and never answers."""
    await begin_life(pair.here.nodes, node_info("mute", seen_at=NOON, **given))


# --- the gateway


async def test_the_overview_adds_what_the_nodes_tell(pair: Pair) -> None:
    await pair.here.open("1")
    await pair.open_there("2")
    await pair.open_there("2")
    for node in (pair.here, pair.there):
        pair.clock.now = NOON
        node.local_operations.sampler.ticked(0.0)
    pair.clock.advance(10)
    for node in (pair.here, pair.there):
        node.local_operations.sampler.ticked(0.25)
    pair.clock.advance(5)
    found = await pair.here.operations.overview()
    assert (found.sessions, found.users, found.workers, found.silent) == (3, 2, 0, [])
    assert [(one.info.name, one.answered, one.lost) for one in found.nodes] == [
        ("here", True, False),
        ("there", True, False),
    ]
    assert {one.loop_lag for one in found.nodes} == {0.25}
    assert [(one.at, one.sessions, one.users) for one in found.samples] == [(NOON + 10, 3, 2)]
    assert (await pair.here.operations.overview(NOON + 10)).samples == []
    assert len((await pair.here.operations.overview(last=10)).samples) == 1
    assert (await pair.here.operations.overview(last=4)).samples == []


async def test_a_silent_node_is_named_and_shown_as_it_last_said(
    pair: Pair, impatient: None
) -> None:
    await mute(pair, operations=True, clients=5, users=4)
    found = await pair.here.operations.overview()
    assert found.silent == ["mute"]
    (shown,) = [one for one in found.nodes if one.info.name == "mute"]
    assert (shown.answered, shown.lost, shown.info.clients) == (False, False, 5)
    assert found.sessions == 5
    pair.clock.advance(pair.here.conf.lease_renew * 2)
    found = await pair.here.operations.overview()
    assert [one.info.name for one in found.nodes if one.lost] == ["mute"]


async def test_without_redis_a_node_tells_of_itself(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.here.open("1")
    await pair.open_there("2")
    await pair.here.operations.overview()

    async def away() -> Any:
        raise GatewayUnavailable("Redis cannot be reached")

    monkeypatch.setattr(pair.here.nodes, "all", away)
    monkeypatch.setattr(pair.here.readiness, "_try_store", away)
    await pair.here.readiness.try_once()
    pair.clock.advance(7)
    found = await pair.here.operations.overview()
    assert (found.sessions, found.users, found.silent) == (1, 1, [])
    assert (found.unreachable, found.at - (found.unreachable_since or 0)) == (
        "Redis cannot be reached",
        7,
    )
    (node,) = found.nodes
    assert (node.info.name, node.answered, node.info.clients) == ("here", True, 1)
    assert node.redis == "Redis cannot be reached"
    monkeypatch.undo()
    await pair.here.readiness.try_once()
    found = await pair.here.operations.overview()
    assert (found.sessions, found.unreachable, found.unreachable_since) == (2, "", None)


async def test_a_redis_that_is_silent_is_not_waited_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    async def for_ever() -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(pair.here.nodes, "lost", for_ever)
    assert (await pair.here.operations.overview()).unreachable == "Redis does not answer"


async def test_who_holds_no_sockets_knows_nothing_without_redis(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> Any:
        raise GatewayUnavailable("Redis cannot be reached")

    monkeypatch.setattr(pair.here.nodes, "all", away)
    core = Core(replace(pair.here.conf, node_name="api"), state=pair.here.state)
    with pytest.raises(GatewayUnavailable, match="cannot be reached"):
        await core.operations.overview()


async def test_who_was_silent_just_now_is_named_at_once(
    pair: Pair, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One waits for it, and nobody else until its silence is over; then one does again."""
    asked: list[str] = []
    answers = pair.there.bus.handlers["operations"]
    pair.there.bus.handlers["operations"] = lambda message: asked.append(message["type"])
    made = pair.here.operations
    assert (await made.overview()).silent == ["there"]
    monkeypatch.setattr(operations, "ASK_TIMEOUT", 60.0)  # whoever waits for it fails this test
    assert (await made.overview()).silent == (await made.user("kim")).silent == ["there"]
    pair.clock.advance(silence.SILENT_FOR)
    one = asyncio.ensure_future(made.overview())
    await until(lambda: asked.count("operations.overview") == 2)
    assert (await made.overview()).silent == ["there"], "one who waits is enough"
    pair.there.bus.handlers["operations"] = answers
    one.cancel()
    pair.clock.advance(60.0)
    assert (await made.overview()).silent == []
    assert (await made.overview()).silent == []


async def test_a_node_of_the_version_before_is_not_asked_what_it_would_log_as_an_error(
    pair: Pair,
) -> None:
    await mute(pair)
    asked: list[str] = []

    async def heard(message: Any) -> None:
        asked.append(message["type"])

    await pair.here.layer.group_add_sink("n.mute", heard)  # type: ignore[arg-type]
    assert (await pair.here.operations.overview()).silent == ["mute"]
    assert asked == []


UNREADABLE: list[Any] = [b'{"state":7}', None, 7, {}, b"", b"[" * 99_999]


@pytest.mark.parametrize("answer", [{}, *({"body": body} for body in UNREADABLE)])
async def test_an_answer_that_cannot_be_read_is_none(
    pair: Pair, caplog: pytest.LogCaptureFixture, answer: dict[str, Any]
) -> None:
    """Of a later version, say."""

    def other(message: Any) -> None:
        pair.there.spawn(pair.there.bus.answer(message, **answer))

    pair.there.bus.handlers["operations"] = other
    made = pair.here.operations
    with caplog.at_level(logging.WARNING):
        found = await made.overview()
    assert found.silent == ["there"] and "another form" in caplog.text
    assert (await made.user("kim")).silent == ["there"]
    with pytest.raises(GatewayUnavailable, match="there"):
        await made.session(local_session().info.id, frames=False)


async def test_who_was_refused_is_told_with_the_node(pair: Pair) -> None:
    refusals.note(Kind.CLIENT, 4501, "token: expired", address="192.0.2.99", user="kim refused")
    found = await pair.here.operations.refusals("kim refused", "", 10)
    assert [(one.node, one.code, one.user) for one in found.refusals] in (
        [("here", 4501, "kim refused"), ("there", 4501, "kim refused")],
        [("there", 4501, "kim refused"), ("here", 4501, "kim refused")],
    ), "both are this process"
    found = await pair.here.operations.refusals("kim refused", "192.0.2.", 1)
    assert (len(found.refusals), found.more) == (1, 1)
    assert not (await pair.here.operations.refusals("kim refused", "198.", 1)).refusals


# --- sessions


async def test_the_first_of_all_nodes_are_merged(pair: Pair) -> None:
    one = await pair.here.open("1", connected_at=NOON + 1)
    two = await pair.open_there("2", connected_at=NOON + 2)
    three = await pair.here.open("3", connected_at=NOON + 3)
    found = await pair.here.operations.find("", None, whatever(limit=2))
    assert [live.info.id for live in found.sessions] == [three.info.id, two.info.id]
    assert (found.total, found.matching, found.silent) == (3, 3, [])
    found = await pair.here.operations.find("", "here", whatever(order="user"))
    assert [live.info.id for live in found.sessions] == [one.info.id, three.info.id]
    assert (found.total, found.matching) == (2, 2)


async def test_a_user_a_client_and_a_session_are_found_by_their_ids(pair: Pair) -> None:
    mine = await pair.open_there("kim")
    await pair.here.open("other")
    for q in ("kim", mine.info.client_id, mine.info.id, mine.info.id.lower()):
        found = await pair.here.operations.find(q, None, whatever())
        assert [one.info.id for one in found.sessions] == [mine.info.id], q
        assert found.sessions[0].health is Health.HEALTHY
        assert found.matching == 1
    assert not (await pair.here.operations.find("ki", None, whatever())).sessions
    assert not (await pair.here.operations.find("kim", "here", whatever())).sessions
    assert not (await pair.here.operations.find("kim", None, whatever(kind=Kind.WORKER))).sessions


async def test_of_many_sessions_of_a_user_the_first_that_fit_are_found(pair: Pair) -> None:
    made = pair.here.operations
    ages = [await pair.open_there("kim", connected_at=NOON + number) for number in range(5)]
    found = await made.find("kim", None, whatever(limit=2))
    assert [one.info.id for one in found.sessions] == [ages[4].info.id, ages[3].info.id]
    assert found.matching == 5
    found = await made.find("kim", None, whatever(limit=2, order="connected_at"))
    assert [one.info.id for one in found.sessions] == [ages[0].info.id, ages[1].info.id]


async def test_a_worker_is_found_by_the_name_of_its_key(pair: Pair) -> None:
    session = await pair.here.open_worker("p", key="converter")
    found = await pair.here.operations.find("converter", None, whatever())
    assert [one.info.id for one in found.sessions] == [session.info.id]


async def test_what_presence_knows_of_a_silent_node_is_there(pair: Pair, impatient: None) -> None:
    mine = await pair.open_there("kim", agent="Firefox")
    pair.there.bus.handlers["operations"] = lambda message: None
    found = await pair.here.operations.find("kim", None, whatever())
    assert [(one.info.id, one.health) for one in found.sessions] == [(mine.info.id, Health.UNKNOWN)]
    assert found.silent == ["there"]
    found = await pair.here.operations.find("kim", None, whatever(agent="chrome"))
    assert not found.sessions
    found = await pair.here.operations.find("kim", None, whatever(health=Health.HEALTHY))
    assert not found.sessions


async def test_one_session_in_full(pair: Pair) -> None:
    mine = await pair.open_there("kim")
    await pair.here.notifier.send(Notification("kim", "e", {"n": 1}))
    pair.clock.advance(1)
    found = await pair.here.operations.session(mine.info.id, frames=False)
    assert found is not None
    assert (found.session.info.id, found.session.lag) == (mine.info.id, 0)
    assert found.sent == found.head and found.sent is not None and found.sent.offset == 1
    assert found.buffers == {"outbox": 0, "opening": 0}
    assert found.counters["frames_in"] == 0 and found.counters["bytes_out"] > 0
    assert found.frames == []


async def test_nobody_has_it_or_a_silent_node_may(pair: Pair, impatient: None) -> None:
    gone = local_session().info.id
    assert await pair.here.operations.session(gone, frames=True) is None
    await mute(pair, operations=True)
    with pytest.raises(GatewayUnavailable, match="mute"):
        await pair.here.operations.session(gone, frames=True)
    mine = await pair.open_there("kim")
    assert await pair.here.operations.session(mine.info.id, frames=True) is not None


async def test_whoever_has_it_is_enough(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-out would fail this test: nobody waits for the silent one."""
    monkeypatch.setattr(operations, "ASK_TIMEOUT", 60.0)
    await mute(pair, operations=True)
    mine = await pair.open_there("kim")
    assert await pair.here.operations.session(mine.info.id, frames=True) is not None


async def test_headers_are_kept_from_the_first_question_on(pair: Pair) -> None:
    mine = await pair.open_there("kim")

    async def frames() -> list[tuple[int, str, str]]:
        found = await pair.here.operations.session(mine.info.id, frames=True)
        assert found is not None
        return [(one.number, one.type, one.event) for one in found.frames]

    await pair.here.notifier.send(Notification("kim", "before"))
    assert await frames() == []
    await pair.here.notifier.send(Notification("kim", "after", "said in confidence"))
    assert await frames() == [(1, "message", "after")]
    assert outbox_of_inner(mine) == ["before", "after"], "and the client gets all of them"


def outbox_of_inner(session: Any) -> list[str]:
    events: list[str] = session.outbox.inner.events
    return events


# --- work


async def test_workers_with_what_they_hold(pair: Pair) -> None:
    with task_signals():
        session = await pair.here.open_worker("p", "q", capacity=2, key="converter")
        task = await given_to(pair.here, session)
        found = await pair.here.operations.workers()
        (one,) = found.workers
        assert (one.worker, one.capacity, one.held) == (
            f"converter/{session.info.client_id}",
            2,
            1,
        )
        assert one.session is not None and one.session.id == session.info.id
        assert [(held.id, held.state) for held in one.tasks] == [(task, TaskState.RUNNING)]
        assert (found.total, [load.pool for load in found.pools]) == (1, ["p", "q"])
        ended = await pair.here.operations.release_task(task)
        assert ended is not None
        assert (ended.state, ended.error) == (TaskState.RELEASED, operations.HANDED_BACK)
        assert await pair.here.operations.release_task(task) is None, "it has ended"
        found = await pair.here.operations.workers()
        assert [one.id for one in found.ended] == [task] and not found.workers[0].tasks
        told = outbox_of(session).frames[-1]
        assert (told["type"], told["task"], told["reason"]) == ("task.cancel", task, "released")


async def test_workers_are_looked_for_once_for_all_who_ask(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    pools = pair.here.dispatcher.pools

    async def counted() -> Any:
        nonlocal asked
        asked += 1
        return await pools()

    monkeypatch.setattr(pair.here.dispatcher, "pools", counted)
    made = pair.here.operations
    await asyncio.gather(*(made.workers() for _ in range(3)))
    await made.workers()
    assert asked == 1
    pair.clock.advance(operations.WORKERS_FOR)
    await made.workers()
    assert asked == 2
    monkeypatch.setattr(made._shared, "get", too_many)
    with pytest.raises(GatewayUnavailable, match="ask again"):
        await made.workers()


async def too_many(*_: Any) -> Any:
    raise TooManyQuestions


async def given_to(node: StillNode, session: Any) -> str:
    """The id of a task that this worker has accepted."""
    assigning = asyncio.ensure_future(node.dispatcher.assign("p", "e", {}, user_id="kim"))
    outbox = outbox_of(session)
    await until(lambda: any(frame["type"] == "task" for frame in outbox.frames))
    (offered,) = [frame for frame in outbox.frames if frame["type"] == "task"]
    worker = f"{session.info.user}/{session.info.client_id}"
    assert await node.dispatcher.accept(worker, offered["task"], offered["offer"])
    return (await assigning).id


# --- one user


async def test_what_is_known_of_a_user(pair: Pair) -> None:
    mine = await pair.open_there("kim")
    worker = await pair.here.open_worker("p", key="scribe")
    await pair.here.hub.join(worker, "w.kim", "", lambda room, message: None)
    for number in range(3):
        await pair.here.notifier.send(Notification("kim", f"e{number}", "secret words"))
    await pair.here.presence.block("kim", None)
    with task_signals():
        task = await given_to(pair.here, worker)
        found = await pair.here.operations.user("kim")
    assert found.presence.online and [one.info.id for one in found.live] == [mine.info.id]
    assert [info.user for info in found.workers] == ["scribe"]
    assert [one.id for one in found.tasks] == [task]
    assert (found.blocked, found.blocked_until) == (True, None)
    assert found.head.offset == 3 and found.floor == 0
    assert [(one.offset, one.event) for one in found.stream] == [(3, "e2"), (2, "e1"), (1, "e0")]
    assert "secret" not in repr(found)


async def test_nobody_knows_this_user(pair: Pair) -> None:
    found = await pair.here.operations.user("nobody")
    assert (found.live, found.stream, found.blocked, found.head.offset) == ([], [], False, 0)


async def test_sessions_at_a_silent_node_are_those_of_presence(pair: Pair, impatient: None) -> None:
    mine = await pair.open_there("kim")
    pair.there.bus.handlers["operations"] = lambda message: None
    found = await pair.here.operations.user("kim")
    assert [(one.info.id, one.health) for one in found.live] == [(mine.info.id, Health.UNKNOWN)]
    assert found.silent == ["there"]


# --- traces


async def test_a_trace_has_the_frames_of_all_nodes_and_of_who_comes_later(pair: Pair) -> None:
    made = pair.here.operations
    one = await pair.here.open("kim")
    begun = await made.trace("kim", seconds=60, bodies=False, by="ann")
    assert (begun.by, begun.until - begun.started_at, begun.frames) == ("ann", 60, [])
    two = await pair.open_there("kim")
    await pair.here.open("somebody else")
    await pair.here.notifier.send(Notification("kim", "e", "said in confidence"))
    pair.clock.advance(1)
    found = await made.read_trace("kim", "", bodies=True)
    assert found is not None
    seen = {(one.session, one.node, one.header.event, one.body) for one in found.frames}
    assert seen >= {(one.info.id, "here", "e", None), (two.info.id, "there", "e", None)}
    assert {one.session for one in found.frames} == {one.info.id, two.info.id}
    assert "confidence" not in repr(found)
    again = await made.read_trace("kim", found.next, bodies=True)
    assert again is not None and again.frames == []
    await pair.here.notifier.send(Notification("kim", "f", 1))
    again = await made.read_trace("kim", found.next, bodies=False)
    assert again is not None and [one.header.event for one in again.frames] == ["f", "f"]
    assert await made.end_trace("kim") == EndedTrace(ended=True)
    assert await made.end_trace("kim") == EndedTrace(ended=False)
    assert await made.read_trace("kim", "", bodies=True) is None


async def test_the_end_of_a_trace_names_who_has_not_heard_of_it(
    pair: Pair, impatient: None
) -> None:
    made, answers = pair.here.operations, pair.there.bus.handlers["operations"]
    await made.trace("kim", seconds=60, bodies=False, by="ann")
    pair.there.bus.handlers["operations"] = lambda message: None
    assert await made.end_trace("kim") == EndedTrace(ended=True, silent=["there"])
    pair.there.bus.handlers["operations"] = answers
    assert await made.end_trace("kim") == EndedTrace(ended=True), "it is told though it was silent"


async def test_a_node_that_missed_the_end_of_a_trace_begins_it_nowhere(pair: Pair) -> None:
    made = pair.here.operations
    await pair.open_there("kim")
    await made.trace("kim", seconds=60, bodies=False, by="ann")
    pair.here.local_operations.recordings.end_trace("kim")
    assert await made.read_trace("kim", "", bodies=False) is None
    assert await made.read_trace("kim", "", bodies=False) is None
    for node in (pair.here, pair.there):
        assert not node.local_operations.recordings._traces


async def test_a_trace_in_place_of_another_is_read_from_its_beginning(pair: Pair) -> None:
    made = pair.here.operations
    await pair.open_there("kim")
    await made.trace("kim", seconds=60, bodies=False, by="ann")
    for number in range(5):
        await pair.here.notifier.send(Notification("kim", f"e{number}"))
    found = await made.read_trace("kim", "", bodies=False)
    assert found is not None and len(found.frames) >= 5
    pair.clock.advance(1)
    await made.trace("kim", seconds=60, bodies=False, by="ann")
    await pair.here.notifier.send(Notification("kim", "first"))
    again = await made.read_trace("kim", found.next, bodies=False)
    assert again is not None
    assert [one.header.event for one in again.frames] == ["first"]


async def test_who_has_recorded_nothing_is_not_in_the_place_of_a_trace(pair: Pair) -> None:
    made = pair.here.operations
    await pair.open_there("kim")
    await made.trace("kim", seconds=60, bodies=False, by="ann")
    await pair.here.notifier.send(Notification("kim", "e"))
    found = await made.read_trace("kim", "", bodies=False)
    assert found is not None
    assert list(operations._place_in(found.next).numbers) == ["there"]


async def test_of_a_user_who_is_forgotten_nothing_is_shown(pair: Pair) -> None:
    made = pair.here.operations
    await pair.open_there("kim gone")
    await made.trace("kim gone", seconds=60, bodies=True, by="ann")
    for user in ("kim gone", "kim stays"):
        refusals.note(Kind.CLIENT, 4501, "token: expired", address="192.0.2.98", user=user)
    await made.forget("kim gone")
    assert await made.read_trace("kim gone", "", bodies=True) is None
    assert not (await made.refusals("kim gone", "", 10)).refusals
    assert (await made.refusals("kim stays", "", 10)).refusals


async def test_bodies_are_there_if_they_are_recorded_and_asked_for(pair: Pair) -> None:
    made = pair.here.operations
    await pair.open_there("kim")
    await made.trace("kim", seconds=60, bodies=True, by="ann")
    await pair.here.notifier.send(Notification("kim", "e", "x" * 10_000))
    found = await made.read_trace("kim", "", bodies=True)
    assert found is not None and found.bodies
    (frame,) = found.frames
    assert frame.body is not None and len(frame.body) == 4_096 and frame.header.size > 10_000
    found = await made.read_trace("kim", "", bodies=False)
    assert found is not None and [one.body for one in found.frames] == [None]


async def test_a_node_that_missed_the_beginning_takes_part_from_the_next_question(
    pair: Pair,
) -> None:
    made = pair.here.operations
    mine = await pair.open_there("kim")
    heard = pair.there.bus.handlers.pop("operations")
    pair.there.bus.handlers["operations"] = lambda message: None
    await made.trace("kim", seconds=60, bodies=False, by="ann")
    pair.there.bus.handlers["operations"] = heard
    pair.clock.advance(silence.SILENT_FOR)
    await made.read_trace("kim", "", bodies=False)
    await pair.here.notifier.send(Notification("kim", "e"))
    found = await made.read_trace("kim", "", bodies=False)
    assert found is not None and [one.session for one in found.frames] == [mine.info.id]


async def test_there_are_a_few_traces_at_once(pair: Pair) -> None:
    made = pair.here.operations
    for number in range(4):
        await made.trace(f"user {number}", seconds=60, bodies=False, by="")
    await made.trace("user 0", seconds=60, bodies=False, by="again")
    with pytest.raises(TooManyRequests, match="4 users are traced already"):
        await made.trace("one more", seconds=60, bodies=False, by="")
    assert await made.read_trace("one more", "", bodies=False) is None
    pair.clock.advance(61)
    await made.trace("one more", seconds=60, bodies=False, by="")


async def test_what_is_no_place_in_a_trace_is_refused(pair: Pair) -> None:
    huge, before = (encoded(f'{{"numbers":{{"there":{number}}}}}') for number in (10**30, -1))
    for after in ("none", "W10", huge, before):
        with pytest.raises(InvalidMessage, match="begin without"):
            await pair.here.operations.read_trace("kim", after, bodies=False)


def encoded(place: str) -> str:
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")
