"""Keys of workers and backends on a real gateway: scopes, ends, rotation, rates."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from sockets.auth.keys import hash_of, make_secret
from sockets.base.ids import new_id
from tests.support.gateway import API_KEY, SHORT, WORKER_KEY, Gateway, running
from tests.support.peers import Peer, client, http_get, refused, worker
from tests.support.scale import scaled
from tests.support.valkey import Server

SCOPES = ("notify", "presence", "messages", "admin", "tasks:image.convert")
REFRESH = 0.3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    environment = SHORT | {"KEYS_REFRESH": f"{REFRESH}"}
    with running(tmp_path_factory.mktemp("keys"), **environment) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def secrets(place: Gateway) -> dict[str, str]:
    """A key for each scope."""
    return {scope: create(place, f"only-{scope.replace(':', '-')}", scope) for scope in SCOPES}


def create(gateway: Gateway, name: str, *scopes: str, lasts: float | None = None) -> str:
    """What `create_key` does, for less than a second: in another process than the gateway's."""
    id, secret = make_secret()
    now = datetime.now(UTC)
    ends = None if lasts is None else now + timedelta(seconds=lasts)
    row = (id, name, hash_of(secret), " ".join(scopes), at(now), at(ends))
    with database(gateway) as rows:
        rows.execute(
            "insert into sockets_accesskey (id, name, hash, scopes, created_at, expires_at) "
            "values (?, ?, ?, ?, ?, ?)",
            row,
        )
    return secret


def end(gateway: Gateway, secret: str, after: float = 0) -> None:
    """What `end_key` and `--overlap` do."""
    column = "expires_at" if after else "ended_at"
    moment = at(datetime.now(UTC) + timedelta(seconds=after))
    with database(gateway) as rows:
        rows.execute(
            f"update sockets_accesskey set {column} = ? where id = ?", (moment, secret[3:11])
        )


@contextmanager
def database(gateway: Gateway) -> Iterator[sqlite3.Connection]:
    url = gateway.environment.get("DATABASE_URL", "")
    file = url.removeprefix("sqlite:///") or f"{gateway.data_dir}/gateway.sqlite3"
    with closing(sqlite3.connect(file, timeout=20)) as connection, connection:
        yield connection


def at(moment: datetime | None) -> str | None:
    """As Django writes it."""
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S.%f}"


async def call(
    gateway: Gateway, secret: str, method: str, path: str, body: Any = None
) -> httpx.Response:
    url = gateway.http(f"/api/v1{path}", private=True)
    async with httpx.AsyncClient(trust_env=False, timeout=30, verify=False) as http:
        return await http.request(
            method, url, json=body, headers={"Authorization": f"Bearer {secret}"}
        )


TASK = new_id()
REQUESTS: list[tuple[str, str, Any, str]] = [
    ("POST", "/users/42/messages", {"event": "e"}, "notify"),
    ("POST", "/messages/batch", {"messages": [{"user": "42", "event": "e"}]}, "notify"),
    ("POST", "/broadcast", {"event": "e"}, "notify"),
    ("GET", "/users/42/messages", None, "presence messages"),
    ("GET", "/users/42/messages/1/delivery", None, "presence"),
    ("GET", "/users/42/delivery?message=k", None, "presence"),
    ("GET", "/users/42/ledger", None, "presence"),
    ("GET", "/users/42", None, "presence"),
    ("POST", "/presence", {"users": ["42"]}, "presence"),
    ("GET", "/sessions", None, "presence"),
    ("GET", "/sessions/live", None, "presence"),
    ("GET", f"/sessions/{TASK}", None, "presence"),
    ("GET", "/overview", None, "presence"),
    ("GET", "/refusals", None, "presence"),
    ("GET", "/workers", None, "presence"),
    ("GET", "/users/42/report", None, "presence"),
    ("POST", "/users/42/trace", {"minutes": 1}, "admin"),
    ("DELETE", "/users/42/trace", None, "admin"),
    ("POST", f"/tasks/{TASK}/release", None, "tasks:image.convert"),
    ("DELETE", "/users/42/sessions", None, "admin"),
    ("DELETE", "/users/forgotten", None, "admin"),
    ("POST", "/users/42/revocations", {"sid": "x"}, "admin"),
    ("PUT", "/users/blocked/block", {}, "admin"),
    ("DELETE", "/users/blocked/block", None, "admin"),
    ("DELETE", f"/sessions/{TASK}", None, "admin"),
    ("GET", "/nodes", None, "admin"),
    ("POST", "/tasks", {"pool": "image.convert", "event": "e"}, "tasks:image.convert"),
    ("POST", "/tasks", {"pool": "other", "event": "e"}, ""),
    ("GET", f"/tasks/{TASK}", None, "tasks:image.convert"),
    ("DELETE", f"/tasks/{TASK}", None, "tasks:image.convert"),
]


@pytest.mark.parametrize(("method", "path", "body", "needs"), REQUESTS)
async def test_a_key_may_do_what_its_scopes_hold(
    place: Gateway,
    secrets: dict[str, str],
    method: str,
    path: str,
    body: Any,
    needs: str,
) -> None:
    for scope, secret in secrets.items():
        answer = await call(place, secret, method, path, body)
        if scope in needs.split():
            assert answer.status_code in (200, 404, 503), answer.text
        else:
            assert answer.status_code == 403, (scope, answer.text)
            problem = answer.json()
            assert problem["code"] == "forbidden"
            told = needs.replace("image.convert", "").replace(" ", " or ")
            assert (told or "tasks:") in problem["detail"]


async def test_the_document_names_the_scopes(place: Gateway) -> None:
    document = (await call(place, "none", "GET", "/openapi.json")).json()
    found = {
        (method.upper(), path.removeprefix("/api/v1")): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for operation in found.values():
        assert {"401", "403", "429"} <= operation["responses"].keys()
    assert found["POST", "/users/{user}/messages"]["security"] == [{"ApiKey": ["notify"]}]
    assert found["POST", "/tasks"]["security"] == [{"ApiKey": ["tasks:<pool>"]}]
    assert len(found) == 31
    either = [{"ApiKey": ["presence"]}, {"ApiKey": ["messages"]}]
    assert found["GET", "/users/{user}/messages"]["security"] == either
    assert all(len(operation["security"][0]["ApiKey"]) == 1 for operation in found.values())


FRAMES: list[tuple[dict[str, Any], str]] = [
    ({"type": "notify", "user": "42", "event": "e"}, "notify"),
    ({"type": "presence", "user": "42"}, "presence"),
    ({"type": "attach", "user": "42"}, "presence"),
]


async def test_a_worker_may_do_what_its_scopes_hold(
    place: Gateway, secrets: dict[str, str]
) -> None:
    for scope in ("notify", "presence", "tasks:image.convert"):
        peer = await worker(place, secrets[scope])
        for frame, needs in FRAMES:
            reply = await peer.ask(**frame)
            assert reply["ok"] is (scope == needs), (scope, reply)
            if not reply["ok"]:
                assert reply["error"] == {
                    "code": "forbidden",
                    "message": f"this key has no scope {needs}",
                }
        assert (await peer.ask(type="detach", user="42"))["ok"]
    code, reason = await refuse(place, secrets["admin"])
    assert (code, "HTTP API" in reason) == (4502, True)


async def refuse(gateway: Gateway, secret: str, **params: str) -> tuple[int, str]:
    header = {"Authorization": f"Bearer {secret}"}
    return await refused(gateway.worker_url(**params), additional_headers=header)


async def test_pools_are_those_of_the_key(place: Gateway, secrets: dict[str, str]) -> None:
    one = secrets["tasks:image.convert"]
    peer = await worker(place, one, pools="image.convert")
    assert peer.welcome["pools"] == ["image.convert"]
    assert await refuse(place, one, pools="image.convert,other") == (
        4502,
        "this key has no scope tasks:other",
    )
    assert (await refuse(place, secrets["notify"], pools="image.convert"))[0] == 4502
    any_pool = create(place, "any-pool", "tasks:*")
    await worker(place, any_pool, pools="image.convert,other")


async def test_another_pools_task_is_as_if_it_were_not_there(
    place: Gateway, secrets: dict[str, str]
) -> None:
    taker = await worker(place, pools="private")
    body = {"pool": "private", "event": "e"}
    answer, _ = await asyncio.gather(call(place, API_KEY, "POST", "/tasks", body), accept(taker))
    task = answer.json()["id"]
    for method in ("GET", "DELETE"):
        answer = await call(place, secrets["tasks:image.convert"], method, f"/tasks/{task}")
        assert answer.status_code == 404
    answer = await call(place, API_KEY, "GET", f"/tasks/{task}")
    assert answer.json()["state"] == "running"


async def accept(peer: Peer) -> str:
    offer = await peer.receive()
    assert offer["type"] == "task"
    assert (await peer.ask(type="accept", task=offer["task"], offer=offer["offer"]))["ok"]
    return str(offer["task"])


async def test_each_kind_of_key_has_its_doors(place: Gateway) -> None:
    assert (await call(place, API_KEY, "GET", "/nodes")).status_code == 200
    assert (await call(place, WORKER_KEY, "GET", "/nodes")).status_code == 401
    assert (await refuse(place, API_KEY))[0] == 4501
    both = create(place, "both", "notify", "presence")
    await worker(place, both)
    assert (await call(place, both, "GET", "/users/42")).status_code == 200


async def test_a_key_that_ends_takes_its_workers_with_it(place: Gateway) -> None:
    first, second = (create(place, "ending", "notify") for _ in range(2))
    one, other = await worker(place, first), await worker(place, second)
    bystander = await worker(place)
    end(place, first)
    assert await one.closed() == (4508, "this key has ended")
    assert (await call(place, first, "GET", "/users/42")).status_code == 401
    assert await refuse(place, first) == (
        4501,
        "this key is not known, or has ended: see manage.py create_key",
    )
    for peer in (other, bystander):
        assert (await peer.ask(type="notify", user="42", event="e"))["ok"]


async def test_a_key_that_expires_ends_in_the_same_way(place: Gateway) -> None:
    secret = create(place, "short", "notify", lasts=4)
    peer = await worker(place, secret)
    assert (await peer.closed(20))[0] == 4508
    assert (await refuse(place, secret))[0] == 4501


async def test_the_commands_make_and_end_keys_of_a_running_gateway(place: Gateway) -> None:
    made = place.manage("create_key", "shop", "--scope", "notify").stdout
    secret = made.removesuffix("\n")
    assert (await call(place, secret, "POST", "/broadcast", {"event": "e"})).status_code == 200
    peer = await worker(place, secret)
    assert "has ended" in place.manage("end_key", "shop").stdout
    assert (await peer.closed())[0] == 4508


async def test_rotation_while_a_worker_holds_a_task(place: Gateway) -> None:
    old = create(place, "rotating", "tasks:rotation")
    id = new_id()
    holder = await worker(place, old, pools="rotation", worker_id=id)
    body = {"pool": "rotation", "event": "e"}
    made = call(place, API_KEY, "POST", "/tasks", body)
    _, task = await asyncio.gather(made, accept(holder))
    new = create(place, "rotating", "tasks:rotation")
    end(place, old, after=4)
    for secret in (old, new):
        answer = await call(place, secret, "GET", f"/tasks/{task}")
        assert answer.json()["state"] == "running", "both count"
    assert (await holder.closed(20))[0] == 4508
    successor = await worker(place, new, pools="rotation", worker_id=id)
    assert successor.welcome["tasks"] == [task]
    assert (await successor.ask(type="done", task=task, data=7))["ok"]
    answer = await call(place, new, "GET", f"/tasks/{task}")
    assert (answer.json()["state"], answer.json()["result"]) == ("done", 7)


async def test_no_secret_is_in_the_log_and_every_use_is(place: Gateway) -> None:
    secret = create(place, "logged", "notify", "admin")
    assert (await call(place, secret, "POST", "/broadcast", {"event": "e"})).status_code == 200
    await worker(place, secret)
    assert (await call(place, secret, "GET", "/users/42")).status_code == 403
    await call(place, secret, "DELETE", "/users/42/sessions")
    wrong = secret[:-4] + "AAAA"
    assert (await call(place, wrong, "GET", "/users/42")).status_code == 401
    log = place.log()
    assert secret not in log and wrong not in log and secret[12:] not in log
    lines = [line for line in log.splitlines() if "gateway.audit" in line]
    used = [line for line in lines if "key_used" in line and secret[3:11] in line]
    assert ["worker" in line for line in used] == [False, True]
    assert any("no scope presence" in line and "key:logged" in line for line in lines)
    assert any("disconnected" in line and "key:logged" in line for line in lines)


@pytest.mark.parametrize("nodes", [2])
async def test_an_end_on_one_node_is_heard_by_all(
    tmp_path: Path, redis: Server, nodes: int
) -> None:
    environment = SHORT | {
        "REDIS_URL": redis.url,
        "KEYS_REFRESH": f"{REFRESH}",
        "DATABASE_URL": f"sqlite:///{tmp_path}/shared.sqlite3",
    }
    with (
        running(tmp_path / "a", **environment | {"NODE_NAME": "a"}) as a,
        running(tmp_path / "b", **environment | {"NODE_NAME": "b"}) as b,
    ):
        secret = create(a, "far", "notify")
        far = await worker(b, secret)
        end(a, secret)
        assert (await far.closed())[0] == 4508
        assert (await call(b, secret, "POST", "/broadcast", {"event": "e"})).status_code == 401
        assert "Traceback" not in a.log() + b.log()


async def test_a_key_has_its_rate(tmp_path: Path) -> None:
    environment = SHORT | {"API_RATE": "5", "API_BURST": "10"}
    with running(tmp_path / "data", **environment) as gateway:
        other = create(gateway, "other", "presence")
        answers = await asyncio.gather(
            *(call(gateway, API_KEY, "GET", "/users/42") for _ in range(40))
        )
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 10 <= len(answers) - len(refused) < 40
        assert {answer.status_code for answer in answers} == {200, 429}
        problem = refused[0].json()
        assert problem["code"] == "too_many_requests" and problem["retry_after"] > 0
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert (await call(gateway, other, "GET", "/users/42")).status_code == 200
        await asyncio.sleep(problem["retry_after"] + 1)
        assert (await call(gateway, API_KEY, "GET", "/users/42")).status_code == 200

        wrong = await asyncio.gather(*(call(gateway, "guess", "GET", "/nodes") for _ in range(60)))
        assert {answer.status_code for answer in wrong} == {401, 429}
        assert (await call(gateway, other, "GET", "/users/42")).status_code == 200
        metrics = http_get(gateway.worker_port, "/metrics")[1].decode()
        assert 'gateway_rate_limited_total{kind="api"} 0.0' not in metrics
        assert 'gateway_api_requests_total{status="4xx"}' in metrics


async def test_invented_keys_do_not_read_the_database_each_time(place: Gateway) -> None:
    """Many at once share a reading, and somebody with a right key is not kept waiting for long."""
    tab = await client(place, "42")
    guesses = [f"gw_{'abcdefgh'[: 8 - 2]}{a}{b}_{'x' * 43}" for a in "abcdefgh" for b in "abcdefgh"]
    count = scaled(10, 1)
    answers = await asyncio.gather(
        *(call(place, guess, "GET", "/users/42") for guess in guesses * count)
    )
    assert {answer.status_code for answer in answers} <= {401, 429}
    assert (await call(place, API_KEY, "GET", "/users/42")).json()["online"]
    assert json.loads((await call(place, API_KEY, "GET", "/users/42")).text)["sessions"]
    await tab.close()
