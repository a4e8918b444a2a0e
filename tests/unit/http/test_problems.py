"""Errors as problems: their status, their members, and where in a body a wrong member is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpResponse, HttpResponseNotAllowed
from ninja.errors import HttpError, ValidationError

from sockets.exceptions import (
    GatewayUnavailable,
    InvalidMessage,
    MessageTooLarge,
    NoWorkerAvailable,
    TaskIdTaken,
    TooManyRequests,
)
from sockets.http.problem import problem
from sockets.http.problems import of_authentication, of_gateway, of_http, of_text, of_validation
from sockets.http.reader import Unreadable
from sockets.types import PoolLoad


def request(body: bytes = b"") -> Any:
    return type("Request", (), {"body": body})()


def told(response: HttpResponse) -> Any:
    found = json.loads(response.content)
    assert found["status"] == response.status_code
    assert response["Content-Type"] == "application/problem+json"
    return found


@pytest.mark.parametrize(
    ("error", "status", "members"),
    [
        (InvalidMessage("no"), 422, {"code": "invalid_message", "detail": "no"}),
        (MessageTooLarge("no"), 413, {"code": "message_too_large"}),
        (TaskIdTaken(), 409, {"code": "task_id_taken"}),
        (TooManyRequests("slowly", 1.23456), 429, {"retry_after": 1.235}),
        (
            GatewayUnavailable("away", outcome="unknown", id="x"),
            503,
            {"code": "gateway_unavailable", "outcome": "unknown", "id": "x"},
        ),
        (
            NoWorkerAvailable("p", [PoolLoad("p", 1, 2, 2)], 1),
            503,
            {"pools": [{"pool": "p", "workers": 1, "capacity": 2, "held": 2}]},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_gateway_refuses(error: Any, status: int, members: dict[str, Any]) -> None:
    response = of_gateway(request(), error)
    assert response.status_code == status
    assert members.items() <= told(response).items()


def test_whoever_is_to_wait_is_told_in_whole_seconds() -> None:
    assert of_gateway(request(), TooManyRequests("slowly", 1.2))["Retry-After"] == "2"


@pytest.mark.parametrize(
    ("loc", "kind", "body", "where"),
    [
        (("path", "user"), "x", b"", "path.user"),
        (("body", "message", "ttl"), "x", b'{"ttl": 0}', "body.ttl"),
        (("body", "batch", "messages", 1, "user"), "x", b'{"messages":[{},{"user":0}]}', None),
        (("body", "message", "event"), "missing", b"{}", "body.event"),
        (("body", "message", "ttl", "float"), "x", b'{"ttl": "x"}', "body.ttl"),
        (("body", "message", "list[str]", 5), "x", b'["a"]', "body"),
        (("body", "message", "ttl"), "x", b"{", "body.message.ttl"),
    ],
)
def test_a_wrong_member_is_named_by_its_place_in_what_was_sent(
    loc: tuple[Any, ...], kind: str, body: bytes, where: str | None
) -> None:
    error = ValidationError([{"loc": loc, "msg": "it is wrong", "type": kind}])
    found = told(of_validation(request(body), error))
    where = where or "body.messages.1.user"
    assert found["errors"] == [{"where": where, "message": "it is wrong"}]
    assert (found["code"], found["detail"]) == ("invalid_request", f"{where}: it is wrong")


def test_of_very_many_wrong_members_a_hundred_are_named() -> None:
    wrong = [{"loc": ("query", n), "msg": "m", "type": "x"} for n in range(150)]
    assert len(told(of_validation(request(), ValidationError(wrong)))["errors"]) == 100
    assert told(of_validation(request(), ValidationError([])))["detail"] == "not valid"


def test_a_body_that_cannot_be_read_is_told_in_our_words() -> None:
    error = HttpError(400, "Cannot parse request body")
    assert told(of_http(request(), error))["detail"] == "Cannot parse request body"
    error.__cause__ = Unreadable("it is no JSON")
    assert told(of_http(request(), error))["detail"] == "it is no JSON"


def test_without_a_key_it_says_how_to_send_one() -> None:
    response = of_authentication(request(), None)
    assert response["WWW-Authenticate"] == 'Bearer realm="gateway"'
    assert "Authorization: Bearer" in told(response)["detail"]


def test_what_django_answers_by_itself_becomes_a_problem() -> None:
    assert told(of_text(HttpResponse(status=404)))["detail"].endswith("see /api/v1/docs")
    assert told(of_text(HttpResponse(status=404), "/api/v1/nodes"))["detail"].endswith(
        "it is /api/v1/nodes"
    )
    response = of_text(HttpResponseNotAllowed(["POST"]))
    assert told(response)["detail"] == "another method is meant" and response["Allow"] == "POST"
    assert told(of_text(HttpResponse(status=400)))["detail"] == "Bad Request"


def test_what_is_no_error_or_a_problem_already_stays_as_it_is() -> None:
    for response in (HttpResponse("ok"), problem(404, "no such user")):
        assert of_text(response) is response
