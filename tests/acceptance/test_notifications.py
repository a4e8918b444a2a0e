"""The main job on real sockets: notify every session of a user, whoever speaks."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.gateway import Gateway
from tests.support.peers import client, worker

STRANGE_USERS = [
    "42",
    "kim@example.com",
    "0b4a2f5e-6c1e-4b0e-9f0a-1d2c3b4a5f60",
    "김철수",
    "a/b?c=d&e#f %2F",
    "x" * 300,
    "한" * 341,
    "nul\x00and\x7fmore\u2028",
    ".",
]


@pytest.mark.parametrize("user", STRANGE_USERS, ids=ascii)
async def test_any_user_id_is_reached_in_every_session(shared_gateway: Gateway, user: str) -> None:
    tabs = [await client(shared_gateway, user) for _ in range(3)]
    other = await client(shared_gateway, user + "!")
    sender = await worker(shared_gateway)
    answer = await sender.ask(type="notify", user=user, event="job.done", data={"n": [1, None]})
    assert answer["ok"] and answer["offset"] == 1
    for tab in tabs:
        assert tab.welcome["user"] == user
        message = await tab.receive()
        assert (message["event"], message["data"]) == ("job.done", {"n": [1, None]})
        assert message["offset"] == 1 and message["id"] == answer["id"]
    await sender.ask(type="notify", user=user + "!", event="own")
    assert (await other.receive())["event"] == "own"


async def test_returning_client_gets_what_it_missed_once_and_in_order(
    shared_gateway: Gateway,
) -> None:
    sender = await worker(shared_gateway)
    first = await client(shared_gateway, "returning")
    for number in range(5):
        await sender.ask(type="notify", user="returning", event="n", data=number)
    seen = await first.receive_many(3)
    await first.close()
    for number in range(5, 300):
        await sender.ask(type="notify", user="returning", event="n", data=number)
    position = {"epoch": first.welcome["epoch"], "offset": str(seen[-1]["offset"])}
    second = await client(shared_gateway, "returning", **position)
    assert second.welcome["recovered"] is True and second.welcome["offset"] == 3
    missed = await second.receive_many(297)
    assert [m["data"] for m in missed] == list(range(3, 300))
    assert [m["offset"] for m in missed] == list(range(4, 301))
    await sender.ask(type="notify", user="returning", event="n", data="live")
    assert (await second.receive())["data"] == "live"


@pytest.mark.parametrize(
    ("position", "recovered"),
    [
        ({}, None),
        ({"epoch": "0123456789abcdef", "offset": "1"}, False),
        ({"epoch": "OWN", "offset": "999"}, False),
        ({"epoch": "OWN", "offset": "1"}, True),
    ],
)
async def test_recovered_is_true_false_or_null(
    shared_gateway: Gateway, position: dict[str, str], recovered: bool | None
) -> None:
    user = f"recovered-{json.dumps(position)}"
    sender = await worker(shared_gateway)
    first = await client(shared_gateway, user)
    await sender.ask(type="notify", user=user, event="n")
    if position.get("epoch") == "OWN":
        position = position | {"epoch": first.welcome["epoch"]}
    again = await client(shared_gateway, user, **position)
    assert again.welcome["recovered"] is recovered
    assert (again.welcome["epoch"], again.welcome["offset"]) == (first.welcome["epoch"], 1)


async def test_collapse_keeps_the_newest_and_says_what_it_skipped(shared_gateway: Gateway) -> None:
    sender = await worker(shared_gateway)
    first = await client(shared_gateway, "collapse")
    for percent in range(0, 101, 10):
        await sender.ask(
            type="notify", user="collapse", event="progress", data=percent, collapse_key="job:1"
        )
    assert [m["data"] for m in await first.receive_many(11)] == list(range(0, 101, 10))
    again = await client(shared_gateway, "collapse", epoch=first.welcome["epoch"], offset="2")
    assert again.welcome["recovered"] is True
    newest = await again.receive()
    assert (newest["data"], newest["offset"], newest["prev"]) == (100, 11, 2)


async def test_ephemeral_has_no_offset_and_is_not_kept(shared_gateway: Gateway) -> None:
    sender = await worker(shared_gateway)
    tab = await client(shared_gateway, "ephemeral")
    answer = await sender.ask(
        type="notify", user="ephemeral", event="typing", data=1, durable=False
    )
    assert answer["ok"] and "offset" not in answer
    message = await tab.receive()
    assert message["event"] == "typing" and "offset" not in message
    again = await client(shared_gateway, "ephemeral", epoch=tab.welcome["epoch"], offset="0")
    assert again.welcome["recovered"] is True and again.welcome["offset"] == 0
    await sender.ask(type="notify", user="ephemeral", event="next")
    assert (await again.receive())["event"] == "next"


async def test_idempotency_key_returns_the_first_receipt(shared_gateway: Gateway) -> None:
    sender = await worker(shared_gateway)
    call = {"type": "notify", "user": "once", "event": "paid", "idempotency_key": "order-7"}
    first = await sender.ask(**call)
    second = await sender.ask(**call)
    assert not first.get("duplicate") and second["duplicate"] is True
    assert (second["id"], second["offset"]) == (first["id"], first["offset"])


async def test_clients_send_reaches_attached_workers_only(shared_gateway: Gateway) -> None:
    attached, idle = await worker(shared_gateway), await worker(shared_gateway)
    tab = await client(shared_gateway, "sender/김")
    assert (await attached.ask(type="attach", user="sender/김"))["ok"]
    assert (await tab.ask(type="send", event="start", data={"format": "webp"}))["ok"]
    message = await attached.receive()
    assert message == {
        "type": "message",
        "user": "sender/김",
        "client": tab.welcome["client"],
        "event": "start",
        "data": {"format": "webp"},
    }
    assert (await attached.ask(type="detach", user="sender/김"))["ok"]
    assert (await tab.ask(type="send", event="again"))["ok"]
    answer = await attached.ask(type="presence", user="sender/김")
    assert answer["online"] is True
    assert [s["session"] for s in answer["sessions"]] == [tab.welcome["session"]]
    assert (await idle.ask(type="presence", user="nobody"))["online"] is False


async def test_same_client_id_replaces_the_older_socket(shared_gateway: Gateway) -> None:
    first = await client(shared_gateway, "twice")
    second = await client(shared_gateway, "twice", clientId=first.welcome["client"].lower())
    assert second.welcome["client"] == first.welcome["client"]
    code, reason = await first.closed()
    assert (code, reason) == (4503, "replaced by a newer connection of this client")
    answer = await second.ask(type="sessions")
    assert [s["session"] for s in answer["sessions"]] == [second.welcome["session"]]


async def test_worker_id_replaces_as_a_client_id_does(shared_gateway: Gateway) -> None:
    first = await worker(shared_gateway, name="old")
    stranger = await worker(
        shared_gateway, "other-worker-secret", worker_id=first.welcome["worker"]
    )
    await worker(shared_gateway, worker_id=first.welcome["worker"])
    assert (await first.closed())[0] == 4503
    assert (await stranger.ask(type="presence", user="x"))["ok"], "another key is another worker"


async def test_ack_refresh_and_ping(shared_gateway: Gateway) -> None:
    tab = await client(shared_gateway, "acks")
    assert (await tab.ask(type="ack", epoch=tab.welcome["epoch"], offset=0))["ok"]
    answer = await tab.ask(type="refresh", token="no.jwt.here")
    assert answer["error"] == {"code": "unauthorized", "message": "token: not valid"}
    await asyncio.sleep(0)
