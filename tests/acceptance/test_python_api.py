"""The Python API and plain Channels code, called from Django code in the gateway's process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_notifications import STRANGE_USERS
from tests.support.gateway import SHORT, Gateway, running, uvicorn
from tests.support.peers import Peer, client_at, http_get


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    data = tmp_path_factory.mktemp("site")
    with uvicorn(data, "tests.acceptance.with_views:application", **SHORT) as gateway:
        yield gateway


async def call(site: Gateway, name: str, **arguments: Any) -> Any:
    body = json.dumps(arguments).encode()
    status, answer = await asyncio.to_thread(
        http_get, site.client_port, f"/call/{name}", method="POST", body=body
    )
    assert status == 200, site.log()
    return json.loads(answer)


ONE, NONE = {"closed": 1, "unconfirmed": 0}, {"closed": 0, "unconfirmed": 0}


async def tab_of(site: Gateway, user: str) -> Peer:
    from urllib.parse import quote

    return await client_at(
        f"ws://127.0.0.1:{site.client_port}/ws/client/?user_id={quote(user, safe='')}"
    )


@pytest.mark.parametrize("user", STRANGE_USERS, ids=ascii)
async def test_group_send_of_plain_channels_code_arrives(site: Gateway, user: str) -> None:
    tabs = [await tab_of(site, user) for _ in range(2)]
    message = {"type": "user.notify", "event": "plain", "data": {"from": "channels", "한": [1.5]}}
    await call(site, "group_send", user=user, message=message)
    for tab in tabs:
        frame = await tab.receive()
        assert (frame["event"], frame["data"]) == ("plain", message["data"])
        assert "offset" not in frame


@pytest.mark.parametrize(
    "message",
    [
        {"type": "user.notify"},
        {"type": "user.notify", "event": 5},
        {"type": "user.notify", "event": "e", "offset": "x", "body": 3},
        {"type": "chat.message", "text": "for another consumer"},
    ],
)
async def test_a_bad_group_message_harms_nobody(site: Gateway, message: dict[str, Any]) -> None:
    tab = await tab_of(site, "harmed")
    await call(site, "group_send", user="harmed", message=message)
    await call(site, "notify_user", user_id="harmed", event="next")
    assert (await tab.receive())["event"] == "next"


async def test_the_sync_functions_from_a_thread(site: Gateway) -> None:
    user = "sync"
    assert await call(site, "is_online", user_id=user) is False
    start = await call(site, "stream_position", user_id=user)
    tab, other = await tab_of(site, user), await tab_of(site, "sync-2")
    assert await call(site, "is_online", user_id=user) is True
    receipt = await call(site, "notify_user", user_id=user, event="e", data={"n": 1})
    assert (receipt["epoch"], receipt["offset"], receipt["reach"]) == (start["epoch"], 1, 1)
    assert (await tab.receive())["id"] == receipt["id"]
    receipts = await call(site, "notify_users", user_ids=[user, "sync-2", "away"], event="many")
    assert [(r["offset"], r["reach"]) for r in receipts] == [(2, 1), (1, 1), (1, 0)]
    assert (await tab.receive())["event"] == (await other.receive())["event"] == "many"
    await call(site, "broadcast", event="all", data="hello")
    assert (await tab.receive())["data"] == (await other.receive())["data"] == "hello"
    (session,) = await call(site, "sessions_of", user_id=user)
    assert session["id"] == tab.welcome["session"] and session["user"] == user
    assert await call(site, "disconnect_user", user_id=user, reason="bye") == ONE
    assert await tab.closed() == (4504, "bye")
    assert await call(site, "disconnect_user", user_id="nobody") == NONE
    done = await call(site, "disconnect_session", session_id=other.welcome["session"])
    assert done == ONE
    assert (await other.closed())[0] == 4504


async def test_exclude_client_spares_the_one_that_caused_it(site: Gateway) -> None:
    one, two = await tab_of(site, "echo"), await tab_of(site, "echo")
    await call(site, "notify_user", user_id="echo", event="e", exclude_client=one.welcome["client"])
    assert (await two.receive())["event"] == "e"
    assert await one.receive() == {"type": "position", "offset": 1}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"user_id": "", "event": "e"}, "InvalidMessage"),
        ({"user_id": "x" * 1025, "event": "e"}, "InvalidMessage"),
        ({"user_id": True, "event": "e"}, "InvalidMessage"),
        ({"user_id": "u", "event": ""}, "InvalidMessage"),
        ({"user_id": "u", "event": "e", "data": "x" * 70_000}, "MessageTooLarge"),
        ({"user_id": "u", "event": "e", "ttl": -1}, "InvalidMessage"),
        ({"user_id": "u", "event": "e", "durable": False, "ttl": 5}, "InvalidMessage"),
        ({"user_id": "u", "event": "e", "durable": False, "collapse_key": "k"}, "InvalidMessage"),
    ],
)
async def test_wrong_arguments_are_told(
    site: Gateway, arguments: dict[str, Any], error: str
) -> None:
    answer = await call(site, "notify_user", **arguments)
    assert answer["error"] == error and answer["text"]


async def test_clients_send_reaches_django_code(site: Gateway) -> None:
    tab = await tab_of(site, "signal")
    assert (await tab.ask(type="send", event="start", data={"n": [1, 2]}))["ok"]
    assert (await tab.ask(type="send", event="fail"))["ok"], (
        "a failing receiver is not the client's"
    )
    told = [one for one in await call(site, "heard") if one["user"] == "signal"]
    assert [(one["event"], one["data"], one["client"]) for one in told] == [
        ("start", {"n": [1, 2]}, tab.welcome["client"])
    ]
    assert told[0]["thread"].startswith("gateway-signal")
    assert "a receiver failed" in site.log()


def test_from_another_process_it_says_how(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT) as gateway:
        gateway.environment["DATA_DIR"] = str(tmp_path)  # where no gateway has left an address
        code = "from sockets.api import notify_user; notify_user('u', 'e')"
        done = gateway.manage("shell", "-c", code, check=False)
    assert done.returncode != 0
    assert "GatewayUnreachable" in done.stderr and "with the same DATA_DIR" in done.stderr
