"""What a worker asks, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sockets.exceptions import GatewayUnavailable
from sockets.layers.groups import worker_group
from sockets.node.node import Node
from sockets.protocol.connection import MAX_BAD_FRAMES
from sockets.types import Kind, Task, TaskState
from tests.support.doubles import MemoryNode, task_signals
from tests.support.patience import PATIENCE
from tests.unit.consumers.conftest import Peer

MakePeer = Callable[..., Peer]


async def test_the_welcome_of_a_worker(node: Node, worker: MakePeer) -> None:
    one = worker("name=gpu-1&pools=image.convert,,video&workerId=01ARZ3NDEKTSV4RRFFQ69G5FAV")
    welcome = await one.opened()
    (session,) = node.hub
    assert welcome == {
        "type": "welcome",
        "session": session.info.id,
        "worker": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "pools": ["image.convert", "video"],
        "node": "here",
        "heartbeat": 25.0,
        "limits": {"frame": 65_536, "message": 2_000},
        "tasks": [],
        "quiet": True,
    }
    assert (session.info.kind, session.info.user, session.info.agent) == (
        Kind.WORKER,
        "converter",
        "gpu-1",
    )


async def test_a_worker_notifies_a_user(node: Node, worker: MakePeer, client: MakePeer) -> None:
    tab, one = client(), worker()
    epoch = (await tab.opened())["epoch"]
    await one.opened()
    await one.send_to(
        '{"type":"notify","user":"42","event":"e","data":{"n":1.50,"big":9007199254740993},"ref":1}'
    )
    reply = await one.frame()
    assert (reply["ok"], reply["epoch"], reply["offset"]) == (True, epoch, 1)
    text = (await tab.receive_output(timeout=PATIENCE))["text"]
    assert '"data":{"n":1.50,"big":9007199254740993}' in text, "as the worker wrote it"
    ephemeral = await one.ask(type="notify", user="42", event="e", durable=False)
    assert "offset" not in ephemeral and ephemeral["id"]


async def test_a_repeated_key_is_told(worker: MakePeer) -> None:
    one = worker()
    await one.opened()
    first, again = [
        await one.ask(type="notify", user="42", event="e", idempotency_key="k") for _ in range(2)
    ]
    assert again == first | {"duplicate": True}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"data": "x" * 3_000}, "too_large"),
        ({"durable": False, "ttl": 5}, "bad_message"),
        ({"user": "한" * 400}, "bad_message"),
        ({"exclude_client": "x" * 26}, "bad_message"),
        ({"exclude_client": "0" * 1_000}, "bad_message"),
        ({"exclude_client": 7}, "bad_message"),
        ({"event": ""}, "bad_message"),
    ],
)
async def test_what_cannot_be_sent_is_told(
    worker: MakePeer, given: dict[str, Any], code: str
) -> None:
    one = worker()
    await one.opened()
    answer = await one.ask(**{"type": "notify", "user": "42", "event": "e"} | given)
    assert answer["ok"] is False and answer["error"]["code"] == code


async def test_the_client_that_caused_it_gets_no_echo(worker: MakePeer, client: MakePeer) -> None:
    one, mine, other = worker(), client(), client()
    id = (await mine.opened())["client"]
    await one.opened(), await other.opened()
    told = await one.ask(type="notify", user="42", event="e", exclude_client=id.lower())
    assert told["ok"] and (await other.frame())["event"] == "e"
    assert (await mine.frame())["type"] == "position"


async def test_frames_that_could_be_read_are_no_bad_frames(worker: MakePeer) -> None:
    """4500 means: never come back. It is for a peer that cannot speak, not for large results."""
    one = worker()
    await one.opened()
    for _ in range(MAX_BAD_FRAMES + 4):
        answer = await one.ask(type="notify", user="42", event="e", data="x" * 3_000)
        assert answer["error"]["code"] == "too_large"
    assert (await one.ask(type="presence", user="42"))["ok"]


async def test_presence(worker: MakePeer, client: MakePeer) -> None:
    tab, one = client(), worker()
    await one.opened()
    assert await one.ask(type="presence", user="42") == {
        "type": "reply",
        "ref": "r",
        "ok": True,
        "online": False,
        "sessions": [],
        "more": False,
    }
    welcome = await tab.opened()
    answer = await one.ask(type="presence", user="42")
    assert answer["online"] is True
    (session,) = answer["sessions"]
    assert (session["session"], session["client"]) == (welcome["session"], welcome["client"])


async def test_attached_workers_hear_what_a_users_clients_send(
    worker: MakePeer, client: MakePeer
) -> None:
    tab, one, other = client(), worker(), worker()
    me = (await tab.opened())["client"]
    for peer in (one, other):
        await peer.opened()
    for _ in range(2):
        assert (await one.ask(type="attach", user="42"))["ok"]
    await tab.send_to('{"type":"send","event":"start","data":{"n":1.50}}')
    message = await one.receive_output(timeout=PATIENCE)
    assert message["text"] == (
        f'{{"type":"message","user":"42","client":"{me}","event":"start","data":{{"n":1.50}}}}'
    )
    assert (await one.ask(type="detach", user="42"))["ok"]
    assert (await tab.ask(type="send", event="unheard"))["ok"]
    assert (await one.ask(type="detach", user="42"))["ok"]
    assert await other.receive_nothing(0.02)


async def test_a_worker_is_attached_to_so_many_users_and_no_more(worker: MakePeer) -> None:
    one = worker()
    await one.opened()
    for user in ("1", "2", "3", "3"):
        assert (await one.ask(type="attach", user=user))["ok"]
    answer = await one.ask(type="attach", user="4")
    assert answer["ok"] is False and "attached to 3 users" in answer["error"]["message"]
    await one.ask(type="detach", user="1")
    assert (await one.ask(type="attach", user="4"))["ok"]


async def test_an_attach_that_failed_can_be_repeated(
    node: MemoryNode, worker: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second one is answered `ok`, and nothing ever arrives."""
    one = worker()
    await one.opened()

    async def away(*args: Any) -> Any:
        raise GatewayUnavailable("the layer is away")

    with monkeypatch.context() as broken:
        broken.setattr(node.layer, "group_add_sink", away)
        await one.write(type="attach", user="42", ref="first")
        assert (await one.frame())["ok"] is False
    assert (await one.ask(type="attach", user="42"))["ok"]
    assert worker_group("42") in node.layer._fanout
    await one.leave()
    assert worker_group("42") not in node.layer._fanout


async def test_what_a_full_worker_missed_is_counted(
    node: Node, worker: MakePeer, client: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, one = client(), worker()
    await tab.opened()
    await one.opened()
    await one.ask(type="attach", user="42")
    (session,) = [session for session in node.hub if session.info.kind is Kind.WORKER]
    monkeypatch.setattr(session.outbox, "_waiting", 10**9)
    assert (await tab.ask(type="send", event="lost"))["ok"]
    assert session.missed == 1


async def test_another_message_to_a_worker_group_harms_nobody(
    node: Node, worker: MakePeer, client: MakePeer
) -> None:
    tab, one = client(), worker()
    await tab.opened()
    await one.opened()
    await one.ask(type="attach", user="42")
    whole = {"user": "42", "client": "c", "event": "e", "data": b"1"}
    for bad in ({"type": "chat.message", **whole}, {"type": "user.send"}):
        await node.layer.group_send(worker_group("42"), bad)
    await tab.ask(type="send", event="next")
    assert (await one.frame())["event"] == "next"


# --- pools and capacity

WORKER = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.parametrize(
    ("query", "pools", "capacity"),
    [
        ("", [], None),
        ("pools=", [], None),
        ("pools=,,", [], None),
        ("pools=a", ["a"], 1),
        ("pools=b,a,b,,a", ["b", "a"], 1),
        ("pools=a&capacity=1000", ["a"], 1_000),
        ("pools=a&capacity=007", ["a"], 7),
        ("pools=" + ",".join(f"p{n}" for n in range(16)), [f"p{n}" for n in range(16)], 1),
        ("pools=" + "x" * 64, ["x" * 64], 1),
    ],
    ids=lambda v: str(v)[:24],
)
async def test_what_pools_and_capacity_may_be(
    node: Node, worker: MakePeer, query: str, pools: list[str], capacity: int | None
) -> None:
    welcome = await worker(query).opened()
    assert welcome["pools"] == pools
    loads = await node.dispatcher.pools()
    assert [load.pool for load in loads] == sorted(pools)
    assert {load.capacity for load in loads} == ({capacity} if pools else set())


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("pools=a b", "pool 'a b'"),
        ("pools=a,b/c", "pool 'b/c'"),
        ("pools=%ED%95%9C", "pool"),
        ("pools=a%0A", "pool"),
        ("pools=" + "x" * 65, "1 to 64"),
        ("pools=" + ",".join(f"p{n}" for n in range(17)), "more than 16 pools"),
        ("capacity=0", "capacity is a number from 1 to 1000"),
        ("capacity=1001", "capacity"),
        ("capacity=-1", "capacity"),
        ("capacity=%2B1", "capacity"),
        ("capacity=1.5", "capacity"),
        ("capacity=", "capacity"),
        ("capacity=%D9%A1", "capacity"),
        ("capacity=%C2%B2", "capacity"),
        ("capacity=" + "9" * 5_000, "capacity"),
        ("capacity=000000001999", "capacity"),
        ("capacity=" + "0" * 5_000, "capacity"),
        ("capacity=000000001" + "9" * 5_000, "capacity"),
        ("name=" + "n" * 129, "name has more than 128"),
    ],
    ids=lambda v: str(v)[:24],
)
async def test_what_pools_and_capacity_may_not_be(
    node: Node, worker: MakePeer, query: str, text: str
) -> None:
    one = worker(query)
    accepted, _ = await one.connect(timeout=PATIENCE)
    assert accepted
    code, reason = await one.closed()
    assert code == 4500 and text in reason
    assert len(node.hub) == 0 and await node.dispatcher.pools() == []


# --- tasks


@pytest.fixture
def heard() -> Iterator[list[Task]]:
    told: list[Task] = []
    with task_signals(lambda task, **_: told.append(task)):
        yield told


async def offered(
    node: Node, one: Peer, data: object = None, **given: Any
) -> tuple[dict[str, Any], asyncio.Task[Task]]:
    """The offer that the worker reads, and the call that waits for its answer."""
    assigning = asyncio.create_task(node.dispatcher.assign("p", "e", data, **given))
    frame = await one.frame()
    assert frame["type"] == "task"
    return frame, assigning


async def begun(node: Node, one: Peer, **given: Any) -> str:
    """The id of a task that the worker has accepted."""
    frame, assigning = await offered(node, one, **given)
    assert (await one.ask(type="accept", task=frame["task"], offer=frame["offer"]))["ok"]
    assert (await assigning).state is TaskState.RUNNING
    task_id: str = frame["task"]
    return task_id


@pytest.mark.usefixtures("heard")
async def test_the_frames_of_a_task(node: Node, worker: MakePeer) -> None:
    one = worker(f"pools=p&worker_id={WORKER}")
    await one.opened()
    frame, assigning = await offered(node, one, {"n": 1.5}, user_id="42", timeout=9)
    id = frame["task"]
    assert frame == {
        "type": "task",
        "task": id,
        "offer": frame["offer"],
        "pool": "p",
        "user": "42",
        "event": "e",
        "data": {"n": 1.5},
        "timeout": 9.0,
    }
    ok = {"type": "reply", "ref": "r", "ok": True}
    assert await one.ask(type="accept", task=id, offer=frame["offer"]) == ok
    assert (await assigning).worker == f"converter/{WORKER}"
    assert await one.ask(type="progress", task=id, data={"percent": 50}) == ok
    assert await one.ask(type="done", task=id, data={"url": "/x"}) == ok
    assert await one.ask(type="done", task=id, data={"url": "/x"}) == ok, "a reply may be lost"
    found = await node.dispatcher.get(id)
    assert found is not None and (found.state, found.result) == (TaskState.DONE, {"url": "/x"})


@pytest.mark.parametrize(
    ("frame", "state", "error"),
    [
        ({"type": "done"}, TaskState.DONE, ""),
        ({"type": "failed", "error": "왜"}, TaskState.FAILED, "왜"),
        ({"type": "failed"}, TaskState.FAILED, ""),
        ({"type": "release"}, TaskState.RELEASED, ""),
        ({"type": "release", "error": "x" * 1_000}, TaskState.RELEASED, "x" * 1_000),
    ],
    ids=lambda v: str(v)[:24],
)
async def test_every_end_is_told_once(
    node: Node,
    worker: MakePeer,
    heard: list[Task],
    frame: dict[str, Any],
    state: TaskState,
    error: str,
) -> None:
    one = worker("pools=p")
    await one.opened()
    id = await begun(node, one)
    assert (await one.ask(task=id, **frame))["ok"]
    await node.announcer.finish(5)
    assert [(task.id, task.state, task.error) for task in heard] == [(id, state, error)]
    assert (await node.dispatcher.pools())[0].held == 0


@pytest.mark.usefixtures("heard")
async def test_a_worker_rejects_and_the_next_is_asked(node: Node, worker: MakePeer) -> None:
    one, two = worker("pools=p"), worker("pools=p")
    for peer in (one, two):
        await peer.opened()
    frame, assigning = await offered(node, one)
    assert (await one.ask(type="reject", task=frame["task"], offer=frame["offer"]))["ok"]
    again = await two.frame()
    assert again["task"] == frame["task"] and again["offer"] != frame["offer"]
    assert (await two.ask(type="accept", task=again["task"], offer=again["offer"]))["ok"]
    await assigning


@pytest.mark.parametrize("type", ["accept", "reject", "progress", "done", "failed", "release"])
@pytest.mark.parametrize("which", ["unknown", "another's"])
async def test_what_is_not_its_own_is_lost_to_a_worker(
    node: Node, worker: MakePeer, heard: list[Task], type: str, which: str
) -> None:
    one, other = worker("pools=p"), worker()
    for peer in (one, other):
        await peer.opened()
    id = await begun(node, one)
    frame = {"type": type, "task": id if which != "unknown" else WORKER}
    if type in ("accept", "reject"):
        frame["offer"] = "x"
    answer = await other.ask(**frame)
    assert answer["ok"] is False and answer["error"]["code"] == "task_lost"
    found = await node.dispatcher.get(id)
    assert found is not None and found.state is TaskState.RUNNING and heard == []
    assert (await other.ask(type="presence", user="42"))["ok"], "the socket stays open"


@pytest.mark.usefixtures("heard")
async def test_accepting_twice_or_too_late_is_lost(node: Node, worker: MakePeer) -> None:
    one, two = worker("pools=p"), worker("pools=p")
    for peer in (one, two):
        await peer.opened()
    frame, assigning = await offered(node, one)
    accept = {"type": "accept", "task": frame["task"], "offer": frame["offer"]}
    assert (await one.ask(**accept))["ok"]
    assert (await one.ask(**accept))["error"]["code"] == "task_lost"
    assert (await two.ask(**accept))["error"]["code"] == "task_lost"
    assert (await assigning).state is TaskState.RUNNING


@pytest.mark.usefixtures("heard")
async def test_without_a_ref_only_errors_are_answered(node: Node, worker: MakePeer) -> None:
    one = worker("pools=p")
    await one.opened()
    id = await begun(node, one)
    await one.write(type="progress", task=id, data=1)
    await one.write(type="progress", task="unknown", data=1)
    answer = await one.frame()
    assert (answer["ok"], answer["error"]["code"]) == (False, "task_lost")
    assert "ref" not in answer


async def test_too_large_a_result_can_be_followed_by_a_small_one(
    node: Node, worker: MakePeer, heard: list[Task]
) -> None:
    one = worker("pools=p")
    await one.opened()
    id = await begun(node, one)
    for type in ("done", "done"):
        answer = await one.ask(type=type, task=id, data="x" * 2_000)
        assert answer["error"]["code"] == "too_large"
    answer = await one.ask(type="failed", task=id, error="x" * 1_001)
    assert answer["error"]["code"] == "bad_message"
    await one.send_to(f'{{"type":"done","task":"{id}","data":1e999,"ref":"r"}}')
    assert (await one.frame())["error"]["code"] == "bad_message"
    assert heard == []
    assert (await one.ask(type="done", task=id, data="x"))["ok"]


@pytest.mark.usefixtures("heard")
async def test_progress_reaches_the_user(node: Node, worker: MakePeer, client: MakePeer) -> None:
    tab, one = client(), worker("pools=p")
    await tab.opened()
    await one.opened()
    id = await begun(node, one, user_id="42")
    await one.send_to(f'{{"type":"progress","task":"{id}","data":{{"n":1.50}}}}')
    text = (await tab.receive_output(timeout=PATIENCE))["text"]
    assert f'"data":{{"task":"{id}","data":{{"n":1.50}}}}' in text, "as the worker wrote it"
    answer = await one.ask(type="progress", task=id, data="x" * 2_000)
    assert answer["error"]["code"] == "too_large"


@pytest.mark.usefixtures("heard")
async def test_a_cancelled_task_stops_its_worker(node: Node, worker: MakePeer) -> None:
    one = worker("pools=p")
    await one.opened()
    id = await begun(node, one)
    assert await node.dispatcher.cancel(id)
    assert await one.frame() == {"type": "task.cancel", "task": id, "reason": "cancelled"}
    assert (await one.ask(type="done", task=id))["error"]["code"] == "task_lost"


async def test_a_worker_that_returns_finds_its_tasks_in_the_welcome(
    node: Node, worker: MakePeer, heard: list[Task]
) -> None:
    query = f"pools=p&capacity=2&worker_id={WORKER}"
    one = worker(query)
    await one.opened()
    ids = [await begun(node, one) for _ in range(2)]
    await one.leave(1006)
    again = worker(query)
    assert sorted((await again.opened())["tasks"]) == sorted(ids)
    for id in ids:
        assert (await again.ask(type="release", task=id))["ok"]
    await node.announcer.finish(5)
    assert {task.state for task in heard} == {TaskState.RELEASED}


@pytest.mark.usefixtures("heard")
async def test_a_worker_id_is_its_keys_own(node: Node, worker: MakePeer) -> None:
    """Another key with the same worker id is another worker: it gets none of the first one's."""
    one = worker(f"pools=p&worker_id={WORKER}")
    await one.opened()
    id = await begun(node, one)
    node.conf.worker_keys["other"] = node.conf.worker_keys.pop("converter")
    other = worker(f"pools=p&worker_id={WORKER}")
    assert (await other.opened())["tasks"] == []
    assert (await other.ask(type="done", task=id))["error"]["code"] == "task_lost"
    assert (await one.ask(type="done", task=id))["ok"]


@pytest.mark.usefixtures("heard")
async def test_an_offer_while_a_worker_opens_comes_after_its_welcome(
    node: Node, worker: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = node.dispatcher.worker_joined
    assigning: list[asyncio.Task[Task]] = []

    async def then_offered(*args: Any) -> Any:
        held = await joined(*args)
        assigning.append(asyncio.create_task(node.dispatcher.assign("p", "e", None)))
        for _ in range(10):
            await asyncio.sleep(0)
        return held

    monkeypatch.setattr(node.dispatcher, "worker_joined", then_offered)
    one = worker("pools=p")
    assert (await one.opened())["type"] == "welcome"
    frame = await one.frame()
    assert frame["type"] == "task"
    assert (await one.ask(type="accept", task=frame["task"], offer=frame["offer"]))["ok"]
    assert (await assigning[0]).state is TaskState.RUNNING


@pytest.mark.parametrize("type", ["accept", "reject", "progress", "done", "failed", "release"])
async def test_records_that_are_away_are_told_to_the_worker(
    node: Node, worker: MakePeer, monkeypatch: pytest.MonkeyPatch, type: str
) -> None:
    one = worker("pools=p")
    await one.opened()

    async def away(*args: Any, **_: Any) -> Any:
        raise GatewayUnavailable("the store is away")

    with monkeypatch.context() as broken:
        for name in ("accept", "withdraw", "extend", "end", "get"):
            broken.setattr(node.tasks, name, away)
        frame = {"type": type, "task": "t"} | (
            {"offer": "o"} if type in ("accept", "reject") else {}
        )
        answer = await one.ask(**frame)
    assert answer["error"]["code"] == "unavailable"
    assert (await one.ask(type="presence", user="42"))["ok"]
