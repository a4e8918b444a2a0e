"""Redis mode as its users meet it: other processes notify, Redis goes away and comes back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import ROOT, SHORT, Gateway, running, wait_for
from tests.support.peers import Peer, client, http_get, refused, worker
from tests.support.valkey import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(password="a password")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def node(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A node that the tests of this module leave as it was."""
    url = server.url.replace("a password", "a%20password")
    with running(tmp_path_factory.mktemp("node"), REDIS_URL=url, **SHORT) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log
    assert "password" not in log


def elsewhere(node: Gateway, code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Django code in a process of its own, with the gateway's settings."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import django; django.setup()\n{code}"],
        cwd=ROOT,
        env={**node.environment, "DJANGO_SETTINGS_MODULE": "gateway.settings"},
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )


def readiness(node: Gateway) -> tuple[int, dict[str, Any]]:
    status, body = http_get(node.worker_port, "/readyz")
    return status, json.loads(body)


# --- from other processes


async def test_a_stock_project_reaches_our_users(node: Gateway, server: Server) -> None:
    """It has channels-redis' own layer configured, and nothing of ours."""
    tab = await client(node, "stock")
    code = f"""
import asyncio
from channels_redis.pubsub import RedisPubSubChannelLayer
from sockets.layers.groups import user_group
async def main():
    layer = RedisPubSubChannelLayer(hosts=[{server.url.replace("a password", "a%20password")!r}])
    message = {{"type": "user.notify", "event": "plain", "data": {{"한": 1}}}}
    await layer.group_send(user_group("stock"), message)
    await layer.flush()
asyncio.run(main())
"""
    await asyncio.to_thread(elsewhere, node, code)
    frame = await tab.receive()
    assert (frame["event"], frame["data"]) == ("plain", {"한": 1})


async def test_the_api_in_another_process(node: Gateway) -> None:
    tab = await client(node, "42")
    code = """
import asyncio, json
from asgiref.sync import async_to_sync
from sockets import api
one = api.notify_user("42", "sync", {"n": 1})
two = asyncio.run(api.anotify_user("42", "async", {"n": 2}))
three = async_to_sync(api.anotify_user)("42", "bridge", {"n": 3})
api.notify_user("42", "now", durable=False)
api.broadcast("all")
many = api.notify_users(["42", "44", "42"], "many")
assert many[0] == many[2] and [one.offset for one in many] == [4, 1, 4], many
assert len(api.notify_users(["42", "42"], "once", durable=False)) == 2
api.notify_user("42", "last")
print(json.dumps([one.offset, two.offset, three.offset, one.reach, api.is_online("42"),
    api.is_online("43"), [s.user for s in api.sessions_of("42")], api.client_socket_url()]))
"""
    done = await asyncio.to_thread(elsewhere, node, code)
    events = [(await tab.receive())["event"] for _ in range(8)]
    assert events == ["sync", "async", "bridge", "now", "all", "many", "once", "last"]
    url = "ws://localhost:4000"
    assert json.loads(done.stdout) == [1, 2, 3, 1, True, False, ["42"], url]
    assert done.stderr == ""


async def test_forked_processes_notify(node: Gateway) -> None:
    """As gunicorn's workers do: the parent has used the connection before."""
    tab = await client(node, "forked")
    code = """
import os
from sockets.api import notify_user, is_online
notify_user("forked", "parent", 0)
children = []
for n in range(4):
    pid = os.fork()
    if pid == 0:
        for i in range(25):
            notify_user("forked", "child", [n, i])
        assert is_online("forked")
        os._exit(0)
    children.append(pid)
for i in range(25):
    notify_user("forked", "parent", i)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
"""
    await asyncio.to_thread(elsewhere, node, code)
    frames = await tab.receive_many(126)
    assert [frame["offset"] for frame in frames] == list(range(1, 127))
    for n in range(4):
        mine = [f["data"][1] for f in frames if f["event"] == "child" and f["data"][0] == n]
        assert mine == list(range(25))


async def test_the_management_command(node: Gateway) -> None:
    tab = await client(node, "cmd")
    done = await asyncio.to_thread(node.manage, "notify", "cmd", "order.paid", '{"order": 7}')
    frame = await tab.receive()
    assert (frame["event"], frame["data"], frame["offset"]) == ("order.paid", {"order": 7}, 1)
    assert done.stdout.split()[0] == frame["id"] and "live sessions: 1" in done.stdout
    done = await asyncio.to_thread(node.manage, "notify", "cmd", "e", "{no", check=False)
    assert done.returncode == 1 and "no JSON" in done.stderr and "Traceback" not in done.stderr
    await asyncio.to_thread(node.manage, "notify", "cmd", "now", "--ephemeral")
    assert "offset" not in await tab.receive()


async def test_acknowledgements_come_back_as_receipts(node: Gateway) -> None:
    tabs = [await client(node, "acks") for _ in range(2)]
    code = "from sockets.api import notify_user; print(notify_user('acks', 'e').epoch)"
    epoch = (await asyncio.to_thread(elsewhere, node, code)).stdout.strip()
    for tab in tabs:
        await tab.receive()
    assert (await tabs[0].ask(type="ack", epoch=epoch, offset=1))["ok"]
    code = """
import json
from sockets.api import delivery_of
print(json.dumps([[d.session, d.outcome, d.acknowledged, d.node] for d in delivery_of("acks", 1)]))
print([d.outcome.value for d in delivery_of("acks", 9)])
"""
    told, later = (await asyncio.to_thread(elsewhere, node, code)).stdout.splitlines()
    sessions = [tab.welcome["session"] for tab in tabs]
    assert json.loads(told) == [
        [sessions[0], "sent", True, "test-node"],
        [sessions[1], "sent", False, "test-node"],
    ]
    assert later == "['pending', 'pending']"


async def test_a_task_of_another_process(node: Gateway) -> None:
    tab = await client(node, "tasks")
    helper = await worker(node, pools="p", capacity="2")
    code = """
from sockets import api
task = api.assign_task("p", "convert", {"x": 1}, user_id="tasks")
print(task.id, task.state.value, api.task(task.id).state.value, api.worker_pools()[0].held)
"""
    assigning = asyncio.create_task(asyncio.to_thread(elsewhere, node, code))
    offer = await helper.receive(30)
    reply = await helper.ask(type="accept", task=offer["task"], offer=offer["offer"])
    assert reply["ok"]
    assert (await assigning).stdout.split() == [offer["task"], "running", "running", "1"]
    await helper.ask(type="done", task=offer["task"], data={"y": 2})
    frame = await tab.receive()
    assert (frame["event"], frame["data"]["data"]) == ("task.done", {"y": 2})
    code = f"from sockets import api; print(api.task({offer['task']!r}).result)"
    assert (await asyncio.to_thread(elsewhere, node, code)).stdout.strip() == "{'y': 2}"


# --- Redis away


@asynccontextmanager
async def own_node(path: Path, server: Server, **extra: str) -> AsyncIterator[Gateway]:
    short = SHORT | {"LEASE_RENEW": "1", "LEASE_TTL": "10"} | extra
    with running(path, REDIS_URL=server.url, **short) as gateway:
        yield gateway
    assert "Traceback" not in gateway.log(), gateway.log()


async def notify(helper: Peer, **given: Any) -> dict[str, Any]:
    return await helper.ask(type="notify", user="42", event="e", data=None, **given)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_while_redis_is_away(tmp_path: Path, how: str) -> None:
    """Sockets stay; what only lives here goes on; what cannot be kept is refused; all heals."""
    server = Server("--appendonly", "yes", "--appendfsync", "always")
    try:
        async with own_node(tmp_path, server, REDIS_DURABILITY="always") as node:
            tab, helper = await client(node, "42"), await worker(node)
            assert (await notify(helper))["ok"] and (await tab.receive())["offset"] == 1
            (server.kill if how == "killed" else server.freeze)()
            told: Any = await asyncio.to_thread(
                wait_for, lambda: (s := readiness(node))[0] == 503 and s, "it to be not ready"
            )
            assert "Redis" in told[1]["reason"]
            assert (await notify(helper, durable=False))["ok"]
            assert "offset" not in await tab.receive()
            answer = await notify_for_long(helper)
            assert answer["error"]["code"] == "unavailable", answer
            code, reason = await refused(node.client_url(user_id="43"))
            assert code == 1013, reason
            status, _ = http_get(node.worker_port, "/healthz")
            assert status == 200
            (server.start if how == "killed" else server.thaw)()
            await asyncio.to_thread(
                wait_for, lambda: readiness(node)[0] == 200, "it to be ready again", 30
            )
            assert (await notify(helper))["ok"]
            frames = [await tab.receive()]
            while frames[-1]["offset"] < 2:
                frames.append(await tab.receive())
            late = await client(node, "43")
            assert late.welcome["recovered"] is None
    finally:
        server.stop()


async def notify_for_long(helper: Peer) -> dict[str, Any]:
    """A durable notification while Redis does not answer: it may take its time to fail."""
    await helper.send(type="notify", user="42", event="e", data=None, ref="long")
    while (answer := await helper.receive(40)).get("ref") != "long":
        pass
    return answer


async def test_a_node_starts_while_redis_is_away(tmp_path: Path) -> None:
    server = Server()
    server.kill()
    try:
        async with own_node(tmp_path, server) as node:
            status, told = readiness(node)
            assert status == 503 and "Redis" in told["reason"]
            assert "not ready" in node.log()
            code, _ = await refused(node.client_url(user_id="42"))
            assert code == 1013
            server.start()
            await asyncio.to_thread(wait_for, lambda: readiness(node)[0] == 200, "ready", 30)
            tab, helper = await client(node, "42"), await worker(node)
            assert (await notify(helper))["ok"]
            assert (await tab.receive())["offset"] == 1
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("options", "extra", "remedy"),
    [
        (["--maxmemory-policy", "allkeys-lru"], {}, "noeviction"),
        ([], {"REDIS_DURABILITY": "always"}, "appendfsync"),
    ],
)
def test_a_server_that_breaks_the_promises_stops_the_start(
    tmp_path: Path, options: list[str], extra: dict[str, str], remedy: str
) -> None:
    server = Server(*options)
    try:
        node = Gateway(tmp_path, REDIS_URL=server.url, **SHORT, **extra)
        node.migrate()
        done = node.manage("serve", "--client-port=0", "--worker-port=0", check=False)
        assert done.returncode == 1
        assert remedy in done.stderr + done.stdout and "Traceback" not in done.stderr
    finally:
        server.stop()


# --- two nodes


async def test_a_client_that_comes_back_at_another_node_replaces_itself(tmp_path: Path) -> None:
    server = Server()
    try:
        async with (
            own_node(tmp_path / "a", server, NODE_NAME="a") as a,
            own_node(tmp_path / "b", server, NODE_NAME="b") as b,
        ):
            first = await client(a, "42")
            same = {"client_id": first.welcome["client"]}
            second = await client(b, "42", **same)
            assert (await first.closed())[0] == 4503
            helper = await worker(a)
            assert (await notify(helper))["ok"]
            assert (await second.receive())["offset"] == 1
    finally:
        server.stop()


async def test_a_worker_of_a_node_that_is_killed_loses_its_task(tmp_path: Path) -> None:
    server = Server()
    short = {"LEASE_RENEW": "0.3", "LEASE_TTL": "2", "TASK_GRACE": "1"}
    try:
        async with (
            own_node(tmp_path / "a", server, NODE_NAME="a", **short) as a,
            own_node(tmp_path / "b", server, NODE_NAME="b", **short) as b,
        ):
            tab = await client(a, "42")
            helper = await worker(b, pools="p")
            code = "from sockets.api import assign_task; assign_task('p', 'e', user_id='42')"
            assigning = asyncio.create_task(asyncio.to_thread(elsewhere, a, code))
            offer = await helper.receive(30)
            await helper.ask(type="accept", task=offer["task"], offer=offer["offer"])
            await assigning
            await asyncio.to_thread(b.kill)
            frame = await tab.receive(20)
            assert frame["event"] == "task.lost" and frame["data"]["task"] == offer["task"]
    finally:
        server.stop()
