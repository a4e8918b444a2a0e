"""The walk of a task over the workers, from `assign` to its end."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from msgspec import Raw

from sockets.base import metrics
from sockets.base.ids import new_id
from sockets.delivery.hub import MAX_EARLY, LocalSession
from sockets.exceptions import (
    BadFrame,
    GatewayUnavailable,
    InvalidMessage,
    MessageTooLarge,
    NoWorkerAvailable,
    TaskIdTaken,
)
from sockets.layers.fanout import Message
from sockets.layers.groups import node_group
from sockets.presence.base import Registered
from sockets.sessions.lifecycle import worker_name
from sockets.tasks.base import Seat
from sockets.types import Kind, PoolLoad, SessionInfo, Task, TaskState
from tests.support.doubles import (
    NOON,
    FailingLayer,
    ImmediateExecutor,
    StillNode,
    TricklingOutbox,
    local_session,
    outbox_of,
    seat,
    until,
)
from tests.unit.tasks.conftest import Crew, house

LONG = 30.0
"""An accept time-out that no test waits for."""

SHORT = 0.2
"""One that a test waits for, and that who answers at once keeps on a busy machine."""


def offers() -> dict[str, float]:
    return {outcome: counter._value.get() for outcome, counter in metrics.offers.items()}


class Counted:
    """What `metrics.offers` gained in a block."""

    def __enter__(self) -> Counted:
        self._before = offers()
        return self

    def __exit__(self, *_: object) -> None:
        after = offers()
        self.gained = {k: after[k] - self._before[k] for k in after if after[k] != self._before[k]}


async def running(one: StillNode, crew: Crew, name: str = "a", **given: Any) -> Task:
    """A task that a new worker has begun."""
    await crew.hire(name)
    return await one.dispatcher.assign("p", "e", None, **given)


# --- assign: somebody takes it


async def test_the_worker_is_shown_the_whole_task() -> None:
    one = await house(task_timeout=77.0)
    crew = Crew(one)
    await crew.hire("a")
    task = await one.dispatcher.assign("p", "convert", {"한": [1.5]}, user_id="42")
    (frame,) = crew.told("a")
    assert frame == {
        "type": "task",
        "task": task.id,
        "offer": frame["offer"],
        "pool": "p",
        "user": "42",
        "event": "convert",
        "data": {"한": [1.5]},
        "timeout": 77.0,
    }
    assert crew.answers == {"a": True}


async def test_the_caller_gets_the_task_as_it_runs() -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew, user_id="42", progress_to_user=False, timeout=9)
    assert task == Task(
        id=task.id,
        pool="p",
        event="e",
        node="here",
        timeout=9.0,
        created=NOON,
        user="42",
        progress_to_user=False,
        state=TaskState.RUNNING,
        worker="w/a",
        started=NOON,
    )
    assert await one.dispatcher.get(task.id) == task
    assert one.dispatcher._verdicts == {}


async def test_a_task_that_is_taken_is_read_once_and_never_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = await house()
    await Crew(one).hire("a")
    asked: list[str] = []

    def noted(name: str, call: Any) -> Any:
        def noting(*given: Any) -> Any:
            asked.append(name)
            return call(*given)

        return noting

    for name in ("get", "drop", "withdraw"):
        monkeypatch.setattr(one.tasks, name, noted(name, getattr(one.tasks, name)))
    assert (await one.dispatcher.assign("p", "e", None)).state is TaskState.RUNNING
    assert asked == ["get"]


async def test_a_task_of_nobody_says_so() -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew)
    assert task.user is None and crew.told("a")[0]["user"] is None


async def test_the_caller_may_name_the_task_and_repeat_the_call() -> None:
    one = await house()
    crew = Crew(one)
    id = new_id()
    first = await running(one, crew, id=id)
    again = await one.dispatcher.assign("p", "e", None, id=id)
    assert (first.id, again) == (id, first)
    assert len(crew.told("a")) == 1
    assert await one.dispatcher.end("w/a", id, TaskState.DONE)
    assert (await one.dispatcher.assign("p", "e", None, id=id)).state is TaskState.DONE


CHANGED: list[dict[str, Any]] = [
    {"pool": "q"},
    {"event": "f"},
    {"data": {"n": 2}},
    {"data": None},
    {"user_id": "43"},
    {"user_id": None},
    {"progress_to_user": False},
    {"timeout": 9},
    {"timeout": None},
]


@pytest.mark.parametrize("where", ["offered", "running", "ended"])
async def test_another_task_of_the_same_id_is_refused_and_the_first_goes_on(where: str) -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    await crew.hire("a", "is silent" if where == "offered" else "accepts", pools=("p", "q"))
    asked: dict[str, Any] = {"pool": "p", "event": "e", "data": {"n": 1}, "user_id": "42"}
    asked |= {"id": new_id(), "timeout": 7}

    async def assign(**given: Any) -> Task:
        given = asked | given
        return await one.dispatcher.assign(
            given.pop("pool"), given.pop("event"), given.pop("data"), **given
        )

    first = asyncio.ensure_future(assign())
    await until(lambda: crew.asked and (where == "offered" or first.done()))
    if where == "ended":
        assert await one.dispatcher.end("w/a", asked["id"], TaskState.DONE, result=Raw(b"7"))
    before = await one.dispatcher.get(asked["id"])
    texts = set()
    for given in CHANGED:
        with pytest.raises(TaskIdTaken) as refused:
            await assign(**given)
        texts.add(str(refused.value))
    assert len(texts) == 1, "the same words, whatever differs"
    assert await assign(data={"n": 1.0}, timeout=7.0) == before, "a repetition"
    await one.settle()
    assert await one.dispatcher.get(asked["id"]) == before
    first.cancel()
    await asyncio.wait({first})
    await one.settle()


async def test_a_call_of_another_task_that_fails_on_the_way_takes_no_task_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The id was free when it was asked for, and is somebody else's when the store goes away."""
    one = await house()
    crew = Crew(one)
    await crew.hire("a")
    id = new_id()
    offer = one.tasks.offer

    async def taken_meanwhile(task: Task, passed_over: Any) -> Any:
        monkeypatch.setattr(one.tasks, "offer", offer)
        await one.dispatcher.assign("p", "first", None, id=id)
        raise GatewayUnavailable("the store is away")

    monkeypatch.setattr(one.tasks, "offer", taken_meanwhile)
    with pytest.raises(GatewayUnavailable):
        await one.dispatcher.assign("q", "second", None, id=id)
    await one.settle()
    found = await one.dispatcher.get(id)
    assert found is not None and (found.event, found.state) == ("first", TaskState.RUNNING)


async def test_of_two_tasks_of_one_id_at_once_one_is_refused() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    await crew.hire("a", pools=("p",))
    await crew.hire("b", pools=("q",))
    id = new_id()
    results = await asyncio.gather(
        *(one.dispatcher.assign(pool, "e", None, id=id) for pool in "pq"), return_exceptions=True
    )
    (made,) = [result for result in results if isinstance(result, Task)]
    assert sum(isinstance(result, TaskIdTaken) for result in results) == 1
    assert len(crew.asked) == 1 and made.pool == ("p" if crew.asked == ["a"] else "q")


async def test_a_named_task_that_nobody_took_may_be_tried_again() -> None:
    one = await house()
    crew = Crew(one)
    id = new_id()
    with pytest.raises(NoWorkerAvailable):
        await one.dispatcher.assign("p", "e", None, id=id)
    assert (await running(one, crew, id=id)).id == id


async def test_tasks_are_spread_over_the_workers() -> None:
    one = await house()
    crew = Crew(one)
    for name in ("a", "b", "c"):
        await crew.hire(name, capacity=2)
    tasks = await asyncio.gather(*[one.dispatcher.assign("p", "e", n) for n in range(6)])
    assert sorted(task.worker for task in tasks) == ["w/a", "w/a", "w/b", "w/b", "w/c", "w/c"]
    assert await one.dispatcher.pools() == [PoolLoad("p", 3, 6, 6)]


# --- assign: the next one


@pytest.mark.parametrize(
    ("conduct", "outcome"),
    [("rejects", "rejected"), ("is silent", "timeout"), ("leaves", "gone")],
)
async def test_who_does_not_take_it_is_followed_by_the_next(conduct: str, outcome: str) -> None:
    one = await house(task_accept_timeout=SHORT if conduct == "is silent" else LONG)
    crew = Crew(one)
    await crew.hire("a", conduct)
    await crew.hire("b", conduct)
    await crew.hire("c", "accepts")
    with Counted() as counted:
        task = await one.dispatcher.assign("p", "e", None)
    assert crew.asked == ["a", "b", "c"] and task.worker == "w/c"
    assert counted.gained == {outcome: 2, "accepted": 1}
    assert {frame["task"] for name in "abc" for frame in crew.offers(name)} == {task.id}
    assert len({frame["offer"] for name in "abc" for frame in crew.offers(name)}) == 3


async def test_a_late_accept_is_refused() -> None:
    one = await house(task_accept_timeout=SHORT)
    crew = Crew(one)
    await crew.hire("late", "is silent")
    await crew.hire("quick", "accepts")
    task = await one.dispatcher.assign("p", "e", None)
    (offered,) = crew.offers("late")
    assert await one.dispatcher.accept("w/late", task.id, offered["offer"]) is False
    assert await one.dispatcher.reject("w/late", task.id, offered["offer"]) is False
    found = await one.dispatcher.get(task.id)
    assert found is not None and found.worker == "w/quick"


async def test_all_reject_and_the_caller_is_told() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    for name in ("a", "b"):
        await crew.hire(name, "rejects", capacity=2)
    await crew.hire("other", pools=("q",))
    with Counted() as counted, pytest.raises(NoWorkerAvailable) as caught:
        await one.dispatcher.assign("p", "e", None, id="T")
    error = caught.value
    assert (error.pool, error.asked) == ("p", 2)
    assert error.pools == (PoolLoad("p", 2, 4, 0), PoolLoad("q", 1, 1, 0))
    assert "none of 2 workers asked accepted" in str(error)
    assert counted.gained == {"rejected": 2, "unassigned": 1}
    assert crew.asked == ["a", "b"], "each once"
    assert await one.dispatcher.get("T") is None, "it never was"
    assert one.dispatcher._verdicts == {}


async def test_without_a_worker_the_caller_is_told_at_once() -> None:
    one = await house(task_accept_timeout=LONG, task_assign_timeout=LONG)
    crew = Crew(one)
    await crew.hire("other", pools=("q", "r"))
    with pytest.raises(NoWorkerAvailable, match="no worker of pool 'p' is connected") as caught:
        await one.dispatcher.assign("p", "e", None)
    assert caught.value.asked == 0
    assert [load.pool for load in caught.value.pools] == ["q", "r"]


async def test_a_full_pool_is_told_as_full() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    await running(one, crew)
    with pytest.raises(NoWorkerAvailable, match="pool 'p' is full: 1 of 1 places taken"):
        await one.dispatcher.assign("p", "e", None)


async def test_the_walk_ends_when_its_time_is_over() -> None:
    one = await house(task_accept_timeout=0.02, task_assign_timeout=0.03)
    crew = Crew(one)
    for n in range(9):
        await crew.hire(f"w{n}", "is silent")
    with pytest.raises(NoWorkerAvailable) as caught:
        await one.dispatcher.assign("p", "e", None)
    assert caught.value.asked < 9
    assert await one.dispatcher.pools() == [PoolLoad("p", 9, 9, 0)], "no place is left taken"


async def test_who_does_not_read_is_followed_at_once() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    await one.open_worker("p", client_id="full", outbox=TricklingOutbox(0))
    await crew.hire("b")
    with Counted() as counted:
        assert (await one.dispatcher.assign("p", "e", None)).worker == "w/b"
    assert counted.gained == {"gone": 1, "accepted": 1}


async def test_a_socket_that_is_closing_is_offered_nothing() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    closing = await crew.hire("a")
    closing.close(1012, "drain")
    await crew.hire("b")
    assert (await one.dispatcher.assign("p", "e", None)).worker == "w/b"
    assert crew.offers("a") == []


async def test_a_socket_that_is_unknown_here_is_followed_at_once() -> None:
    one = await house(task_accept_timeout=LONG)
    session = await one.open_worker("p", client_id="a")
    one.hub.discard(session)
    with pytest.raises(NoWorkerAvailable, match="none of 1 workers"):
        await one.dispatcher.assign("p", "e", None)


# --- assign: what is lost between


async def test_a_lost_offer_is_a_time_out() -> None:
    one = await house(task_accept_timeout=SHORT)
    crew = Crew(one)
    far = local_session("w", client_id="far", node="elsewhere")  # nobody hears that node's group
    await one.dispatcher.worker_joined(seat_of(far))
    await crew.hire("near")
    assert (await one.dispatcher.assign("p", "e", None)).worker == "w/near"


def seat_of(session: LocalSession) -> Seat:
    return seat(worker_name(session.info), session=session.info.id, node="elsewhere")


async def test_an_offer_goes_to_the_node_of_its_worker_and_the_verdict_comes_back() -> None:
    one = await house(task_accept_timeout=LONG)
    there: list[dict[str, Any]] = []

    def far_node(message: Message) -> None:
        there.append(dict(message))

    await one.layer.group_add_sink(node_group("elsewhere"), far_node)
    far = local_session("w", client_id="far")
    await one.dispatcher.worker_joined(seat_of(far))
    assigning = asyncio.ensure_future(one.dispatcher.assign("p", "e", {"n": 1}))
    await until(lambda: there)
    (message,) = there
    assert (message["type"], message["session"]) == ("task.offer", far.info.id)
    assert message["node"] == "here", "who waits for the verdict"
    frame = json.loads(message["text"])
    assert frame["data"] == {"n": 1} and frame["offer"] == message["offer"]
    assert await one.dispatcher.accept("w/far", frame["task"], frame["offer"])
    assert (await assigning).worker == "w/far"


async def test_a_lost_verdict_is_found_in_the_records() -> None:
    """It was accepted, and nothing may ask another worker then."""
    one = await house(task_accept_timeout=SHORT)
    crew = Crew(one)
    lost = asyncio.Event()
    tell_node = one.dispatcher._tell_node

    async def lossy(node: str, /, **message: Any) -> None:
        if message["type"] == "task.verdict":
            lost.set()
        else:
            await tell_node(node, **message)

    one.dispatcher._tell_node = lossy
    await crew.hire("a")
    await crew.hire("b")
    task = await one.dispatcher.assign("p", "e", None)
    assert lost.is_set() and crew.asked == ["a"]
    assert (task.worker, task.state) == ("w/a", TaskState.RUNNING)


async def test_a_lost_no_is_found_in_the_records() -> None:
    one = await house(task_accept_timeout=SHORT)
    crew = Crew(one)

    async def lossy(node: str, /, **message: Any) -> None:
        if message["type"] != "task.verdict":
            await one.bus.tell(node, **message)

    one.dispatcher._tell_node = lossy
    await crew.hire("a", "rejects")
    await crew.hire("b", "leaves")
    with pytest.raises(NoWorkerAvailable, match="none of 2 workers"):
        await one.dispatcher.assign("p", "e", None)
    assert crew.asked == ["a", "b"]


async def test_an_accept_in_the_moment_of_the_time_out_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time-out has passed, the withdrawal is on its way, and the accept is first."""
    one = await house(task_accept_timeout=SHORT)
    crew = Crew(one)
    await crew.hire("a", "is silent")
    await crew.hire("b")
    withdraw = one.tasks.withdraw

    async def late(task_id: str, offer_id: str) -> Task | None:
        assert await one.dispatcher.accept("w/a", task_id, offer_id)
        return await withdraw(task_id, offer_id)

    monkeypatch.setattr(one.tasks, "withdraw", late)
    task = await one.dispatcher.assign("p", "e", None)
    assert (task.worker, task.state) == ("w/a", TaskState.RUNNING)
    assert crew.asked == ["a"]


async def test_a_task_that_ended_before_the_verdict_came_is_returned_so() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    tell_node = one.dispatcher._tell_node

    async def slow(node: str, /, **message: Any) -> None:
        if message["type"] == "task.verdict":
            (offered,) = crew.offers("a")
            await one.dispatcher.end("w/a", offered["task"], TaskState.DONE, result=Raw(b"7"))
        await tell_node(node, **message)

    one.dispatcher._tell_node = slow
    await crew.hire("a")
    task = await one.dispatcher.assign("p", "e", None)
    assert (task.state, task.result) == (TaskState.DONE, 7)


async def test_verdicts_that_nobody_waits_for_are_nothing() -> None:
    one = await house()
    for _ in range(2):
        one.dispatcher.on_node_message({"type": "task.verdict", "offer": "x", "accepted": True})
    with pytest.raises(ValueError, match=r"'task.else' is not for a node"):
        one.dispatcher.on_node_message({"type": "task.else"})


async def test_a_verdict_that_comes_twice_is_taken_once() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)

    async def twice(node: str, /, **message: Any) -> None:
        for _ in range(2 if message["type"] == "task.verdict" else 1):
            one.bus.receive(message)

    one.dispatcher._tell_node = twice
    await crew.hire("a", "rejects")
    await crew.hire("b", "accepts")
    task = await one.dispatcher.assign("p", "e", None)
    assert task.worker == "w/b"
    await until(lambda: len(crew.answers) == 2)
    assert crew.answers == {"a": True, "b": True}


# --- assign: it cannot be


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"pool": ""}, "pool's name"),
        ({"pool": "a b"}, "pool's name"),
        ({"pool": 5}, "pool's name"),
        ({"event": ""}, "event must be"),
        ({"event": "x" * 256}, "event must be"),
        ({"user_id": ""}, "user id"),
        ({"user_id": True}, "user id"),
        ({"timeout": 0}, "timeout is a number"),
        ({"timeout": -1}, "timeout is a number"),
        ({"timeout": float("nan")}, "timeout is a number"),
        ({"timeout": float("inf")}, "timeout is a number"),
        ({"timeout": 10**400}, "timeout is a number"),
        ({"timeout": "5"}, "timeout is a number"),
        ({"timeout": True}, "timeout is a number"),
        ({"data": object()}, "cannot be written as JSON"),
        ({"data": "\ud800"}, "cannot be written as JSON"),
    ],
    ids=lambda v: str(v)[:30].encode("ascii", "replace").decode(),
)
async def test_what_the_caller_did_wrong_is_told(given: dict[str, Any], text: str) -> None:
    one = await house()
    crew = Crew(one)
    await crew.hire("a")
    with pytest.raises(InvalidMessage, match=text):
        await one.dispatcher.assign(**{"pool": "p", "event": "e", "data": None} | given)
    assert crew.asked == [] and one.tasks._live == {}


async def test_too_large_a_task_is_told() -> None:
    one = await house(max_message_size=1_000)
    crew = Crew(one)
    await crew.hire("a", capacity=2)
    with pytest.raises(MessageTooLarge, match="MAX_MESSAGE_SIZE is 1000"):
        await one.dispatcher.assign("p", "e", "x" * 999)
    assert (await one.dispatcher.assign("p", "e", "x" * 998)).state is TaskState.RUNNING


@pytest.mark.parametrize("moment", ["the first offer", "the second offer", "the last word"])
async def test_records_that_are_away_are_told_and_nothing_runs_unknown(
    monkeypatch: pytest.MonkeyPatch, moment: str, heard: list[Task]
) -> None:
    one = await house(task_accept_timeout=LONG, executor=ImmediateExecutor())
    crew = Crew(one)
    await crew.hire("a", "accepts" if moment == "the last word" else "rejects")
    await crew.hire("b")
    offer = one.tasks.offer
    asked = 0

    async def away(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == {"the first offer": 1, "the second offer": 2}.get(moment):
            raise GatewayUnavailable("the store is away")
        return await offer(*args)

    monkeypatch.setattr(one.tasks, "offer", away)
    if moment == "the last word":
        get = one.tasks.get
        # The first is before anything is offered: whether it is a repetition.
        results = iter([None, GatewayUnavailable("the store is away")])

        async def fails_once(task_id: str) -> Task | None:
            if (error := next(results, None)) is not None:
                raise error
            return await get(task_id)

        monkeypatch.setattr(one.tasks, "get", fails_once)
    with pytest.raises(GatewayUnavailable):
        await one.dispatcher.assign("p", "e", None, id="T")
    await one.settle()
    assert one.tasks._live == {} and one.dispatcher._verdicts == {}
    await one.announcer.finish(5)
    if moment == "the last word":
        assert [task.state for task in heard] == [TaskState.CANCELLED]
        assert crew.told("a")[-1] == {"type": "task.cancel", "task": "T", "reason": "cancelled"}
    else:
        assert heard == []


async def test_records_that_stay_away_are_no_error_of_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be taken back ends by its own deadlines; the log says so in a line."""
    one = await house(task_accept_timeout=LONG)
    await Crew(one).hire("a")

    async def away(*args: Any) -> Any:
        raise GatewayUnavailable("the store is away")

    for name in ("offer", "drop"):
        monkeypatch.setattr(one.tasks, name, away)
    spawned: list[asyncio.Task[None]] = []
    spawn = one.dispatcher._spawn

    def note(work: Any) -> asyncio.Task[None]:
        spawned.append(spawn(work))
        return spawned[-1]

    monkeypatch.setattr(one.dispatcher, "_spawn", note)
    with pytest.raises(GatewayUnavailable):
        await one.dispatcher.assign("p", "e", None, id="T")
    await asyncio.wait(spawned)
    assert [task.exception() for task in spawned] == [None]
    assert "task T could not be taken back: the store is away" in caplog.text


async def test_a_layer_that_is_away_asks_nobody() -> None:
    layer = FailingLayer()
    one = await house(layer=layer, task_accept_timeout=0.02)
    crew = Crew(one)
    await crew.hire("a")
    layer.failing.add("group_send")
    with pytest.raises(NoWorkerAvailable, match="none of 1 workers"):
        await one.dispatcher.assign("p", "e", None)
    assert crew.asked == [] and one.tasks._live == {}


@pytest.mark.parametrize("conduct", ["is silent", "accepts"])
async def test_a_caller_that_goes_takes_its_task_with_it(
    conduct: str, heard: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It will never know the id: nothing may run on that nobody can ask for or cancel."""
    one = await house(task_accept_timeout=LONG, executor=ImmediateExecutor())
    crew = Crew(one)
    await crew.hire("a", conduct)
    if conduct == "accepts":
        never = asyncio.Event()
        get = one.tasks.get

        async def gated(task_id: str) -> Task | None:
            if not crew.answers:  # before anything is offered: whether it is a repetition
                return await get(task_id)
            monkeypatch.undo()
            await never.wait()
            raise AssertionError

        monkeypatch.setattr(one.tasks, "get", gated)
    assigning = asyncio.ensure_future(one.dispatcher.assign("p", "e", None, id="T"))
    await until(lambda: crew.asked and (conduct == "is silent" or crew.answers))
    for _ in range(5):
        await asyncio.sleep(0)
    assigning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await assigning
    await one.settle()
    await one.announcer.finish(5)
    found = await one.dispatcher.get("T")
    assert found is not None and found.state is TaskState.CANCELLED
    assert [task.id for task in heard] == ["T"]
    assert crew.told("a")[-1] == {"type": "task.cancel", "task": "T", "reason": "cancelled"}
    assert one.dispatcher._verdicts == {}
    assert await one.dispatcher.pools() == [PoolLoad("p", 1, 1, 0)]


# --- a worker that opens, and one that is replaced


async def test_an_offer_before_the_welcome_waits_for_it() -> None:
    one = await house(task_accept_timeout=LONG)
    session = local_session("w", client_id="a", kind=Kind.WORKER)
    await one.sessions.open_worker(session, ("p",), 1)
    assigning = asyncio.ensure_future(one.dispatcher.assign("p", "e", None))
    await until(lambda: session._early)
    assert outbox_of(session).frames == []
    frame = json.loads((session._early or [])[0].payload)
    assert frame["type"] == "task"
    assert await one.dispatcher.accept("w/a", frame["task"], frame["offer"])
    assert (await assigning).worker == "w/a"


async def test_so_many_wait_for_a_welcome_and_no_more() -> None:
    one = await house(task_accept_timeout=0.5, task_assign_timeout=0.5)
    session = local_session("w", client_id="a", kind=Kind.WORKER)
    await one.sessions.open_worker(session, ("p",), 1_000)
    calls = [one.dispatcher.assign("p", "e", None) for _ in range(MAX_EARLY + 3)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, NoWorkerAvailable) for result in results)
    assert len(session._early or ()) == MAX_EARLY
    assert one.tasks._live == {}


async def test_a_worker_that_was_replaced_late_does_not_take_the_seat() -> None:
    """Its registration went first and its seat would come last: the newer one must be asked."""
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    await crew.hire("a")
    gate, waits = asyncio.Event(), asyncio.Event()
    register = one.presence.register
    older = local_session("w", client_id="a", kind=Kind.WORKER)

    async def gated(info: SessionInfo, by: str = "") -> Registered:
        done = await register(info, by)
        if info.id == older.info.id:
            waits.set()
            await gate.wait()
        return done

    one.presence.register = gated  # type: ignore[method-assign]
    opening = asyncio.ensure_future(one.sessions.open_worker(older, ("p",), 1))
    await waits.wait()
    newer = await one.open_worker("p", client_id="a")
    gate.set()
    await asyncio.wait({opening})
    assert older.close_code == 4503 and newer.close_code is None
    await one.sessions.close(older, 4503, "")
    sits = await one.tasks.seat_of("w/a")
    assert sits is not None and sits.session == newer.info.id


# --- what a worker says


async def test_a_reject_of_another_ones_offer_is_nothing() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    await crew.hire("a", "is silent")
    await crew.hire("b", "is silent")
    assigning = asyncio.ensure_future(one.dispatcher.assign("p", "e", None))
    await until(lambda: crew.asked)
    (offered,) = crew.offers("a")
    for call in (one.dispatcher.reject, one.dispatcher.accept):
        assert await call("w/b", offered["task"], offered["offer"]) is False
        assert await call("w/a", offered["task"], "another") is False
        assert await call("w/a", "another", offered["offer"]) is False
    assert not assigning.done() and crew.asked == ["a"]
    assert await one.dispatcher.accept("w/a", offered["task"], offered["offer"]) is True
    assert (await assigning).worker == "w/a"


async def test_accepting_twice_is_refused_and_harms_nothing() -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew)
    (offered,) = crew.offers("a")
    assert await one.dispatcher.accept("w/a", task.id, offered["offer"]) is False
    assert await one.dispatcher.reject("w/a", task.id, offered["offer"]) is False
    found = await one.dispatcher.get(task.id)
    assert found == task


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (TaskState.DONE, {"result": Raw(b'{"n": [1.50]}')}),
        (TaskState.FAILED, {"error": "no such file"}),
        (TaskState.RELEASED, {"error": "going"}),
    ],
)
async def test_a_worker_ends_its_task_and_may_say_so_again(
    state: TaskState, said: dict[str, Any], heard: list[Task]
) -> None:
    one = await house(executor=ImmediateExecutor())
    crew = Crew(one)
    task = await running(one, crew)
    for _ in range(3):
        assert await one.dispatcher.end("w/a", task.id, state, **said) is True
    await one.announcer.finish(5)
    (ended,) = heard
    assert ended == await one.dispatcher.get(task.id)
    assert (ended.state, ended.error) == (state, said.get("error", ""))
    assert ended.result == ({"n": [1.5]} if state is TaskState.DONE else None)
    for other in {TaskState.DONE, TaskState.FAILED, TaskState.RELEASED} - {state}:
        assert await one.dispatcher.end("w/a", task.id, other) is False, "it ended otherwise"
    assert await one.dispatcher.end("w/b", task.id, state) is False, "not its own"
    assert len(heard) == 1


async def test_a_task_that_was_lost_or_cancelled_cannot_be_ended(heard: list[Task]) -> None:
    one = await house(executor=ImmediateExecutor())
    crew = Crew(one)
    task = await running(one, crew)
    assert await one.dispatcher.cancel(task.id) is True
    assert await one.dispatcher.cancel(task.id) is False
    for state in (TaskState.DONE, TaskState.FAILED, TaskState.RELEASED):
        assert await one.dispatcher.end("w/a", task.id, state) is False
    assert await one.dispatcher.progress("w/a", task.id, Raw(b"1")) is False
    assert await one.dispatcher.end("w/a", "unknown", TaskState.DONE) is False
    await one.announcer.finish(5)
    assert [task.state for task in heard] == [TaskState.CANCELLED]
    assert crew.told("a")[-1] == {"type": "task.cancel", "task": task.id, "reason": "cancelled"}


async def test_what_was_never_there_cannot_be_cancelled(heard: list[Task]) -> None:
    one = await house()
    assert await one.dispatcher.cancel("unknown") is False
    assert await one.dispatcher.get("unknown") is None
    assert heard == []


async def test_a_result_that_cannot_be_told_ends_nothing() -> None:
    one = await house(max_message_size=2_000)
    crew = Crew(one)
    task = await running(one, crew)
    large = Raw(b'"' + b"x" * 1_600 + b'"')
    with pytest.raises(MessageTooLarge):
        await one.dispatcher.end("w/a", task.id, TaskState.DONE, result=large)
    with pytest.raises(BadFrame):
        await one.dispatcher.end("w/a", task.id, TaskState.DONE, result=Raw(b"1e999"))
    found = await one.dispatcher.get(task.id)
    assert found is not None and found.state is TaskState.RUNNING
    assert await one.dispatcher.end("w/a", task.id, TaskState.DONE, result=Raw(b"1"))


LIMIT = 4_096


@pytest.mark.parametrize(
    "result",
    [
        b"[" + b"1e15," * 100 + b"0]",
        b"[" * 200 + b"]" * 200,
        b"123456789012345678901234567890",
        b'"' + b"\\u00e9" * 500 + b'"',
        b'"' + b"x" * (LIMIT - 512 - 2) + b'"',
    ],
    ids=["numbers that grow", "nesting", "a large integer", "escapes", "the largest"],
)
async def test_every_result_that_was_taken_reaches_the_user(
    result: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    one = await house(max_message_size=LIMIT, executor=ImmediateExecutor())
    crew = Crew(one)
    tab = await one.open("42")
    task = await running(one, crew, user_id="42")
    assert await one.dispatcher.end("w/a", task.id, TaskState.DONE, result=Raw(result))
    await one.announcer.finish(5)
    await one.settle()
    assert outbox_of(tab).events == ["task.done"], caplog.text
    (frame,) = outbox_of(tab).frames
    assert frame["data"]["data"] == json.loads(result)


@pytest.mark.parametrize(
    "result",
    [
        b"[" + b"1e15," * 700 + b"0]",  # 4 characters each, and 18 when Python writes them
        b'"' + b"x" * (LIMIT - 512 - 1) + b'"',
    ],
    ids=["numbers that grow", "too large"],
)
async def test_a_result_that_could_not_be_told_is_not_taken(result: bytes) -> None:
    one = await house(max_message_size=LIMIT)
    crew = Crew(one)
    task = await running(one, crew, user_id="42")
    with pytest.raises(MessageTooLarge):
        await one.dispatcher.end("w/a", task.id, TaskState.DONE, result=Raw(result))
    assert await one.dispatcher.get(task.id) == task


async def test_progress_is_a_sign_of_life_and_reaches_the_user() -> None:
    one = await house(task_timeout=10)
    crew = Crew(one)
    tab = await one.open("42")
    task = await running(one, crew, user_id="42")
    for n in range(3):
        one.clock.advance(9)
        assert await one.tasks.overdue() == []
        assert await one.dispatcher.progress("w/a", task.id, Raw(b'{"n": %d}' % n)) is True
    assert [frame["data"] for frame in outbox_of(tab).frames] == [
        {"task": task.id, "data": {"n": n}} for n in range(3)
    ]
    head = await one.streams.head("42")
    page = await one.streams.read("42", type(head)(head.epoch, 0), 10)
    assert len(page.entries) == 1, "each replaces the one before"
    one.clock.advance(11)
    assert len(await one.tasks.overdue()) == 1


async def test_progress_that_is_not_for_the_user_is_a_sign_of_life() -> None:
    one = await house(task_timeout=10)
    crew = Crew(one)
    tab = await one.open("42")
    task = await running(one, crew, user_id="42", progress_to_user=False)
    one.clock.advance(9)
    assert await one.dispatcher.progress("w/a", task.id, Raw(b"1")) is True
    one.clock.advance(9)
    assert await one.tasks.overdue() == [] and outbox_of(tab).events == []


async def test_progress_without_data_is_a_sign_of_life_that_nobody_hears() -> None:
    one = await house(task_timeout=10)
    crew = Crew(one)
    tab = await one.open("42")
    task = await running(one, crew, user_id="42")
    one.clock.advance(9)
    assert await one.dispatcher.progress("w/a", task.id, None) is True
    one.clock.advance(9)
    assert await one.tasks.overdue() == [] and outbox_of(tab).events == []


async def test_only_its_holder_tells_progress() -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew)
    await crew.hire("b")
    assert await one.dispatcher.progress("w/b", task.id, Raw(b"1")) is False
    assert await one.dispatcher.progress("w/a", task.id, Raw(b"1")) is True


async def test_the_end_is_the_last_that_the_user_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """A progress that is on its way when the task is cancelled would collapse the news of that."""
    one = await house(executor=ImmediateExecutor())
    crew = Crew(one)
    task = await running(one, crew, user_id="42")
    append = one.streams.append
    gate, waits = asyncio.Event(), asyncio.Event()

    async def slow(user: str, entry: Any) -> Any:
        if b"task.progress" in entry.body:
            waits.set()
            await gate.wait()
        return await append(user, entry)

    monkeypatch.setattr(one.streams, "append", slow)
    progress = asyncio.ensure_future(one.dispatcher.progress("w/a", task.id, Raw(b"1")))
    await waits.wait()
    await one.dispatcher.cancel(task.id)
    for _ in range(10):
        await asyncio.sleep(0)
    gate.set()
    await progress
    await one.announcer.finish(5)
    head = await one.streams.head("42")
    page = await one.streams.read("42", type(head)(head.epoch, 0), 10)
    assert json.loads(page.entries[-1].body)["event"] == "task.cancelled"


async def test_a_worker_that_returns_is_told_what_it_holds() -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew)
    await one.sessions.close(crew.sessions["a"], 1006, "")
    session = local_session("w", client_id="a", kind=Kind.WORKER)
    assert [held.id for held in await one.sessions.open_worker(session, ("p",), 1)] == [task.id]


async def test_a_worker_that_leaves_twice_is_gone_once() -> None:
    one = await house(task_accept_timeout=LONG)
    crew = Crew(one)
    session = await crew.hire("a", "is silent")
    assigning = asyncio.ensure_future(one.dispatcher.assign("p", "e", None))
    await until(lambda: crew.asked)
    with Counted() as counted:
        for _ in range(2):
            await one.dispatcher.worker_left("w/a", session.info.id)
        with pytest.raises(NoWorkerAvailable):
            await assigning
    assert counted.gained == {"gone": 1, "unassigned": 1}


# --- stopping a worker


@pytest.mark.parametrize("reason", ["cancelled", "lost"])
async def test_the_worker_is_told_to_stop(reason: str) -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew, timeout=5)
    if reason == "lost":
        one.clock.advance(6)
        for lost in await one.tasks.overdue():
            one.announcer.ended(lost)
    else:
        await one.dispatcher.cancel(task.id)
    await one.announcer.finish(5)
    assert crew.told("a")[-1] == {"type": "task.cancel", "task": task.id, "reason": reason}


async def test_a_stop_goes_to_the_socket_that_the_worker_has_now() -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew)
    first = crew.sessions["a"]
    await crew.hire("a")
    await one.dispatcher.cancel(task.id)
    await one.announcer.finish(5)
    assert outbox_of(first).frames[-1]["type"] == "task"
    assert crew.told("a") == [{"type": "task.cancel", "task": task.id, "reason": "cancelled"}]


async def test_a_worker_that_is_away_is_not_stopped_and_all_others_hear(
    heard: list[Task],
) -> None:
    one = await house()
    crew = Crew(one)
    task = await running(one, crew)
    await one.sessions.close(crew.sessions["a"], 1006, "")
    await one.dispatcher.cancel(task.id)
    await one.announcer.finish(5)
    assert [ended.id for ended in heard] == [task.id]


# --- the watch


async def test_the_watch_finds_what_is_overdue_and_outlasts_a_failure(
    heard: list[Task], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await house(task_grace=0.1, task_timeout=0.1)
    crew = Crew(one)
    task = await running(one, crew)
    overdue = one.tasks.overdue
    rounds = 0

    async def fails_first() -> list[Task]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise GatewayUnavailable("the store is away")
        if rounds == 2:
            raise RuntimeError("a bug")
        return await overdue()

    monkeypatch.setattr(one.tasks, "overdue", fails_first)
    one.clock.advance(1)
    with caplog.at_level(logging.ERROR):
        watch = asyncio.ensure_future(one.dispatcher.watch())
        await until(lambda: heard)
        watch.cancel()
        await asyncio.wait({watch})
    assert watch.cancelled()
    assert [(lost.id, lost.state) for lost in heard] == [(task.id, TaskState.LOST)]
    assert "a bug" in caplog.text
    assert "the store is away" not in caplog.text, "the renewal says that, once"


# --- the end


async def test_at_the_end_what_runs_is_lost_and_that_is_told(heard: list[Task]) -> None:
    one = await house()
    crew = Crew(one)
    tab = await one.open("42")
    task = await running(one, crew, user_id="42", progress_to_user=False)
    await one.dispatcher.close(5)
    assert [(lost.id, lost.state) for lost in heard] == [(task.id, TaskState.LOST)]
    assert outbox_of(tab).frames[-1]["data"] == {"task": task.id}
    assert outbox_of(tab).events == ["task.lost"]
    await one.dispatcher.close(5)
    assert len(heard) == 1


async def test_a_call_that_waits_at_the_end_is_answered() -> None:
    one = await house(task_accept_timeout=0.05)
    crew = Crew(one)
    await crew.hire("a", "is silent")
    assigning = asyncio.ensure_future(one.dispatcher.assign("p", "e", None))
    await until(lambda: crew.asked)
    await one.dispatcher.close(5)
    assert (await assigning).state is TaskState.LOST


async def test_an_operator_hands_a_task_back(heard: list[Task]) -> None:
    """As its worker would: it ends as released, and the worker is told to stop."""
    one = await house(executor=ImmediateExecutor())
    crew = Crew(one)
    await crew.hire("a", "accepts")
    task = await one.dispatcher.assign("p", "e", None)
    ended = await one.dispatcher.hand_back(task.id, "by an operator")
    assert ended is not None
    assert (ended.state, ended.error) == (TaskState.RELEASED, "by an operator")
    await one.announcer.finish(5)
    assert [(one.id, one.state) for one in heard] == [(task.id, TaskState.RELEASED)]
    assert crew.told("a")[-1] == {"type": "task.cancel", "task": task.id, "reason": "released"}
    assert await one.dispatcher.hand_back(task.id, "") is None, "it does not run any more"
    assert await one.dispatcher.hand_back("unknown", "") is None


async def test_a_worker_that_cannot_be_told_keeps_no_task(
    heard: list[Task], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await house(executor=ImmediateExecutor())
    crew = Crew(one)
    await crew.hire("a", "accepts")
    task = await one.dispatcher.assign("p", "e", None)

    async def away(worker: str) -> None:
        raise GatewayUnavailable("the store is away")

    monkeypatch.setattr(one.tasks, "seat_of", away)
    assert await one.dispatcher.hand_back(task.id, "") is not None
    assert "is not told to stop" in caplog.text
    await one.announcer.finish(5)
    assert [one.state for one in heard] == [TaskState.RELEASED]
