"""The calls of the HTTP API: what they ask, what they make of the answer, and when they repeat.

`both` runs every test with each face against the same answers.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

import gateway_client
from gateway_client import AsyncClient, Client, Notification, Position, calls, errors

KEY = "of-a-test-0123456789"
RECEIPT = {"id": "1", "epoch": "e", "offset": 1, "duplicate": False, "reach": None}

Answer = httpx.Response | Exception
Does = Callable[..., Any]


class Api:
    """Answers in order, and keeps what was asked. `call` does a call with one of the faces."""

    def __init__(self, face: str) -> None:
        self._face = face
        self.answers: list[Answer] = []
        self.asked: list[httpx.Request] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call(self, name: str, *args: Any, retries: int = 2, **kwargs: Any) -> Any:
        made: dict[str, Any] = {"transport": httpx.MockTransport(self._answer), "retries": retries}
        if self._face == "sync":
            with Client("http://gateway:4001", KEY, **made) as client:
                answer = getattr(client, name)(*args, **kwargs)
                return list(answer) if inspect.isgenerator(answer) else answer
        return asyncio.run(self._awaited(name, made, args, kwargs))

    async def _awaited(self, name: str, made: Any, args: Any, kwargs: Any) -> Any:
        async with AsyncClient("http://gateway:4001/api/v1/", KEY, **made) as client:
            answer = getattr(client, name)(*args, **kwargs)
            if inspect.isasyncgen(answer):
                return [item async for item in answer]
            return await answer

    def body(self, place: int = -1) -> Any:
        return json.loads(self.asked[place].content)


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Api:
    async def no_pause(seconds: float) -> None:
        waited.append(seconds)

    made = Api(request.param)
    waited: list[float] = []
    made.waited = waited  # type: ignore[attr-defined]
    monkeypatch.setattr("gateway_client.client.time.sleep", waited.append)
    monkeypatch.setattr("gateway_client.client.asyncio.sleep", no_pause)
    return made


def ok(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def problem(
    status: int, code: str, headers: dict[str, str] | None = None, **members: Any
) -> Answer:
    body = {"title": "t", "status": status, "detail": "what to do", "code": code, **members}
    return httpx.Response(status, json=body, headers=headers)


def test_a_notification_as_it_is_asked_for(api: Api) -> None:
    api.answers = [ok(RECEIPT)]
    when = datetime(2027, 1, 2)
    receipt = api.call("notify_user", "a/b%", "order.paid", {"at": when, "한": 1.5}, ttl=60)
    assert (receipt.id, receipt.offset, receipt.reach) == ("1", 1, None)
    (asked,) = api.asked
    assert asked.method == "POST"
    assert str(asked.url) == "http://gateway:4001/api/v1/users/a%2Fb%25/messages"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    body = api.body()
    assert len(body.pop("idempotency_key")) > 16
    assert body == {
        "event": "order.paid",
        "data": {"at": "2027-01-02T00:00:00", "한": 1.5},
        "ttl": 60,
    }


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("", "e"), "user id"),
        ((True, "e"), "bool"),
        (("..", "e"), "batch"),
        (("\ud83c", "e"), "UTF-8"),
        (("u", "e", float("nan")), "JSON"),
        (("u", "e", "\ud83c"), "JSON"),
        (("u", "e", object()), "JSON"),
    ],
)
def test_what_cannot_be_asked_for_is_told_and_not_sent(api: Api, args: Any, told: str) -> None:
    with pytest.raises(errors.InvalidRequest, match=told) as caught:
        api.call("notify_user", *args)
    assert caught.value.outcome == "nothing" and api.asked == []


def test_a_durable_message_is_sent_again_under_one_key(api: Api) -> None:
    api.answers = [
        httpx.ReadTimeout("too long"),
        problem(503, "gateway_unavailable", {"Retry-After": "2"}, outcome="unknown", id="x"),
        ok(RECEIPT),
    ]
    assert api.call("notify_user", 42, "e").id == "1"
    assert len({body["idempotency_key"] for body in map(api.body, range(3))}) == 1
    first, second = api.waited  # type: ignore[attr-defined]
    assert 0.2 <= first <= 0.4 and 2.4 <= second <= 2.8


def test_what_may_have_been_done_and_has_no_key_is_not_sent_again(api: Api) -> None:
    for name, args in (
        ("broadcast", ["e"]),
        ("disconnect_user", ["u"]),
        ("revoke", ["u"]),
        ("cancel_task", ["t"]),
        ("release_task", ["t"]),
        ("trace_user", ["u"]),
        ("end_trace", ["u"]),
        ("forget_user", ["u"]),
    ):
        api.answers = [httpx.ReadError("cut")]
        with pytest.raises(errors.Unavailable) as caught:
            api.call(name, *args)
        assert caught.value.outcome == "unknown"
    api.answers = [httpx.ReadError("cut")]
    with pytest.raises(errors.Unavailable):
        api.call("notify_user", "u", "e", durable=False)


def test_what_was_surely_not_done_is_sent_again(api: Api) -> None:
    api.answers = [
        httpx.ConnectError("refused"),
        problem(429, "too_many_requests", {"Retry-After": "1"}, retry_after=0.25),
        ok(RECEIPT),
    ]
    assert api.call("broadcast", "e").id == "1"
    assert 0.65 <= api.waited[1] <= 1.05  # type: ignore[attr-defined]


def test_repetitions_end(api: Api) -> None:
    api.answers = [httpx.ConnectError("refused") for _ in range(3)]
    with pytest.raises(errors.Unreachable, match="http://gateway:4001/api/v1/") as caught:
        api.call("is_online", "u")
    assert len(api.asked) == 3 and caught.value.outcome == "nothing"
    api.answers = [problem(503, "gateway_unavailable", {"Retry-After": "3600"}, outcome="nothing")]
    with pytest.raises(errors.Unavailable) as told:
        api.call("is_online", "u")
    assert told.value.retry_after == 3600, "longer than anybody waits here"


@pytest.mark.parametrize(
    ("answer", "kind", "outcome"),
    [
        (problem(400, "bad_request"), errors.InvalidRequest, "nothing"),
        (problem(401, "unauthorized"), errors.Unauthorized, "nothing"),
        (problem(403, "forbidden"), errors.Forbidden, "nothing"),
        (problem(404, "not_found"), errors.NotFound, "nothing"),
        (problem(409, "task_id_taken"), errors.TaskIdTaken, "nothing"),
        (problem(413, "message_too_large"), errors.TooLarge, "nothing"),
        (problem(429, "too_many_requests", retry_after=1), errors.TooManyRequests, "nothing"),
        (problem(500, "internal_error"), errors.Unavailable, "unknown"),
        (problem(503, "try_again_later"), errors.Unavailable, "nothing"),
        (
            problem(503, "gateway_unavailable", outcome="unknown"),
            errors.Unavailable,
            "unknown",
        ),
        (httpx.Response(502, text="<html>"), errors.Unavailable, "unknown"),
        (httpx.Response(302, text=""), errors.UnexpectedAnswer, "unknown"),
        (httpx.Response(404, text="<html>"), errors.NotFound, "nothing"),
        (httpx.Response(200, text="<html>"), errors.UnexpectedAnswer, "happened"),
        (ok({"id": 1}), errors.UnexpectedAnswer, "happened"),
    ],
)
def test_errors(api: Api, answer: Answer, kind: type[Exception], outcome: str) -> None:
    assert isinstance(answer, httpx.Response)
    api.answers = [httpx.Response(answer.status_code, content=answer.content)]
    with pytest.raises(errors.GatewayError) as caught:
        api.call("notify_user", "u", "e", retries=0)
    assert type(caught.value) is kind and caught.value.outcome == outcome
    assert KEY not in f"{caught.value!r} {caught.value}"


def test_where_a_request_is_wrong(api: Api) -> None:
    wrong = [{"where": "body.messages.1.user", "message": "missing"}]
    api.answers = [problem(422, "invalid_request", errors=wrong)]
    with pytest.raises(errors.InvalidRequest) as caught:
        api.call("notify_user", "u", "e")
    assert caught.value.errors[0].where == "body.messages.1.user"
    assert isinstance(caught.value, ValueError)


def test_nobody_for_a_task_is_told_at_once(api: Api) -> None:
    load = {"pool": "p", "workers": 1, "capacity": 2, "held": 2}
    api.answers = [problem(503, "no_worker_available", {"Retry-After": "1"}, pools=[load])]
    with pytest.raises(errors.NoWorkerAvailable) as caught:
        api.call("assign_task", "p", "e")
    assert caught.value.pools[0].held == 2 and len(api.asked) == 1


def test_a_task_is_repeated_with_its_id(api: Api) -> None:
    made = {"id": "t", "pool": "p", "event": "e", "state": "running", "worker": "w", "created": 1.0}
    api.answers = [httpx.ReadTimeout("long"), ok(made, 201)]
    assert api.call("assign_task", "p", "e", [1], user=7).state == "running"
    first, second = api.body(0), api.body(1)
    assert first == second and len(first["task_id"]) == 26 and first["user"] == "7"


def test_a_large_batch_goes_in_parts_each_with_its_key(api: Api) -> None:
    many = [Notification(user=n, event="e", data="x") for n in range(2_500)]
    sizes = (1_000, 1_000, 500)
    api.answers = [ok({"receipts": [RECEIPT] * size}) for size in sizes]
    assert len(api.call("notify_batch", many, idempotency_key="k")) == 2_500
    assert tuple(len(api.body(n)["messages"]) for n in range(3)) == sizes
    assert [one.headers["Idempotency-Key"] for one in api.asked] == ["k", "k/1", "k/2"]
    assert api.body(1)["messages"][0] == {
        "user": "1000",
        "event": "e",
        "data": "x",
        "durable": True,
    }


def test_parts_are_cut_by_their_size_too(api: Api) -> None:
    many = [Notification(user="u", event="e", data="x" * 60_000) for _ in range(100)]
    api.answers = [ok({"receipts": [RECEIPT] * 66}), ok({"receipts": [RECEIPT] * 34})]
    assert len(api.call("notify_batch", many)) == 100
    assert all(len(one.content) < 4_100_000 for one in api.asked)


def test_of_a_batch_that_fails_in_the_middle_what_was_sent_is_told(api: Api) -> None:
    many = [Notification(user="u", event="e", durable=False)] * 1_001
    api.answers = [ok({"receipts": [RECEIPT] * 1_000}), httpx.ReadTimeout("long")]
    with pytest.raises(errors.Unavailable) as caught:
        api.call("notify_batch", many)
    assert len(caught.value.receipts) == 1_000 and len(api.asked) == 2


def test_so_it_is_where_a_later_one_is_wrong(api: Api) -> None:
    many = [Notification(user="u", event="e", data=n) for n in range(1_000)]
    api.answers = [ok({"receipts": [RECEIPT] * 1_000})]
    with pytest.raises(errors.InvalidRequest) as caught:
        api.call("notify_batch", [*many, *many[:5], Notification(user="u", event="e", data=open)])
    assert len(caught.value.receipts) == 1_000 and len(api.asked) == 1


def test_an_empty_batch_asks_nobody(api: Api) -> None:
    assert api.call("notify_batch", []) == [] and api.call("presence_of_users", []) == {}
    with pytest.raises(errors.InvalidRequest, match="240"):
        api.call("notify_batch", [], idempotency_key="k" * 241)


def test_many_users_are_asked_about_in_parts(api: Api) -> None:
    away = {"state": "offline", "online": False, "last_seen": None, "sessions": [], "more": False}
    api.answers = [
        ok({"partial": False, "users": {str(n): away for n in numbers}})
        for numbers in (range(10_000), range(10_000, 10_002))
    ]
    found = api.call("presence_of_users", [*range(10_002), "7", 7])
    assert len(found) == 10_002 and found["7"].state == "offline"
    assert [len(api.body(n)["users"]) for n in (0, 1)] == [10_000, 2]


def session(id: str) -> dict[str, Any]:
    known = {"id": id, "kind": "client", "user": "u", "client_id": "c", "node": "n"}
    return known | {"connected_at": 1.0, "sid": "", "acked": {"epoch": "e", "offset": 3}, "new": 1}


def test_pages_are_one_iteration(api: Api) -> None:
    api.answers = [
        ok({"sessions": [session("1"), session("2")], "next": "c1"}),
        ok({"sessions": [session("3")], "next": None}),
    ]
    found = api.call("sessions", node="n", page=2)
    assert [one.id for one in found] == ["1", "2", "3"] and found[0].acked == Position("e", 3)
    assert [dict(one.url.params) for one in api.asked] == [
        {"node": "n", "limit": "2"},
        {"node": "n", "limit": "2", "cursor": "c1"},
    ]


def page(next: int | None, complete: bool = True) -> Answer:
    message = {"offset": 5, "id": "i", "event": "e", "data": None, "time": 1.0}
    members = {"epoch": "E", "head": 9, "complete": complete, "messages": [message], "next": next}
    return ok(members)


def test_a_stream_is_read_to_its_end(api: Api) -> None:
    api.answers = [page(5, complete=False), page(None)]
    assert len(api.call("messages", "u")) == 2, "what is gone from before is not asked for"
    assert dict(api.asked[1].url.params) == {"epoch": "E", "offset": "5", "limit": "100"}


def test_a_gap_in_a_stream_is_told(api: Api) -> None:
    api.answers = [page(None, complete=False)]
    with pytest.raises(errors.PositionGone):
        api.call("messages", "u", after=Position("E", 2))
    api.answers = [page(5), page(None, complete=False)]
    with pytest.raises(errors.PositionGone):
        api.call("messages", "u")


def test_a_block_for_so_long(api: Api) -> None:
    api.answers = [ok({"closed": 1, "unconfirmed": 0})]
    assert api.call("block_user", "u", seconds=60, reason="spam").closed == 1
    assert json.loads(api.asked[0].content) == {"seconds": 60, "reason": "spam"}


def test_lists_in_a_query(api: Api) -> None:
    api.answers = [ok({"closed": 1, "unconfirmed": 0})]
    assert api.call("disconnect_user", "u", keep=["a", "b"]).closed == 1
    assert api.asked[0].url.params.get_list("keep") == ["a", "b"]


NODE = {
    **{"name": "n", "state": "ready", "host": "", "pid": 0, "version": "1", "started_at": 1.0},
    **{"seen_at": 2.0, "clients": 3, "workers": 0, "users": 2, "cpu": 0.1, "memory": 5, "new": 1},
}
LIVE = session("1") | {"health": "slow", "lag": 2, "buffered": 9, "round_trip": None}
HEADER = {"number": 1, "at": 1.0, "inbound": True, "type": "ack", "event": "", "size": 9}
TASK = {"id": "t", "pool": "p", "event": "e", "state": "released", "worker": "w", "created": 1.0}
TRACE = {
    **{"user": "u", "started_at": 1.0, "until": 2.0, "bodies": True, "by": "api:k", "dropped": 0},
    **{"frames": [{"session": "1", "node": "n", "header": HEADER, "body": "{}"}], "next": "x"},
    **{"silent": ["m"]},
}
FACTS = {"epoch": "e", "offset": 4, "fate": "kept", "id": "i", "event": "e", "at": 1.0, "size": 2}
CLIENT = {
    **{"client_id": "c", "standing": "sent", "at": 1.0, "as_of": 2.0, "live": True},
    **{"session": "1", "node": "n", "sent_at": None, "why": ""},
}
STEP: dict[str, Any] = {
    "code": "appended",
    "at": None,
    "client_id": "",
    "session": "",
    "node": "",
    "values": {},
}
TOLD = {
    **{"sessions": [], "message": FACTS, "clients": [CLIENT], "steps": [STEP], "silent": []},
    **{"at": 3.0},
}
ENTRY = {
    **{"client_id": "c", "epoch": "e", "start": 0, "sent": 4, "acked": None, "acked_at": None},
    **{"at": 1.0, "began": 0, "head": 4, "recovered": None, "session": "1", "node": "n"},
    **{"opened_at": 1.0, "ended_at": None, "code": None, "reason": "", "live": True},
}


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "asked", "body", "seen", "expected"),
    [
        (
            *("explain_delivery", ["a/b", 4], {"epoch": "e"}),
            *("GET users/a%2Fb/messages/4/delivery?epoch=e", TOLD),
            *(lambda found: (found.message.fate, found.clients[0].standing), ("kept", "sent")),
        ),
        (
            *("explain_delivery", [7], {"message": "paid 7"}),
            *("GET users/7/delivery?message=paid+7", TOLD),
            *(lambda found: found.steps[0].code, "appended"),
        ),
        (
            *("ledger_of", ["u"], {}, "GET users/u/ledger", {"clients": [ENTRY]}),
            *(
                lambda found: [(one.client_id, one.sent, one.acked) for one in found],
                [("c", 4, None)],
            ),
        ),
        (
            *("overview", [], {"after": 1.5, "last": 60.0}, "GET overview?after=1.5&last=60.0"),
            {
                **{"at": 1.0, "sessions": 3, "users": 2, "workers": 0, "step": 10.0, "silent": []},
                **{"nodes": [{"info": NODE, "answered": True}], "samples": [{"at": 1.0}]},
            },
            *(lambda found: (found.nodes[0].info.clients, found.samples[0].closes), (3, {})),
        ),
        (
            *("find_live_sessions", [], {"q": "u", "health": "slow", "older_than": 60, "limit": 5}),
            "GET sessions/live?q=u&health=slow&older_than=60&order=-connected_at&limit=5",
            {"sessions": [LIVE], "total": 9, "matching": 1, "silent": ["m"], "at": 1.0},
            *(lambda found: (found.sessions[0].health, found.sessions[0].user), ("slow", "u")),
        ),
        (
            *("session_report", ["s/1"], {"frames": True}, "GET sessions/s%2F1?frames=true"),
            {
                **{"session": LIVE, "method": "jwt", "proof_ends": None, "sent": None},
                **{"head": {"epoch": "e", "offset": 4}, "buffers": {"outbox": 9}},
                **{"counters": {}, "attached": [], "frames": [HEADER]},
            },
            *(lambda found: (found.head.offset, found.frames[0].type), (4, "ack")),
        ),
        (
            *("user_report", [7], {}, "GET users/7/report"),
            {
                **{"user": "7", "state": "connected", "online": True, "last_seen": 1.0},
                **{"live": [LIVE], "workers": [session("2")], "tasks": [TASK], "blocked": False},
                **{"blocked_until": None, "head": {"epoch": "e", "offset": 4}, "floor": 0},
                **{"stream": [], "visits": [], "silent": []},
            },
            *(lambda found: (found.live[0].lag, found.tasks[0].state), (2, "released")),
        ),
        (
            *("refusals", [], {"user": 7, "address": "10."}),
            "GET refusals?user=7&address=10.&limit=100",
            {
                "refusals": [
                    {
                        **{"at": 1.0, "since": 1.0, "count": 2, "node": "n", "kind": "client"},
                        **{"code": 4501, "reason": "r", "address": "10.0.0.1", "agent": ""},
                        **{"origin": "", "user": "7", "client_id": ""},
                    }
                ],
                **{"forgotten": 0, "more": 0, "silent": []},
            },
            *(lambda found: found.refusals[0].code, 4501),
        ),
        (
            *("workers", [], {}, "GET workers"),
            {
                "pools": [],
                "workers": [
                    {
                        **{"worker": "k/1", "session": None, "node": "n", "held": 1},
                        **{"pools": ["p"], "capacity": 4, "tasks": [TASK]},
                    }
                ],
                **{"total": 1, "ended": []},
            },
            *(lambda found: found.workers[0].tasks[0].id, "t"),
        ),
        (
            *("release_task", ["t"], {}, "POST tasks/t/release", TASK),
            *(lambda found: found.state, "released"),
        ),
        (
            *("trace_user", ["u"], {"minutes": 5}, "POST users/u/trace", TRACE),
            *(lambda found: (found.until, found.silent), (2.0, ("m",))),
        ),
        (
            *("read_trace", ["u"], {"after": "x"}, "GET users/u/trace?after=x", TRACE),
            *(lambda found: (found.frames[0].body, found.next), ("{}", "x")),
        ),
        (
            *("end_trace", ["u"], {}, "DELETE users/u/trace", {"ended": True, "silent": ["m"]}),
            *(lambda found: (found.ended, found.silent), (True, ("m",))),
        ),
        (
            *("forget_user", ["a/b"], {}, "DELETE users/a%2Fb"),
            {
                **{"closed": 1, "unconfirmed": 0, "messages": 2, "clients": 1, "state": True},
                **{"rows": 3, "blocked": False, "revoked": True},
            },
            *(lambda found: (found.messages, found.revoked), (2, True)),
        ),
    ],
)
def test_what_operators_ask(
    api: Api,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    asked: str,
    body: Any,
    seen: Does,
    expected: Any,
) -> None:
    api.answers = [ok(body)]
    assert seen(api.call(name, *args, **kwargs)) == expected
    (request,) = api.asked
    path = str(request.url).removeprefix("http://gateway:4001/api/v1/")
    assert f"{request.method} {path}" == asked
    if name == "trace_user":
        assert api.body() == {"minutes": 5, "bodies": False}


def test_a_message_has_one_name(api: Api) -> None:
    with pytest.raises(errors.InvalidRequest, match="offset"):
        api.call("explain_delivery", "u")
    with pytest.raises(errors.InvalidRequest, match="offset"):
        api.call("explain_delivery", "u", 4, message="i")
    assert api.asked == []


def test_what_is_handed_back_must_run(api: Api) -> None:
    api.answers = [problem(409, "http_409")]
    with pytest.raises(errors.TaskNotRunning):
        api.call("release_task", "t")


@pytest.mark.parametrize(
    "url", ["gateway:4001", "ftp://x", "http://", "http://u:p@x", "http://x?k=1"]
)
def test_urls(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Client(url, KEY)


@pytest.mark.parametrize("key", ["", " ", "schlüssel"])
def test_keys(key: str) -> None:
    with pytest.raises(ValueError, match="create_key"):
        Client("http://x", key)


def test_the_key_is_shown_nowhere() -> None:
    with Client("http://x", KEY) as client:
        assert KEY not in repr(client) and "http://x/api/v1/" in repr(client)


def test_both_faces_have_every_call_with_its_arguments() -> None:
    described = {
        name: function
        for name, function in vars(calls).items()
        if inspect.isfunction(function) and function.__module__ == calls.__name__
    }
    public = {name for name in described if not name.startswith("_")}
    assert len(public) == 34
    for face in (Client, AsyncClient):
        for name in public:
            method = getattr(face, name)
            given = list(inspect.signature(method).parameters)
            assert given == ["self", *inspect.signature(described[name]).parameters]
            assert method.__doc__ == described[name].__doc__ is not None


def test_what_is_offered_is_there() -> None:
    assert all(hasattr(gateway_client, name) for name in gateway_client.__all__)
