"""Nothing is answered that a key's scope may not see: every route, every frame of a worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import httpx
import pytest

from sockets.base.ids import new_id
from sockets.protocol.messages import WorkerMessage
from tests.acceptance.test_keys import accept, call, create
from tests.support.gateway import API_KEY, SHORT, WORKER_KEY, Gateway, running
from tests.support.peers import Peer, client, worker

MINE, OTHER = "image.convert", "hushed-pool"
SCOPES = ("notify", "presence", "messages", "admin", f"tasks:{MINE}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("scopes"), **SHORT) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def secrets(place: Gateway) -> dict[str, str]:
    """A key for each scope."""
    return {scope: create(place, f"only-{scope.replace(':', '-')}", scope) for scope in SCOPES}


@dataclass
class Hidden:
    """What is there to be seen, and the words by which it would be known in an answer."""

    tab: Peer
    taker: Peer
    running: str
    ended: str

    @property
    def of_tasks(self) -> set[str]:
        return {OTHER, "hushed-event", "hushed-result", "hushed-worker"}

    @property
    def of_presence(self) -> set[str]:
        return {self.tab.welcome["session"], self.tab.welcome["client"]}


@pytest.fixture
async def hidden(place: Gateway) -> AsyncIterator[Hidden]:
    """A connected user with a message; of another pool, a task that runs and one that ended."""
    tab = await client(place, "42")
    taker = await worker(place, pools=OTHER, capacity="2", name="hushed-worker")
    sent = {"event": "e", "data": "hushed-data", "idempotency_key": "hushed-key"}
    await call(place, API_KEY, "POST", "/users/42/messages", sent)
    tasks = [await assign(place, taker, body()) for _ in range(2)]
    assert (await taker.ask(type="done", task=tasks[1], data="hushed-result"))["ok"]
    yield Hidden(tab, taker, *tasks)


def body(**given: Any) -> dict[str, Any]:
    asked = {"pool": OTHER, "event": "hushed-event", "data": {"n": 1}, "user": "7"}
    return {**asked, "task_id": new_id(), **given}


async def assign(place: Gateway, taker: Peer, asked: dict[str, Any]) -> str:
    answer, _ = await asyncio.gather(call(place, API_KEY, "POST", "/tasks", asked), accept(taker))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


Request = tuple[str, Any]


def requests(hidden: Hidden) -> dict[tuple[str, str], list[Request]]:
    """Of each operation of the document. What ends sessions does not end those looked at."""
    known, user = (hidden.running, hidden.ended), "/users/42"
    return {
        ("POST", "/users/{user}/messages"): [(f"{user}/messages", {"event": "e"})],
        ("POST", "/messages/batch"): [
            ("/messages/batch", {"messages": [{"user": "42", "event": "e"}]})
        ],
        ("POST", "/broadcast"): [("/broadcast", {"event": "e"})],
        ("GET", "/users/{user}/messages"): [(f"{user}/messages", None)],
        ("GET", "/users/{user}/messages/{offset}/delivery"): [
            (f"{user}/messages/1/delivery", None)
        ],
        ("GET", "/users/{user}/delivery"): [(f"{user}/delivery?message=hushed-key", None)],
        ("GET", "/users/{user}/ledger"): [(f"{user}/ledger", None)],
        ("GET", "/users/{user}/position"): [(f"{user}/position", None)],
        ("GET", "/users/{user}"): [(user, None)],
        ("DELETE", "/users/{user}"): [("/users/9", None)],
        ("POST", "/presence"): [("/presence", {"users": ["42"]})],
        ("GET", "/sessions"): [("/sessions", None)],
        ("DELETE", "/users/{user}/sessions"): [
            (f"{user}/sessions?client={new_id()}", None),
            (f"{user}/sessions?keep={hidden.tab.welcome['client']}", None),
        ],
        ("POST", "/users/{user}/revocations"): [(f"{user}/revocations", {"sid": "x"})],
        ("PUT", "/users/{user}/block"): [("/users/9/block", {})],
        ("DELETE", "/users/{user}/block"): [("/users/9/block", None)],
        ("DELETE", "/sessions/{session}"): [(f"/sessions/{new_id()}", None)],
        ("GET", "/nodes"): [("/nodes", None)],
        ("GET", "/overview"): [("/overview", None)],
        ("GET", "/sessions/live"): [("/sessions/live", None), ("/sessions/live?q=42", None)],
        ("GET", "/sessions/{session}"): [
            (f"/sessions/{one.welcome['session']}?frames=true", None)
            for one in (hidden.tab, hidden.taker)
        ],
        ("GET", "/refusals"): [("/refusals", None)],
        ("GET", "/workers"): [("/workers", None)],
        ("GET", "/users/{user}/report"): [(f"{user}/report", None), ("/users/7/report", None)],
        ("POST", "/users/{user}/trace"): [(f"{user}/trace", {"minutes": 1})],
        ("GET", "/users/{user}/trace"): [(f"{user}/trace", None)],
        ("DELETE", "/users/{user}/trace"): [(f"{user}/trace", None)],
        ("POST", "/tasks/{task_id}/release"): [
            (f"/tasks/{id}/release", None) for id in (*known, new_id())
        ],
        ("POST", "/tasks"): [
            *(("/tasks", body(pool=MINE, task_id=id)) for id in known),
            *(("/tasks", body(task_id=id)) for id in known),
            ("/tasks", {"pool": MINE, "event": "e"}),
        ],
        ("GET", "/tasks/{task_id}"): [(f"/tasks/{id}", None) for id in (*known, new_id())],
        ("DELETE", "/tasks/{task_id}"): [(f"/tasks/{id}", None) for id in (*known, new_id())],
    }


@pytest.mark.parametrize("scope", SCOPES)
async def test_no_route_answers_what_its_scope_may_not_see(
    place: Gateway, secrets: dict[str, str], hidden: Hidden, scope: str
) -> None:
    walk = requests(hidden)
    document = (await call(place, "none", "GET", "/openapi.json")).json()
    there = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert walk.keys() == there, "each operation has its requests"
    unseen = hidden.of_tasks | (set() if scope == "presence" else hidden.of_presence)
    if scope != "messages":
        unseen |= {"hushed-data"}
    if scope == "presence":
        unseen.discard("hushed-worker")  # who is connected
    for (method, _), given in walk.items():
        for path, asked in given:
            answer = await call(place, secrets[scope], method, path, asked)
            said = path + json.dumps(asked)  # what the caller says is no news to it
            told = [word for word in unseen if word in answer.text and word not in said]
            assert not told, (method, path, answer.status_code, answer.text)
            if scope != "presence" and "receipts" in answer.text + path and answer.is_success:
                assert [one["reach"] for one in answer.json()["receipts"]] == [None]
    for id, state in ((hidden.running, "running"), (hidden.ended, "done")):
        found = (await call(place, API_KEY, "GET", f"/tasks/{id}")).json()
        assert (found["state"], found["pool"]) == (state, OTHER), "nothing was done to it"


async def test_how_many_sessions_a_message_reached_is_for_keys_with_presence(
    place: Gateway, secrets: dict[str, str], hidden: Hidden
) -> None:
    both = create(place, "notify-and-see", "notify", "presence")
    for secret, reach in ((secrets["notify"], None), (both, 1)):
        one = await call(place, secret, "POST", "/users/42/messages", {"event": "e"})
        assert one.json()["reach"] == reach
    everybody = await call(place, secrets["notify"], "POST", "/broadcast", {"event": "e"})
    assert everybody.json()["reach"] is None


async def test_another_task_of_this_id_is_one_answer_whatever_differs(
    place: Gateway, secrets: dict[str, str], hidden: Hidden
) -> None:
    mine = create(place, "mine", f"tasks:{MINE}")
    here = await worker(place, pools=MINE, capacity="2")
    own = [body(pool=MINE) for _ in range(2)]
    for asked in own:
        await assign(place, here, asked)
    assert (await here.ask(type="done", task=own[1]["task_id"], data=7))["ok"]
    answers = []
    for id in (hidden.running, hidden.ended):
        answers.append(await call(place, mine, "POST", "/tasks", body(pool=MINE, task_id=id)))
    for asked in own:
        for change in ({"data": {"n": 2}}, {"event": "f"}, {"user": "8"}, {"timeout": 9}):
            answers.append(await call(place, mine, "POST", "/tasks", asked | change))
        answers.append(await call(place, API_KEY, "POST", "/tasks", asked | {"pool": OTHER}))
    assert {answer.content for answer in answers} == {answers[0].content}, "byte for byte"
    assert {headers_of(answer) for answer in answers} == {headers_of(answers[0])}
    problem = answers[0].json()
    assert (answers[0].status_code, problem["code"]) == (409, "task_id_taken")
    assert set(problem) == {"title", "status", "detail", "code"}
    for asked, state in zip(own, ("running", "done"), strict=True):
        again = asked | {"data": {"n": 1.0}}
        answer = await call(place, mine, "POST", "/tasks", again)
        assert (answer.status_code, answer.json()["state"]) == (201, state), "a repetition"


def headers_of(answer: httpx.Response) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in answer.headers.items() if k != "date"))


async def test_whoever_finds_no_worker_hears_of_the_pools_of_its_key_alone(
    place: Gateway, hidden: Hidden
) -> None:
    own = create(place, "two-pools", "tasks:first", "tasks:second")
    await worker(place, pools="second")
    asked = {"pool": "first", "event": "e"}
    answer = await call(place, own, "POST", "/tasks", asked)
    assert answer.status_code == 503
    assert [load["pool"] for load in answer.json()["pools"]] == ["second"]
    assert "second (1 workers" in answer.json()["detail"] and OTHER not in answer.text
    assert OTHER in (await call(place, API_KEY, "POST", "/tasks", asked)).text


def frames(task: str) -> dict[str, dict[str, Any]]:
    """One of each type that a worker sends."""
    return {
        "pong": {},
        "notify": {"user": "42", "event": "e"},
        "attach": {"user": "42"},
        "detach": {"user": "42"},
        "presence": {"user": "42"},
        "accept": {"task": task, "offer": new_id()},
        "reject": {"task": task, "offer": new_id()},
        **{name: {"task": task} for name in ("progress", "done", "failed", "release")},
    }


@pytest.mark.parametrize("scope", ["notify", "presence", f"tasks:{MINE}"])
async def test_no_frame_of_a_worker_is_answered_with_what_its_scope_may_not_see(
    place: Gateway, secrets: dict[str, str], hidden: Hidden, scope: str
) -> None:
    known = {struct.__struct_config__.tag for struct in get_args(WorkerMessage)}
    assert frames("").keys() == known
    # The id of the worker that has the tasks tells nothing, and gets nothing: another key's name.
    peer = await worker(place, secrets[scope], worker_id=hidden.taker.welcome["worker"])
    assert peer.welcome["tasks"] == []
    unseen = hidden.of_tasks | (set() if scope == "presence" else hidden.of_presence)
    answers: dict[str, dict[str, str]] = {}
    for task in (hidden.running, hidden.ended, new_id()):
        for name, frame in frames(task).items():
            if name != "pong":
                text = json.dumps(await peer.ask(type=name, **frame))
                assert not [word for word in unseen if word in text], text
                answers.setdefault(name, {})[text.replace(task, "<task>")] = task
    for name in ("accept", "reject", "progress", "done", "failed", "release"):
        assert len(answers[name]) == 1, "a task that is not there is answered in the same way"
    found = await call(place, API_KEY, "GET", f"/tasks/{hidden.running}")
    assert found.json()["state"] == "running"


async def test_a_key_of_the_same_name_gets_the_tasks_of_its_own_scopes_only(place: Gateway) -> None:
    """A worker is its key's name and its id: the name may belong to two keys."""
    id = new_id()
    wide = create(place, "shared-name", "tasks:first", "tasks:second")
    narrow = create(place, "shared-name", "tasks:second")
    holder = await worker(place, wide, pools="first,second", capacity="2", worker_id=id)
    first, second = [await assign(place, holder, body(pool=pool)) for pool in ("first", "second")]
    taken = await worker(place, narrow, pools="second", worker_id=id)
    assert taken.welcome["tasks"] == [second]
    strange = new_id()
    for name in ("progress", "done", "failed", "release"):
        told = [await taken.ask(**frames(task)[name], type=name) for task in (first, strange)]
        assert [one["error"]["code"] for one in told] == ["task_lost"] * 2
    found = await call(place, API_KEY, "GET", f"/tasks/{first}")
    assert found.json()["state"] == "running"
    for task in (first, second):
        assert (await call(place, API_KEY, "DELETE", f"/tasks/{task}")).json()["cancelled"]
    stopped = await taken.receive()
    assert (stopped["type"], stopped["task"]) == ("task.cancel", second), "of the other, no word"


async def test_a_task_out_of_a_keys_scopes_waits_for_a_key_that_has_them(place: Gateway) -> None:
    id = new_id()
    wide = create(place, "two-scopes", "tasks:first", "tasks:second")
    narrow = create(place, "two-scopes", "tasks:second")
    holder = await worker(place, wide, pools="first,second", capacity="2", worker_id=id)
    first, second = [await assign(place, holder, body(pool=pool)) for pool in ("first", "second")]
    taken = await worker(place, narrow, pools="second", worker_id=id)
    assert (await taken.ask(type="done", task=second))["ok"]
    back = await worker(place, wide, pools="first", worker_id=id)
    assert back.welcome["tasks"] == [first]
    assert (await back.ask(type="done", task=first))["ok"]


async def test_keys_of_the_environment_see_all(place: Gateway, hidden: Hidden) -> None:
    answer = await call(place, API_KEY, "GET", f"/tasks/{hidden.ended}")
    assert answer.json()["result"] == "hushed-result"
    peer = await worker(place, WORKER_KEY)
    assert (await peer.ask(type="presence", user="42"))["online"]
