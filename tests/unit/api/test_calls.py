"""Calls as they are carried: what goes in comes out, of results and of errors alike."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sockets import api
from sockets.api.calls import CALLS, Answered, Raised, answer, call_id, result_of, written
from sockets.delivery.hub import LocalSession
from sockets.exceptions import (
    GatewayError,
    GatewayUnavailable,
    InvalidMessage,
    MessageTooLarge,
    NoWorkerAvailable,
    TaskIdTaken,
    TooManyRequests,
)
from sockets.node.node import Node
from sockets.reports import (
    FrameHeader,
    Health,
    LiveSession,
    LiveSessions,
    NodeReport,
    Overview,
    Sample,
    SessionReport,
    StreamHeader,
    Trace,
    TracedFrame,
    TurnedAway,
    TurnedAwayList,
    UserReport,
    Visit,
    WorkerReport,
    WorkersReport,
)
from sockets.types import (
    Kind,
    NodeInfo,
    Notification,
    PoolLoad,
    Position,
    PresenceState,
    UserPresence,
)
from tests.support.doubles import WELCOME, info, local_session, outbox_of, running_node, task

ULID = "01JZ3N5Y3C8M4Q0T7V9X2B6D1F"

ARGUMENTS: dict[str, dict[str, Any]] = {
    "notify_user": {"user_id": 42, "event": "e", "data": {"n": 10**30, "t": "한"}, "ttl": 5},
    "notify_users": {"user_ids": ["42", 7], "event": "e", "durable": False},
    "notify_batch": {"notifications": [Notification("42", "e", [1]), Notification(7, "f")]},
    "broadcast": {"event": "e", "data": 1.5},
    "read_stream": {"user_id": "42"},
    "stream_position": {"user_id": "42"},
    "delivery_of": {"user_id": "42", "offset": 1},
    "explain_delivery": {"user_id": "42", "idempotency_key": "k"},
    "ledger_of": {"user_id": "42"},
    "forget_user": {"user_id": "7"},
    "is_online": {"user_id": "42"},
    "sessions_of": {"user_id": "42"},
    "presence_of": {"user_id": "42"},
    "presence_of_users": {"user_ids": ["42", "7"]},
    "wait_until_online": {"user_id": "42", "timeout": 0},
    "disconnect_user": {"user_id": "7", "keep": iter([ULID])},
    "block_user": {"user_id": "7", "until": datetime(2038, 1, 1, tzinfo=UTC)},
    "unblock_user": {"user_id": "7"},
    "revoke": {"user_id": "7", "sid": "login-1"},
    "revoke_till_now": {"user_id": "7", "before": 4e9},
    "disconnect_session": {"session_id": ULID},
    "disconnect_sessions": {"session_ids": {ULID}},
    "nodes": {},
    "live_sessions": {"limit": 5},
    "session_page": {"cursor": None},
    "drain_node": {"name": "nobody"},
    "cancel_task": {"task_id": ULID},
    "task": {"task_id": ULID},
    "worker_pools": {},
    "overview": {"after": 5.0},
    "find_live_sessions": {"q": "42", "order": "-lag", "younger_than": 5},
    "session_report": {"session_id": ULID},
    "refusals": {"address": "192.0.2."},
    "workers": {},
    "release_task": {"task_id": ULID},
    "user_report": {"user_id": "42"},
    "trace_user": {"user_id": "42", "minutes": 1, "by": "kim"},
    "read_trace": {"user_id": "42"},
    "end_trace": {"user_id": "42"},
}
MOVING = {"block_user", "revoke", "unblock_user", "nodes", "overview", "find_live_sessions"} | {
    "trace_user"
}
"""What they return is another thing when it is asked again."""
FAILS = {"assign_task": {"pool": "p", "event": "e", "data": {"a": 1}, "user_id": 7}}


async def tab(node: Node) -> LocalSession:
    session = local_session("42")
    opened = await node.sessions.open_client(session, None)
    node.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
    return session


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    monkeypatch.setattr("sockets.api.operations.visits_of", lambda user: [])
    async with running_node(monkeypatch, tmp_path) as made:
        yield made


def test_every_function_may_be_called() -> None:
    """Rule 22: the functions of `sockets.api`, both faces of each."""
    asked = {name for name in api.__all__ if f"a{name}" in api.__all__}
    assert asked | {"revoke_till_now"} == CALLS.keys() == ARGUMENTS.keys() | FAILS.keys()


async def carried(name: str, given: dict[str, Any]) -> Any:
    call = CALLS[name]
    put = getattr(call.twin, "put", None)
    plain = given if put is None else put(**given)
    return result_of(call, await answer(written(call, plain, "")))


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_a_result_comes_back_as_it_was(node: Node, name: str) -> None:
    await tab(node)
    given = ARGUMENTS[name]
    again = dict(given) | ({"keep": [ULID]} if "keep" in given else {})
    found, expected = await carried(name, given), await CALLS[name].twin(**again)
    assert type(found) is type(expected)
    if name.startswith(("notify", "broadcast")):
        assert len(msgspec.json.encode(found)) == len(msgspec.json.encode(expected))
    elif name not in MOVING:
        assert found == expected


async def test_data_arrives_as_it_was_written(node: Node) -> None:
    session = await tab(node)
    await carried("notify_user", ARGUMENTS["notify_user"])
    (frame,) = outbox_of(session).frames
    assert frame["data"] == {"n": 10**30, "t": "한"}


@pytest.mark.parametrize(
    "error",
    [
        InvalidMessage("a text"),
        MessageTooLarge("too large"),
        NoWorkerAvailable("p", [PoolLoad("p", 1, 2, 2)], 3),
        TaskIdTaken(),
        TooManyRequests("slower", 2.5),
        GatewayUnavailable("Redis is away", outcome="unknown", id=ULID, detail="hunter2"),
        ValueError("a broadcast is ephemeral"),
    ],
)
def test_an_error_comes_back_as_it_was(error: Exception) -> None:
    body = msgspec.json.encode(Answered(error=Raised.of(error)))
    assert b"hunter2" not in body
    with pytest.raises(type(error)) as found:
        result_of(CALLS["notify_user"], body)
    hidden = {"detail"}
    assert type(found.value) is type(error) and str(found.value) == str(error)
    for name, value in vars(error).items():
        if name not in hidden:
            assert getattr(found.value, name) == value


async def test_what_a_call_raises_is_raised_at_the_caller(node: Node) -> None:
    with pytest.raises(NoWorkerAvailable, match="'p' is connected"):
        await carried("assign_task", FAILS["assign_task"])
    with pytest.raises(InvalidMessage, match="an aware datetime"):
        await carried("block_user", {"user_id": "7", "until": datetime(2038, 1, 1)})
    with pytest.raises(ValueError, match="ephemeral"):
        await carried("broadcast", {"event": "e", "durable": True})


def test_one_that_the_caller_does_not_know_is_a_gateway_error() -> None:
    body = msgspec.json.encode(Answered(error=Raised("FromTheFuture", "a text")))
    with pytest.raises(GatewayError, match="a text"):
        result_of(CALLS["nodes"], body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"name": 1, "args": {}}',
        b'{"name": "notify_user"}',
        b'{"name": "notify_user", "args": []}',
        b'{"name": "__import__", "args": {"name": "os"}}',
        b'{"name": "notify_user_on_commit", "args": {}}',
        b'{"name": "notify_batch", "args": {"notifications": [1]}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
async def test_what_is_no_call_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        await answer(body)


@pytest.mark.parametrize(
    "args",
    [{}, {"user_id": "7", "event": "e", "colour": "red"}, {"event": ["e"]}, {"user_id": None}],
)
async def test_wrong_arguments_are_told(node: Node, args: dict[str, Any]) -> None:
    """As of another version: named, and nothing is sent."""
    body = json.dumps({"name": "notify_user", "args": args}).encode()
    with pytest.raises(GatewayError):
        result_of(CALLS["notify_user"], await answer(body))


async def test_the_id_of_a_call_is_that_of_what_it_sends(node: Node) -> None:
    call = CALLS["notify_user"]
    given = call.twin.put(user_id="42", event="e")  # type: ignore[attr-defined]
    receipt = result_of(call, await answer(written(call, given, ULID)))
    assert receipt.id == ULID
    assert call_id.get() is None
    again = result_of(call, await answer(written(call, given, ULID)))
    assert (again.id, again.offset) == (ULID, receipt.offset), "a repetition doubles nothing"


def test_an_answer_that_cannot_be_read_is_told() -> None:
    for body in (b"", b'{"result": 5}', b'{"error": {"text": "x"}}'):
        with pytest.raises(GatewayUnavailable, match="update both") as error:
            result_of(CALLS["nodes"], body)
        assert error.value.outcome == "unknown"


LIVE = LiveSession(info(), Health.SLOW, 1, 2, 0.5)
AT = Position("e", 1)
SHOWN: dict[str, Any] = {
    "session_report": SessionReport(
        LIVE,
        "jwt",
        5.0,
        AT,
        AT,
        {"outbox": 1},
        {"a": 2},
        ["u"],
        [FrameHeader(1, 2.0, True, "send", "e", 5)],
    ),
    "read_trace": Trace(
        "u",
        1.0,
        2.0,
        True,
        "x",
        [TracedFrame("s", "n", FrameHeader(1, 2.0, True, "send", "e", 5), "b")],
        3,
        "n",
        ["z"],
    ),
    "workers": WorkersReport(
        [PoolLoad("p", 1, 1, 1)],
        [WorkerReport("k/w", info(), "n", 1, ("p",), 1, [task()])],
        1,
        [task()],
    ),
    "user_report": UserReport(
        "u",
        UserPresence("u", PresenceState.CONNECTED, (info(),), 5.0),
        [LIVE],
        [info()],
        [task()],
        True,
        None,
        AT,
        0,
        [StreamHeader(1, "i", "e", 1.0, 5)],
        [Visit("s", "c", "n", "a", "g", 1.0, None, None, "")],
        [],
    ),
    "overview": Overview(
        1.0,
        1,
        1,
        1,
        [NodeReport(NodeInfo("i", "n", 1, "h", "v", 1.0, "ready"), True, loop_lag=0.1)],
        [Sample(1.0, 1, 1, 1, 1, {"1000": 1}, 1, 1, 1, 1, 1, 1, None, 0.5)],
        10.0,
        [],
    ),
    "refusals": TurnedAwayList(
        [TurnedAway(1.0, 1.0, 1, "n", Kind.CLIENT, 4501, "r", "a", "g", "o")], 1, 1, []
    ),
    "find_live_sessions": LiveSessions([LIVE], 1, 1, [], 1.0),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_operators_are_shown_arrives_as_it_was(name: str) -> None:
    body = msgspec.json.encode(Answered(msgspec.Raw(msgspec.json.encode(SHOWN[name]))))
    assert result_of(CALLS[name], body) == SHOWN[name]
