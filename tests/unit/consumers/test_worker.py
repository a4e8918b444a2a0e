"""What a worker asks, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sockets.exceptions import GatewayUnavailable
from sockets.layers.groups import worker_group
from sockets.node.node import Node
from sockets.protocol.connection import MAX_BAD_FRAMES
from sockets.types import Kind
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
    text = (await tab.receive_output(timeout=5))["text"]
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
    message = await one.receive_output(timeout=5)
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
    node: Node, worker: MakePeer, monkeypatch: pytest.MonkeyPatch
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
