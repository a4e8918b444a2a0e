"""The HTTP API as a backend in another language meets it: real requests, real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sockets.base.ids import new_id
from tests.support.gateway import API_KEY, ROOT, WORKER_KEY, Gateway, running
from tests.support.peers import client, worker
from tests.support.scale import scaled
from tests.support.valkey import Server

PROBLEM = "application/problem+json"
STRANGE = [
    "a/b",
    "kim@example.com",
    "한국",
    "100%",
    "%2F",
    "a%2Fb",
    "?",
    "#",
    " ",
    "a\\b",
    "💚",
]


@pytest.fixture
async def http(shared_gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with api_of(shared_gateway) as made:
        yield made


def api_of(gateway: Gateway, key: str = API_KEY) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gateway.worker_port}/api/v1",
        headers={"Authorization": f"Bearer {key}"},
        timeout=20,
        trust_env=False,
    )


def path(user: str, rest: str = "") -> str:
    return f"/users/{quote(user, safe='')}{rest}"


# --- messages


@pytest.mark.parametrize("user", STRANGE, ids=ascii)
async def test_any_user_is_notified_by_a_path(
    shared_gateway: Gateway, http: httpx.AsyncClient, user: str
) -> None:
    tab = await client(shared_gateway, user)
    body = {"event": "order.paid", "data": {"order": 7}}
    answer = await http.post(path(user, "/messages"), json=body)
    assert answer.status_code == 200, answer.text
    receipt = answer.json()
    frame = await tab.receive()
    assert (frame["id"], frame["event"], frame["data"]) == (
        receipt["id"],
        "order.paid",
        {"order": 7},
    )
    assert (receipt["reach"], receipt["duplicate"]) == (1, False)
    found = (await http.get(path(user))).json()
    assert found["user"] == user and found["state"] == "connected"
    assert found["sessions"][0]["id"] == tab.welcome["session"] and found["more"] is False
    assert found["position"] == {"epoch": receipt["epoch"], "offset": receipt["offset"]}


@pytest.mark.parametrize("given", ["", "x" * 26, "0" * 7_000_000, 7])
async def test_the_client_to_exclude_is_a_client_id(http: httpx.AsyncClient, given: Any) -> None:
    wrong = {"event": "e", "exclude_client": given}
    for where, body in (
        ("/users/42/messages", wrong),
        ("/messages/batch", {"messages": [wrong | {"user": "42"}]}),
    ):
        answer = await http.post(where, json=body)
        assert answer.status_code == 422 and "exclude_client" in answer.json()["detail"]
        assert len(answer.content) < 1_000


async def test_of_many_sessions_the_newest_are_told(
    shared_gateway: Gateway, http: httpx.AsyncClient
) -> None:
    tabs = [await client(shared_gateway, "many") for _ in range(102)]
    found = (await http.get(path("many"))).json()
    ids = [tab.welcome["session"] for tab in tabs]
    assert found["more"] is True and len(found["sessions"]) == 100
    assert {one["id"] for one in found["sessions"]} == set(ids[2:])
    asked = (await http.post("/presence", json={"users": ["many"]})).json()["users"]["many"]
    assert asked["more"] is True and len(asked["sessions"]) == 100
    for tab in tabs:
        await tab.close()


async def test_dots_alone_are_reached_by_a_batch(
    shared_gateway: Gateway, http: httpx.AsyncClient
) -> None:
    """Clients take `..` out of a path before they send it, percent-encoded or not."""
    tab = await client(shared_gateway, "..")
    await http.post("/messages/batch", json={"messages": [{"user": "..", "event": "dots"}]})
    assert (await tab.receive())["event"] == "dots"


async def test_a_repetition_gets_the_first_receipt(http: httpx.AsyncClient) -> None:
    body, headers = {"event": "e"}, {"Idempotency-Key": new_id()}
    first, again = [
        (await http.post("/users/again/messages", json=body, headers=headers)).json()
        for _ in range(2)
    ]
    assert again == first | {"duplicate": True}


async def test_a_batch_of_a_thousand_in_order(http: httpx.AsyncClient) -> None:
    user = new_id()
    many: list[dict[str, Any]] = [{"user": user, "event": "n", "data": n} for n in range(999)]
    many.append({"user": user, "event": "gone", "durable": False})
    headers = {"Idempotency-Key": new_id()}
    receipts = (await http.post("/messages/batch", json={"messages": many}, headers=headers)).json()
    assert [one["offset"] for one in receipts["receipts"]] == [*range(1, 1000), None]
    again = (await http.post("/messages/batch", json={"messages": many}, headers=headers)).json()
    assert all(one["duplicate"] for one in again["receipts"][:-1])
    read: list[Any] = []
    offset: int | None = 0
    while offset is not None:
        page = (await http.get(path(user, "/messages"), params={"offset": offset})).json()
        assert page["head"] == 999 and page["complete"]
        read += page["messages"]
        offset = page["next"]
    assert [one["data"] for one in read] == list(range(999))


LONG = "k" * 254


@pytest.mark.parametrize("batch_first", [True, False])
async def test_a_batch_and_a_message_of_similar_keys_are_both_sent(
    http: httpx.AsyncClient, batch_first: bool
) -> None:
    user, key = new_id(), new_id()

    async def batch(key: str, *events: str) -> list[Any]:
        many = {"messages": [{"user": user, "event": event} for event in events]}
        answer = await http.post("/messages/batch", json=many, headers={"Idempotency-Key": key})
        return list(answer.json()["receipts"])

    async def single(key: str) -> Any:
        headers = {"Idempotency-Key": key}
        return (
            await http.post(path(user, "/messages"), json={"event": "e"}, headers=headers)
        ).json()

    calls = [
        partial(batch, key, "a", "b"),
        partial(single, f"{key}:0"),
        partial(single, f"{key}:1"),
    ]
    calls += [partial(batch, first + LONG, "c") for first in "xy"]
    calls += [partial(batch, f"{key}:0", "d"), partial(single, f"{key}:0:0")]
    if not batch_first:
        calls.reverse()
    first = [await call() for call in calls]
    again = [await call() for call in calls]
    receipts = [one for each in first for one in (each if isinstance(each, list) else [each])]
    assert sorted(one["offset"] for one in receipts) == list(range(1, 9)), "all were sent"
    assert not any(one["duplicate"] for one in receipts)
    repeated = [one for each in again for one in (each if isinstance(each, list) else [each])]
    assert repeated == [one | {"duplicate": True} for one in receipts]


async def test_one_that_is_wrong_stops_the_batch(http: httpx.AsyncClient) -> None:
    user = new_id()
    many = [{"user": user, "event": "good"}, {"user": "x" * 1_000 + "한" * 24, "event": "bad"}]
    answer = await http.post("/messages/batch", json={"messages": many})
    assert answer.status_code == 422 and "notification 1" in answer.json()["detail"]
    assert (await http.get(path(user))).json()["position"]["offset"] == 0
    answer = await http.post(
        "/messages/batch", json={"messages": [{"user": "1", "event": "e"}] * 1001}
    )
    assert answer.status_code == 422


async def test_a_position_of_another_epoch_is_no_page(http: httpx.AsyncClient) -> None:
    user = new_id()
    await http.post(path(user, "/messages"), json={"event": "e"})
    page = (await http.get(path(user, "/messages"), params={"epoch": "old", "offset": 0})).json()
    assert page["complete"] is False and page["head"] == 1


async def test_a_broadcast(shared_gateway: Gateway, http: httpx.AsyncClient) -> None:
    tab = await client(shared_gateway, new_id())
    receipt = (await http.post("/broadcast", json={"event": "all", "data": 1})).json()
    assert (await tab.receive())["id"] == receipt["id"] and receipt["offset"] is None


# --- presence and control


async def test_many_users_in_one_question(shared_gateway: Gateway, http: httpx.AsyncClient) -> None:
    here = new_id()
    await client(shared_gateway, here)
    users = [here, *(f"away-{n}" for n in range(9_999))]
    answer = (await http.post("/presence", json={"users": users})).json()
    assert answer["partial"] is False and len(answer["users"]) == 10_000
    assert answer["users"][here]["online"] and not answer["users"]["away-7"]["online"]
    answer = await http.post("/presence", json={"users": [*users, "one more"]})
    assert answer.status_code == 422


async def test_sessions_are_closed(shared_gateway: Gateway, http: httpx.AsyncClient) -> None:
    user = new_id()
    tabs = [await client(shared_gateway, user) for _ in range(3)]
    keep = tabs[0].welcome["client"]
    done = await http.delete(path(user, "/sessions"), params={"keep": keep, "reason": "bye"})
    assert done.json() == {"closed": 2, "unconfirmed": 0}
    assert [await tab.closed() for tab in tabs[1:]] == [(4504, "bye")] * 2
    session = tabs[0].welcome["session"]
    listed = (await http.get("/sessions", params={"limit": 1000})).json()["sessions"]
    assert session in {one["id"] for one in listed}
    assert (await http.delete(f"/sessions/{session}", params={"code": 4000})).status_code == 200
    assert (await tabs[0].closed())[0] == 4000
    gone = await http.delete(f"/sessions/{session}")
    assert gone.status_code == 404 and gone.headers["content-type"] == PROBLEM


async def test_sessions_a_page_at_a_time(shared_gateway: Gateway, http: httpx.AsyncClient) -> None:
    for number in range(5):
        await client(shared_gateway, f"page-{number}")
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        asked = {"limit": 2} | ({"cursor": page["next"]} if page["next"] else {})
        page = (await http.get("/sessions", params=asked)).json()
        seen += [one["user"] for one in page["sessions"]]
    assert {f"page-{number}" for number in range(5)} <= set(seen)
    assert (await http.get("/sessions", params={"cursor": "none"})).status_code == 404


async def test_tasks_and_nodes(shared_gateway: Gateway, http: httpx.AsyncClient) -> None:
    pool = new_id()
    none = await http.post("/tasks", json={"pool": pool, "event": "convert"})
    assert none.status_code == 503 and none.json()["code"] == "no_worker_available"
    assert none.headers["retry-after"] == "1"
    helper = await worker(shared_gateway, pools=pool)
    body = {"pool": pool, "event": "convert", "data": [1]}
    asking = asyncio.create_task(http.post("/tasks", json=body))
    offer = await helper.receive()
    await helper.ask(type="accept", task=offer["task"], offer=offer["offer"])
    made = await asking
    assert (made.status_code, made.json()["state"]) == (201, "running")
    id = made.json()["id"]
    assert (await http.get(f"/tasks/{id}")).json()["worker"].startswith("tester/")
    assert (await http.delete(f"/tasks/{id}")).json() == {"cancelled": True}
    assert (await http.delete(f"/tasks/{id}")).json() == {"cancelled": False}
    assert (await http.get("/tasks/none")).status_code == 404
    (node,) = (await http.get("/nodes")).json()["nodes"]
    assert (node["name"], node["state"]) == ("test-node", "ready")


# --- errors


async def test_no_key_no_answer(shared_gateway: Gateway) -> None:
    base = f"http://127.0.0.1:{shared_gateway.worker_port}/api/v1/nodes"
    async with httpx.AsyncClient(trust_env=False) as plain:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Bearer {WORKER_KEY}"},
            {"Authorization": f"Basic {API_KEY}"},
            {"Authorization": "Bearer"},
        ):
            answer = await plain.get(base, headers=headers)
            assert answer.status_code == 401, headers
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == PROBLEM
        assert (await plain.get(f"{base}?token={API_KEY}")).status_code == 401
        assert (
            await plain.get(f"http://127.0.0.1:{shared_gateway.client_port}/api/v1/nodes")
        ).status_code == 404, "not on the public port"
    assert API_KEY not in shared_gateway.log()


@pytest.mark.parametrize(
    ("method", "where", "content", "status", "said"),
    [
        ("POST", "/users/1/messages", b"{", 400, "parse"),
        ("POST", "/users/1/messages", b'{"evnt": "e"}', 422, "event"),
        ("POST", "/users/1/messages", b'{"event": "e", "data": NaN}', 400, "parse"),
        ("POST", "/users/1/messages", b'{"event": "e", "durable": false, "ttl": 3}', 422, "ttl"),
        ("POST", "/users/1/messages", b'{"event": "e", "data": "%s"}' % (b"x" * 70_000), 413, ""),
        ("DELETE", "/users/1/sessions?code=1000", b"", 422, "code"),
        ("GET", "/users/1/messages?limit=0", b"", 422, "limit"),
        ("GET", "/nothing", b"", 404, "docs"),
        ("PUT", "/nodes", b"", 405, "method"),
    ],
)
async def test_what_is_wrong_is_told(
    http: httpx.AsyncClient, method: str, where: str, content: bytes, status: int, said: str
) -> None:
    answer = await http.request(
        method, where, content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["cache-control"] == "no-store" and "etag" not in answer.headers
    if status >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == PROBLEM and problem["status"] == status
        assert said in problem["detail"]


async def test_a_huge_body_is_cut(http: httpx.AsyncClient) -> None:
    answer = await http.post("/users/1/messages", content=b" " * (9 * 1024 * 1024))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == PROBLEM and answer.json()["code"] == "http_413"


async def test_redis_away_is_503_with_what_is_known(tmp_path: Path, redis: Server) -> None:
    with running(tmp_path / "node", REDIS_URL=redis.url) as gateway:
        async with api_of(gateway) as http:
            assert (await http.post("/users/1/messages", json={"event": "e"})).status_code == 200
            redis.kill()
            answer = await http.post("/users/1/messages", json={"event": "e"})
            assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
            assert answer.json()["outcome"] in ("nothing", "unknown")
            assert answer.json()["code"] == "gateway_unavailable"
        assert "Traceback" not in gateway.log()


# --- the document


async def test_the_page_of_the_documents_needs_no_foreign_host(
    shared_gateway: Gateway, http: httpx.AsyncClient
) -> None:
    page = (await http.get("/docs")).text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert files and all(file.startswith("docs/") for file in files), "below the page itself"
    for file in files:
        assert (await http.get(f"/{file}")).status_code == 200, file
    assert "<script>" not in page, "no inline script"


@pytest.mark.timeout(scaled(1_800, 240))
def test_schemathesis_finds_nothing(shared_gateway: Gateway) -> None:
    """500 is in no operation's document, so that any is found as an answer that is not."""
    # A query that is too long is refused too: 431 before anybody has looked at what it says.
    rejections = ["400", "401", "403", "404", "405", "413", "422", "431", "503"]
    config = shared_gateway.data_dir / "schemathesis.toml"
    config.write_text(f"[checks.negative_data_rejection]\nexpected-statuses = {rejections}\n")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            f"--config-file={config}",
            "run",
            f"http://127.0.0.1:{shared_gateway.worker_port}/api/v1/openapi.json",
            "--header",
            f"Authorization: Bearer {API_KEY}",
            f"--max-examples={scaled(500, 8)}",
            # 503 says that no worker is there; and a task that was cancelled is still remembered.
            "--exclude-checks=not_a_server_error,use_after_free",
            "--request-timeout=20",
            "--no-color",
        ],
        cwd=shared_gateway.data_dir,
        env=shared_gateway.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5_000:]
    assert "31 passed" in done.stdout


def test_the_quickstart_works(shared_gateway: Gateway) -> None:
    """Every curl of the page."""
    page = (ROOT / "docs" / "http-api.md").read_text()
    commands = re.findall(r"^\$ (curl .+?)(?<!\\)\n", page, re.MULTILINE | re.DOTALL)
    assert len(commands) >= 4
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))
        words = [
            word.replace(
                "http://localhost:4001", f"http://127.0.0.1:{shared_gateway.worker_port}"
            ).replace("$API_KEY", API_KEY)
            for word in words
        ]
        done = subprocess.run([*words, "--fail", "-s"], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        json.loads(done.stdout)
