"""What operators see of two real nodes: by the HTTP API, from whichever node is asked."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest

from sockets.base.ids import new_id
from tests.acceptance.test_keys import call, create
from tests.support.gateway import API_KEY, JWT_SECRET, SHORT, Gateway, running, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import client, refused, worker
from tests.support.releases import checkout_of_last_release
from tests.support.valkey import Server

LEASES = {"LEASE_RENEW": "0.5", "LEASE_TTL": "3", "PRESENCE_GRACE": "1"}


class Pair:
    """Two nodes on one Redis, `a` and `b`."""

    def __init__(self, a: Gateway, b: Gateway) -> None:
        self.a, self.b = a, b

    async def ask(
        self, path: str, method: str = "GET", body: Any = None, key: str = API_KEY
    ) -> Any:
        """What `a` answers."""
        answer = await call(self.a, key, method, path, body)
        assert answer.is_success, (path, answer.text)
        return answer.json()


def nodes(folder: Path, redis: Server, stack: ExitStack, **settings: str) -> Pair:
    made = [
        stack.enter_context(
            running(
                folder / name,
                **{**SHORT, **LEASES, "REDIS_URL": redis.url, "NODE_NAME": name, **settings},
            )
        )
        for name in ("a", "b")
    ]
    return Pair(*made)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    server = Server()
    with ExitStack() as stack:
        stack.callback(server.stop)
        found = nodes(tmp_path_factory.mktemp("pair"), server, stack, HEARTBEAT="0.2")
        yield found
    for gateway in (found.a, found.b):
        assert "Traceback" not in gateway.log(), gateway.log()


@pytest.fixture
def lease() -> str:
    return LEASES["LEASE_TTL"]


@pytest.fixture
def breakable(tmp_path: Path, redis: Server, lease: str) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield nodes(tmp_path, redis, stack, LEASE_TTL=lease)


async def test_a_session_of_another_node_is_found_and_looked_at(pair: Pair) -> None:
    tab = await client(pair.b, "kim")
    for q in ("kim", tab.welcome["session"], tab.welcome["client"]):
        found = await pair.ask(f"/sessions/live?q={q}")
        (one,) = found["sessions"]
        assert (one["id"], one["node"], one["health"]) == (tab.welcome["session"], "b", "healthy")
    assert found["silent"] == []
    assert not (await pair.ask("/sessions/live?q=kim&kind=worker"))["sessions"]
    path = f"/sessions/{tab.welcome['session']}?frames=true"
    assert (await pair.ask(path))["frames"] == []
    await tab.ask(type="send", event="typing", data={"said": "in confidence"})
    await pair.ask("/users/kim/messages", "POST", {"event": "paid", "data": "secretly"})
    assert (await tab.receive())["event"] == "paid"
    deadline = time.monotonic() + PATIENCE
    while "pong" not in json.dumps((found := await pair.ask(path))["frames"]):
        assert time.monotonic() < deadline, "no ping was answered"
        await tab.ask(type="sessions")
    assert found["session"]["round_trip"] > 0
    noted = [(one["inbound"], one["type"], one["event"]) for one in found["frames"]]
    assert [one for one in noted if one[1] not in ("ping", "pong")][:3] == [
        (True, "send", "typing"),
        (False, "reply", ""),
        (False, "message", "paid"),
    ]
    assert "secretly" not in json.dumps(found) and "confidence" not in json.dumps(found)
    assert found["method"] == "insecure" and found["counters"]["frames_in"] >= 1
    assert found["head"] == found["sent"] and found["head"]["offset"] == 1
    assert (await call(pair.a, API_KEY, "GET", f"/sessions/{new_id()}")).status_code == 404


async def test_the_overview_of_both(pair: Pair) -> None:
    await client(pair.a, "one")
    await client(pair.b, "two")
    found = await pair.ask("/overview")
    assert [(one["info"]["name"], one["answered"]) for one in found["nodes"]] == [
        ("a", True),
        ("b", True),
    ]
    assert found["sessions"] >= 2 and found["silent"] == []
    assert {(one["redis"], one["database"], one["info"]["state"]) for one in found["nodes"]} == {
        ("", "", "ready")
    }
    assert (found["step"], isinstance(found["samples"], list)) == (10.0, True)


async def test_why_kim_cannot_connect(pair: Pair) -> None:
    token = jwt.encode({"sub": "kim refused", "exp": 1}, JWT_SECRET, "HS256")
    stranger = jwt.encode({"sub": "kim refused", "exp": 1}, "x" * 40, "HS256")
    tab = new_id()
    for given in (token, token, stranger):
        url = pair.b.client_url(client_id=tab)
        code, _ = await refused(url, subprotocols=["gateway.v1", f"gateway.bearer.{given}"])
        assert code == 4501
    found = await pair.ask("/refusals?user=kim%20refused")
    (one,) = found["refusals"]
    assert (one["node"], one["code"], one["count"]) == ("b", 4501, 2), "not what a stranger made"
    assert (one["reason"], one["client_id"]) == ("token: expired", tab)
    everybody = await pair.ask("/refusals?address=127.")
    assert len(everybody["refusals"]) >= 2
    assert token not in json.dumps(everybody)


async def test_work_is_seen_and_handed_back(pair: Pair) -> None:
    converter = await worker(pair.b, pools="image", name="converter 1")
    asked = asyncio.ensure_future(
        pair.ask("/tasks", "POST", {"pool": "image", "event": "convert", "user": "kim"})
    )
    offered = await converter.receive()
    await converter.ask(type="accept", task=offered["task"], offer=offered["offer"])
    task = (await asked)["id"]
    (one,) = (await pair.ask("/workers"))["workers"]
    assert (one["session"]["agent"], one["held"], one["node"]) == ("converter 1", 1, "b")
    assert [(held["id"], held["state"]) for held in one["tasks"]] == [(task, "running")]
    assert [held["id"] for held in (await pair.ask("/users/kim/report"))["tasks"]] == [task]
    blind = create(pair.a, "blind", "presence", "tasks:other")
    for path in ("/workers", "/users/kim/report"):
        assert task not in json.dumps(await pair.ask(path, key=blind))
    path = f"/tasks/{task}/release"
    assert (await call(pair.a, blind, "POST", path)).status_code == 404
    assert (await pair.ask(path, "POST"))["state"] == "released"
    told = await converter.receive()
    assert (told["type"], told["task"], told["reason"]) == ("task.cancel", task, "released")
    assert (await call(pair.a, API_KEY, "POST", path)).status_code == 409
    assert [held["id"] for held in (await pair.ask("/workers"))["ended"]] == [task]


async def test_the_report_of_a_user(pair: Pair) -> None:
    tab = await client(pair.b, "reported")
    await pair.ask("/users/reported/messages", "POST", {"event": "e", "data": "secret"})
    found = await pair.ask("/users/reported/report")
    assert [one["id"] for one in found["live"]] == [tab.welcome["session"]]
    assert (found["online"], found["blocked"], found["head"]["offset"]) == (True, False, 1)
    assert [(one["offset"], one["event"]) for one in found["stream"]] == [(1, "e")]
    assert "secret" not in json.dumps(found)


async def test_a_trace_of_a_user_at_both_nodes(pair: Pair) -> None:
    first = await client(pair.a, "traced")
    path = "/users/traced/trace"
    begun = await pair.ask(path, "POST", {"minutes": 1})
    assert (begun["by"], begun["silent"]) == ("key:backend", [])
    second = await client(pair.b, "traced")
    await second.ask(type="refresh", token="a token that nobody may see")
    await pair.ask("/users/traced/messages", "POST", {"event": "e", "data": "secret"})
    for tab in (first, second):
        assert (await tab.receive())["event"] == "e"
    found = await pair.ask(path)
    seen = {(one["node"], one["header"]["type"]) for one in found["frames"]}
    assert seen >= {("a", "message"), ("b", "welcome"), ("b", "message"), ("b", "reply")}
    assert not [kind for _, kind in seen if kind in ("refresh", "connect")]
    assert {one["body"] for one in found["frames"]} == {None}
    answer = await call(pair.a, create(pair.a, "admin", "admin"), "POST", path, {"bodies": True})
    assert answer.status_code == 403 and "messages" in answer.json()["detail"]
    assert (await pair.ask(path, "DELETE")) == {"ended": True, "silent": []}
    assert (await call(pair.a, API_KEY, "GET", path)).status_code == 404
    assert "'by': 'key:backend'" in next(
        line for line in pair.a.log().splitlines() if "] traced" in line
    )


async def test_a_killed_node_is_shown_as_lost(breakable: Pair) -> None:
    """First by name, as silent; then as lost, for as long as it does not come back."""
    await client(breakable.b, "gone")
    breakable.b.kill()
    found = await breakable.ask("/overview")
    assert found["silent"] == ["b"]

    def lost() -> bool:
        answer = asyncio.run(breakable.ask("/overview"))
        shown = [one for one in answer["nodes"] if one["info"]["name"] == "b"]
        return bool(shown) and shown[0]["lost"] and answer["silent"] == []

    await asyncio.to_thread(wait_for, lost, "the dead one is lost, and no longer asked")
    breakable.b.start()
    found = await breakable.ask("/overview")
    assert [one["lost"] for one in found["nodes"]] == [False, False]


@pytest.mark.parametrize("lease", ["30"])  # it is asked twice, and must not be dead meanwhile
async def test_a_frozen_node_keeps_nobody_waiting(breakable: Pair) -> None:
    tab = await client(breakable.b, "frozen")
    breakable.b.signal(signal.SIGSTOP)
    try:
        found = await breakable.ask("/sessions/live?q=frozen")
        assert found["silent"] == ["b"]
        assert [(one["id"], one["health"]) for one in found["sessions"]] == [
            (tab.welcome["session"], "unknown")
        ]
        answer = await call(breakable.a, API_KEY, "GET", f"/sessions/{tab.welcome['session']}")
        assert answer.status_code == 503 and "b" in answer.json()["detail"]
    finally:
        breakable.b.signal(signal.SIGCONT)


async def test_a_node_of_the_last_release_is_silent_and_untroubled(
    tmp_path: Path, redis: Server
) -> None:
    """As in a rolling restart: nothing of this may be an error in its log."""
    release = checkout_of_last_release(tmp_path / "release")
    old = Gateway(tmp_path / "a", **{**SHORT, **LEASES, "REDIS_URL": redis.url, "NODE_NAME": "old"})
    old.folder, old.may_be_warm = release, False
    old.manage("migrate", "--verbosity", "0")
    old.start()
    try:
        new_settings = {**SHORT, **LEASES, "REDIS_URL": redis.url, "NODE_NAME": "new"}
        with running(tmp_path / "b", **new_settings) as new:
            pair = Pair(new, old)
            tab = await client(old, "kim")
            found = await pair.ask("/overview")
            assert found["silent"] == ["old"]
            shown = {one["info"]["name"]: one["answered"] for one in found["nodes"]}
            assert shown == {"new": True, "old": False}
            live = await pair.ask("/sessions/live?q=kim")
            assert [(one["id"], one["health"]) for one in live["sessions"]] == [
                (tab.welcome["session"], "unknown")
            ]
            assert (await pair.ask("/users/kim/report"))["silent"] == ["old"]
            await pair.ask("/users/kim/trace", "POST", {"minutes": 1})
            await pair.ask("/workers")
            assert "not for a node" not in old.log() and "Traceback" not in old.log()
    finally:
        old.stop()
