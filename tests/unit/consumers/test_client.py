"""What a client asks, and what it is told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import jwt
import pytest

from sockets import signals
from sockets.base import metrics
from sockets.codes import CloseCode
from sockets.exceptions import GatewayUnavailable
from sockets.layers.groups import worker_group
from sockets.node.heartbeat import look_at
from sockets.node.node import Node
from sockets.protocol.connection import MAX_BAD_FRAMES
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from sockets.protocol.places import Places
from sockets.signals import client_message
from sockets.types import MAX_SHOWN, Kind, Notification, Position, PresenceChange, Task
from tests.support.doubles import JWT_SECRET, info, until
from tests.support.observed import Observed
from tests.support.patience import PATIENCE
from tests.unit.consumers.conftest import Peer

MakePeer = Callable[..., Peer]


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """What Django code heard of clients."""
    told: list[dict[str, Any]] = []

    def receiver(sender: object, **given: Any) -> None:
        told.append({name: given[name] for name in ("user", "client", "event", "data")})
        told[-1] |= {"meta": given["meta"]} if given["meta"] is not None else {}

    client_message.connect(receiver)
    yield told
    client_message.disconnect(receiver)


@pytest.fixture
def tell_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's receivers run in a thread, where this test's database is not."""
    monkeypatch.setattr("sockets.consumers.client.tidy_connections", lambda: None)


def token(sub: str = "42", **claims: Any) -> str:
    return jwt.encode(
        {"sub": sub, "exp": int(time.time()) + 3_600} | claims, JWT_SECRET, algorithm="HS256"
    )


async def test_a_request_without_a_ref_is_not_answered(client: MakePeer) -> None:
    tab = client()
    await tab.opened()
    await tab.write(type="sessions")
    await tab.write(type="send", event="e")
    assert (await tab.ask(type="sessions"))["ok"]


@pytest.mark.parametrize("ref", ["", "r", 0, 2**40])
async def test_a_ref_comes_back_as_it_was(client: MakePeer, ref: object) -> None:
    tab = client()
    await tab.opened()
    await tab.write(type="sessions", ref=ref)
    assert (await tab.frame())["ref"] == ref


async def test_a_users_own_sessions(node: Node, client: MakePeer) -> None:
    tabs = [client(**{"user-agent": f"browser {n}"}) for n in range(2)]
    stranger = client("user_id=43")
    welcomes = [await tab.opened() for tab in (*tabs, stranger)][:2]
    told = (await tabs[0].ask(type="sessions"))["sessions"]
    assert [(one["session"], one["client"], one["agent"]) for one in told] == [
        (welcome["session"], welcome["client"], f"browser {n}")
        for n, welcome in reversed(list(enumerate(welcomes)))
    ], "newest first"
    assert all(abs(one["since"] - time.time()) < 60 for one in told)


async def test_of_many_sessions_the_newest_are_told(node: Node, client: MakePeer) -> None:
    tab = client()
    welcome = await tab.opened()
    for n in range(MAX_SHOWN + 5):
        await node.presence.register(info("42", connected_at=float(n), id=f"{n:026}"))
    told = await tab.ask(type="sessions")
    assert told["more"] is True and len(told["sessions"]) == MAX_SHOWN
    newest = [welcome["session"], *(f"{n:026}" for n in range(MAX_SHOWN + 4, 5, -1))]
    assert [one["session"] for one in told["sessions"]] == newest
    other = client("user_id=43")
    await other.opened()
    assert (await other.ask(type="sessions"))["more"] is False


async def test_acks_move_forward_and_never_beyond_what_was_sent(
    node: Node, client: MakePeer
) -> None:
    tab = client()
    epoch = (await tab.opened())["epoch"]
    (session,) = node.hub
    for n in range(3):
        await node.notifier.send(Notification("42", f"e{n}", None))
        await tab.frame()
    for offset, given, acked in [
        (2, epoch, 2),
        (1, epoch, 2),
        (99, epoch, 2),
        (3, "another", 2),
        (3, epoch, 3),
    ]:
        assert (await tab.ask(type="ack", epoch=given, offset=offset))["ok"]
        told = session.info
        assert (told.acked, told.acked_at is None) == (Position(epoch, acked), False)


@pytest.mark.usefixtures("tell_in_place")
async def test_a_send_goes_to_workers_and_to_django_code(
    node: Node, client: MakePeer, heard: list[dict[str, Any]]
) -> None:
    messages: list[Any] = []
    await node.layer.group_add_sink(worker_group("42"), messages.append)
    tab = client()
    me = (await tab.opened())["client"]
    assert (await tab.ask(type="send", event="start", data={"한": [1, 2.5]}))["ok"]
    assert heard == [{"user": "42", "client": me, "event": "start", "data": {"한": [1, 2.5]}}]
    (message,) = messages
    assert (message["type"], message["user"], message["client"]) == ("user.send", "42", me)


@pytest.mark.usefixtures("tell_in_place")
async def test_data_that_python_cannot_read_ends_no_socket(
    client: MakePeer, heard: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """1e999 is JSON, and no float: it is the client's mistake, told in a reply, and no bug of ours.

    (msgspec passes it as raw JSON and refuses it when the signal's receivers want a value.)
    """
    tab = client()
    await tab.opened()
    await tab.send_to('{"type":"send","event":"e","data":1e999,"ref":"r"}')
    message = await tab.receive_output(timeout=PATIENCE)
    assert message["type"] == "websocket.send", message
    assert "Traceback" not in caplog.text
    assert (await tab.ask(type="sessions"))["ok"]


@pytest.mark.parametrize(
    ("text", "code", "ref"),
    [
        ("{", "bad_json", None),
        ('{"type":"what","ref":0}', "unknown_type", 0),
        ('{"type":"ack","ref":"r"}', "bad_message", "r"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_socket_stays(
    client: MakePeer, text: str, code: str, ref: object
) -> None:
    tab = client()
    await tab.opened()
    await tab.send_to(text)
    answer = await tab.frame()
    assert (answer["type"], answer["ok"], answer.get("ref")) == ("reply", False, ref)
    assert answer["error"]["code"] == code and answer["error"]["message"]
    assert (await tab.ask(type="sessions"))["ok"]


HALF = '{"type":"send","event":"e","data":{"text":"party \\ud83c","ref":"no"},"ref":%d}'
DEEP = '{"type":"send","event":"e","data":' + "[" * 5_000 + "]" * 5_000 + ',"ref":%d}'


@pytest.mark.parametrize(
    "text",
    [HALF, DEEP, '{"type":"send","event":"e","data":1e999,"ref":%d}', '{"type":5,"ref":%d}'],
    ids=["half an emoji", "deep", "infinite", "no type"],
)
async def test_whoever_speaks_json_is_answered_and_never_closed(
    client: MakePeer, text: str
) -> None:
    """4500 means: never come back. A text field with maxlength cuts an emoji in two."""
    tab = client()
    await tab.opened()
    for ref in range(MAX_BAD_FRAMES + 4):
        await tab.send_to(text % ref)
        answer = await tab.frame()
        assert (answer["ok"], answer["ref"]) == (False, ref), answer
        assert answer["error"]["code"] == "bad_message"
    assert (await tab.ask(type="sessions"))["ok"]


async def test_json_between_frames_that_are_none_changes_no_count(client: MakePeer) -> None:
    tab = client()
    await tab.opened()
    for ref in range(MAX_BAD_FRAMES):
        await tab.send_to(HALF % ref)
        await tab.frame()
        await tab.send_to("{")
        await tab.frame()
    assert (await tab.closed())[0] == 4500


async def test_a_frame_that_comes_too_fast_is_answered_by_its_ref_all_the_same(
    node: Node, client: MakePeer
) -> None:
    tab = client()
    await tab.opened()
    (session,) = node.hub
    session.connection.charge(10_000)
    await tab.send_to(HALF % 7)
    answer = await tab.frame()
    assert (answer["error"]["code"], answer["ref"]) == ("rate_limited", 7)


async def test_a_large_frame_that_is_no_message_counts_as_several(
    node: Node, client: MakePeer
) -> None:
    """To find its `ref` takes as long as to handle some small ones."""
    node.conf = replace(node.conf, client_rate=1.0)  # else a slow machine earns them back meanwhile
    tab = client()
    await tab.opened()
    large = '{"type":"send","event":"e","data":' + "[" * 30_000 + "]" * 30_000 + ',"ref":1}'
    burst = node.conf.client_burst
    for _ in range(burst // 2):
        await tab.send_to(large)
        answer = await tab.frame()
        if answer["error"]["code"] == "rate_limited":
            return
    pytest.fail("as many as of small ones")


async def test_a_large_message_that_comes_too_fast_is_answered_with_its_ref(
    node: Node, client: MakePeer
) -> None:
    node.conf = replace(node.conf, client_rate=0.001, client_burst=1)
    tab = client()
    await tab.opened()
    for ref in (1, 2):
        await tab.write(type="ack", epoch="e", offset=1, ref=ref, more="x" * 50_000)
    assert (await tab.frame())["ref"] == 1
    answer = await tab.frame()
    assert (answer["error"]["code"], answer["ref"]) == ("rate_limited", 2)


async def test_small_frames_that_are_no_messages_cost_what_they_take(
    node: Node, client: MakePeer
) -> None:
    node.conf = replace(node.conf, client_rate=1.0)
    tab = client()
    await tab.opened()
    nested = '{"ref":1,"data":' + "[1," * 4_000 + "1" + "]" * 4_000 + "}"
    told = []
    for _ in range(node.conf.client_burst // 4):
        await tab.send_to(nested)
        told.append((await tab.frame())["error"]["code"])
    assert told[0] == "bad_message" and told[-1] == "rate_limited"


async def test_a_binary_frame_is_answered(client: MakePeer) -> None:
    tab = client()
    await tab.opened()
    await tab.send_to(bytes_data=b"{}")
    assert (await tab.frame())["error"]["code"] == "binary_not_supported"


async def test_too_many_bad_frames_in_a_row_are_the_end(client: MakePeer) -> None:
    tab = client()
    await tab.opened()
    for _ in range(MAX_BAD_FRAMES - 1):
        await tab.send_to("{")
        await tab.frame()
    await tab.write(type="pong")
    for _ in range(MAX_BAD_FRAMES):
        await tab.send_to("{")
        await tab.frame()
    assert (await tab.closed())[0] == 4500


async def test_a_store_that_is_away_is_told_to_the_request_that_wanted_it(
    node: Node, client: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """protocol.md: `reply` answers the request that carried its `ref`; SDKs wait for that ref."""

    async def away(*args: Any) -> Any:
        raise GatewayUnavailable("the state store does not answer")

    tab = client()
    await tab.opened()
    monkeypatch.setattr(node.presence, "sessions_of", away)
    await tab.write(type="sessions", ref="mine")
    answer = await tab.frame()
    assert answer["error"]["code"] == "unavailable"
    assert answer.get("ref") == "mine"


# --- tokens on the live socket


async def test_a_new_token_on_the_live_socket(node: Node, client: MakePeer) -> None:
    soon = int(time.time()) + 60
    tab = client("", authorization=f"Bearer {token(exp=soon)}")
    await tab.opened()
    (session,) = node.hub
    assert session.connection.expires_at is not None
    assert (await tab.ask(type="refresh", token=token(exp=soon + 60)))["ok"]
    assert session.connection.expires_at >= soon + 60
    answer = await tab.ask(type="refresh", token=token(exp=1))
    assert answer["error"] == {"code": "unauthorized", "message": "token: expired"}
    assert session.connection.expires_at >= soon + 60
    endless = jwt.encode({"sub": "42"}, JWT_SECRET, algorithm="HS256")
    answer = await tab.ask(type="refresh", token=endless)
    assert answer["error"]["message"] == "token: claim 'exp' is missing"
    assert session.connection.expires_at >= soon + 60
    assert (await tab.ask(type="refresh", token=token()))["ok"]
    assert session.connection.expires_at >= soon + 3_000


async def test_a_client_is_told_how_long_its_proof_lasts(client: MakePeer) -> None:
    """As `exp` says: what the gateway adds for its own clock and for patience is its own."""
    tab = client("", authorization=f"Bearer {token(exp=int(time.time()) + 60)}")
    assert 0 < (await tab.opened())["expires_in"] <= 60
    answer = await tab.ask(type="refresh", token=token(exp=int(time.time()) + 3_600))
    assert 60 < answer["expires_in"] <= 3_600
    refused = await tab.ask(type="refresh", token=token(exp=1))
    assert "expires_in" not in refused


async def test_a_proof_without_an_end_has_none_that_is_told(client: MakePeer) -> None:
    assert "expires_in" not in await client("user_id=42").opened()


async def test_a_token_says_more_than_who_it_is(
    node: Node, client: MakePeer, heard: list[dict[str, Any]], tell_in_place: None
) -> None:
    more: dict[str, Any] = {
        "sid": "s",
        "jti": "j",
        "info": {"name": "Kim"},
        "meta": {"plan": "pro"},
        "iat": 1,
    }
    tab = client("", authorization=f"Bearer {token(**more)}")
    await tab.opened()
    (shown,) = await node.presence.sessions_of("42")
    assert (shown.sid, shown.jti, shown.info, shown.issued_at) == ("s", "j", {"name": "Kim"}, 1)
    assert (await tab.ask(type="send", event="e"))["ok"]
    assert heard[0]["meta"] == {"plan": "pro"}
    assert (await tab.ask(type="refresh", token=token(sid="t", info=7)))["ok"]
    (shown,) = await node.presence.sessions_of("42")
    assert (shown.sid, shown.jti, shown.info, shown.issued_at) == ("t", "", 7, None)


async def test_a_new_token_that_was_revoked_meanwhile(node: Node, client: MakePeer) -> None:
    tab = client("", authorization=f"Bearer {token(jti='old', iat=1)}")
    await tab.opened()
    await node.control.revoke("42", "jti:new", None)
    await tab.write(type="refresh", ref="r", token=token(jti="new", iat=1))
    assert (await tab.closed())[0] == 4508


# --- a token in the first frame


async def test_a_token_in_the_first_frame(node: Node, client: MakePeer) -> None:
    tab = client("auth=frame")
    assert (await tab.connect(timeout=PATIENCE))[0]
    await tab.write(type="connect", token=token())
    welcome = await tab.frame()
    assert (welcome["type"], welcome["user"]) == ("welcome", "42")
    again = await tab.ask(type="connect", token=token())
    assert again["error"]["code"] == "bad_message" and "refresh" in again["error"]["message"]


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        ({"type": "connect", "token": "x"}, 4501, "token: not valid"),
        ({"type": "connect"}, 4500, "the first frame is not `connect`"),
        ({"type": "pong"}, 4500, "the first frame is not `connect`"),
        ({}, 4500, "the first frame is not `connect`"),
    ],
)
async def test_a_first_frame_that_is_wrong(
    client: MakePeer, frame: dict[str, Any], code: int, reason: str
) -> None:
    # The handshake's own token is not looked at: one way is enough.
    tab = client("auth=frame&user_id=42", authorization=f"Bearer {token()}")
    assert (await tab.connect(timeout=PATIENCE))[0]
    await tab.write(**frame)
    closed = await tab.closed()
    assert closed[0] == code and closed[1].startswith(reason)


async def test_a_first_frame_that_never_comes(node: Node, client: MakePeer) -> None:
    node.conf = replace(node.conf, connect_timeout=1)
    node.client_auth._seats = Places(1, 1)
    tab, more = client("auth=frame"), client("auth=frame")
    assert (await tab.connect(timeout=PATIENCE))[0] and (await more.connect(timeout=PATIENCE))[0]
    assert (await more.closed())[0] == 1013, "no seat"
    assert await tab.closed() == (4501, "no token came within 1 s")
    gone = client("auth=frame")
    assert (await gone.connect(timeout=PATIENCE))[0]
    await gone.leave()
    assert node.client_auth._seats.taken == 0 and len(node.hub) == 0


async def test_a_token_of_another_user_is_the_end(client: MakePeer) -> None:
    tab = client("", authorization=f"Bearer {token()}")
    await tab.opened()
    await tab.write(type="refresh", ref="r", token=token("43"))
    assert (await tab.closed())[0] == 4501


async def test_a_full_outbox_stops_the_reading_of_requests(
    node: Node, client: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that does not read its replies is not read either."""
    tab = client()
    await tab.opened()
    (session,) = node.hub
    refused = asyncio.Event()
    write = session.outbox.write

    def full(frame: Frame) -> Write:
        refused.set()
        return Write.FULL

    monkeypatch.setattr(session.outbox, "write", full)
    await tab.write(type="sessions", ref=1)
    await tab.write(type="sessions", ref=2)
    async with asyncio.timeout(PATIENCE):
        await refused.wait()
    assert await tab.receive_nothing(0.02)
    monkeypatch.setattr(session.outbox, "write", write)
    session.drained()
    assert [(await tab.frame())["ref"] for _ in range(2)] == [1, 2]


@contextmanager
def receivers(**chosen: Any) -> Iterator[None]:
    """These functions hear these signals."""
    for name, receiver in chosen.items():
        getattr(signals, name).connect(receiver)
    try:
        yield
    finally:
        for name, receiver in chosen.items():
            getattr(signals, name).disconnect(receiver)


@pytest.mark.parametrize("users", [1, 60])
async def test_messages_that_hang_delay_no_presence_and_no_task(
    node: Node, client: MakePeer, worker: MakePeer, users: int
) -> None:
    release, begun = threading.Event(), list[str]()
    told: list[str] = []

    def hang(sender: object, user: str, **_: Any) -> None:
        begun.append(user)
        release.wait(2 * PATIENCE)

    def online(sender: object, change: PresenceChange, **_: Any) -> None:
        told.append(change.user)

    def done(sender: object, task: Task, **_: Any) -> None:
        told.append(task.id)

    with receivers(client_message=hang, user_online=online, task_done=done):
        try:
            tabs = [client(f"user_id=u{n % users}") for n in range(60)]
            for tab in tabs:
                await tab.opened()
                await tab.write(type="send", event="e", ref="sent")
            await until(lambda: len(begun) == min(users, 4))
            bystander = client("user_id=other")
            await bystander.opened()
            await until(lambda: "other" in told)
            crew = worker("pools=p")
            await crew.opened()
            assigning = asyncio.ensure_future(node.dispatcher.assign("p", "e", None, user_id="u0"))
            offer = await crew.frame()
            assert (await crew.ask(type="accept", task=offer["task"], offer=offer["offer"]))["ok"]
            assert (await crew.ask(type="done", task=(await assigning).id))["ok"]
            await until(lambda: offer["task"] in told)
            assert len(begun) == min(users, 4), "they hang still"
            if users == 1:
                assert (await bystander.ask(type="ack", epoch="e", offset=0))["ok"]
                await bystander.write(type="send", event="e", ref="sent")
                await until(lambda: "other" in begun)
        finally:
            release.set()
        for tab in tabs:
            replies = [frame async for frame in frames_until(tab, "reply")]
            assert replies[-1]["ok"], "and all are heard in the end"
    assert len(begun) == 60 + (users == 1)


async def frames_until(peer: Peer, kind: str) -> AsyncIterator[dict[str, Any]]:
    while True:
        frame = await peer.frame()
        yield frame
        if frame["type"] == kind:
            return


async def test_where_the_application_takes_no_more_the_client_is_told(
    node: Node, client: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sockets.events.receivers.MAX_OF_USER", 1)
    release, begun = threading.Event(), list[str]()

    def hang(sender: object, event: str, **_: Any) -> None:
        begun.append(event)
        release.wait(2 * PATIENCE)

    def waits(least: int) -> bool:
        return len(begun) == 1 and node.receivers.messages._waiting >= least

    with receivers(client_message=hang):
        try:
            tabs = [client() for _ in range(3)]
            for n, tab in enumerate(tabs):
                await tab.opened()
                await tab.write(type="send", event=f"e{n}", ref="sent")
                await until(partial(waits, n % 2))
            refused = await tabs[1].frame()
            assert (refused["ok"], refused["error"]["code"]) == (False, "unavailable")
        finally:
            release.set()
        assert [(await tabs[n].frame())["ok"] for n in (0, 2)] == [True, True]
    assert begun == ["e0", "e2"]


async def test_who_waits_for_others_is_not_closed_for_a_pong_that_was_not_read(
    node: Node, client: MakePeer
) -> None:
    release, begun = threading.Event(), list[str]()

    def hang(sender: object, user: str, **_: Any) -> None:
        begun.append(user)
        release.wait(2 * PATIENCE)

    def have_come(count: int) -> bool:
        return len(begun) + node.receivers.messages._waiting == count

    with receivers(client_message=hang):
        try:
            tabs = [client(f"user_id=u{n}") for n in range(5)]
            for tab in tabs:
                await tab.opened()
            for n, tab in enumerate(tabs):
                await tab.write(type="send", event="e", ref="sent")
                await until(partial(have_come, n + 1))
            sessions = {session.info.user: session for session in node.hub}
            busy, waits = sessions[begun[0]], sessions["u4"]
            for session in (busy, waits):
                look_at(session, time.monotonic() + 30, time.time())
            for tab in (tabs[int(begun[0][1])], tabs[4]):
                assert (await tab.frame())["type"] == "ping"
            for session in (busy, waits):
                look_at(session, time.monotonic() + 300, time.time())
            assert (busy.close_code, waits.close_code) == (CloseCode.NO_PONG, None)
        finally:
            release.set()
        assert (await tabs[4].frame())["ok"]


async def test_the_wait_for_a_first_frame_is_not_ours(client: MakePeer) -> None:
    welcomes = Observed(metrics.welcome[Kind.CLIENT])
    tab = client("auth=frame")
    accepted, _ = await tab.connect(timeout=PATIENCE)
    assert accepted
    await asyncio.sleep(1)
    await tab.write(type="connect", token=token())
    assert (await tab.frame())["type"] == "welcome"
    assert welcomes.count == 1 and welcomes.sum < 1
    await tab.leave()
