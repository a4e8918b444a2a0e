"""Errors of the HTTP API as RFC 9457 problem JSON: each says what to do next."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from sockets.conf import get_conf
from sockets.exceptions import GatewayError, GatewayUnavailable, NoWorkerAvailable, TooManyRequests
from sockets.http.problem import CONTENT_TYPE, problem
from sockets.http.reader import Unreadable


def of_gateway(request: HttpRequest, error: Any) -> HttpResponse:
    """Return the problem for what the gateway refuses, or cannot do now."""
    members: dict[str, Any] = {"code": _code(type(error))}
    if isinstance(error, GatewayUnavailable):
        members |= {"outcome": error.outcome, "id": error.id}
    if isinstance(error, TooManyRequests):
        members["retry_after"] = round(error.retry_after, 3)
    if isinstance(error, NoWorkerAvailable):
        members["pools"] = [
            {
                "pool": load.pool,
                "workers": load.workers,
                "capacity": load.capacity,
                "held": load.held,
            }
            for load in error.pools
        ]
    return problem(error.http_status, str(error), **members)


def _code(kind: type[GatewayError]) -> str:
    """Return the error's class as a word: `message_too_large`."""
    return re.sub("(?<!^)([A-Z])", r"_\1", kind.__name__).lower()


def of_validation(request: HttpRequest, error: Any) -> HttpResponse:
    """Return the problem that lists the wrong members and why; what was sent is not repeated."""
    try:
        body: Any = json.loads(request.body or b"null")
    except (ValueError, RecursionError):
        places = [[str(name) for name in one["loc"]] for one in error.errors[:100]]
    else:
        places = [list(_place(one, body)) for one in error.errors[:100]]
    errors = [
        {"where": ".".join(place), "message": one["msg"]}
        for place, one in zip(places, error.errors, strict=False)
    ]
    first = f"{errors[0]['where']}: {errors[0]['message']}" if errors else "not valid"
    return problem(422, first, code="invalid_request", errors=errors)


def _place(error: dict[str, Any], body: Any) -> Iterator[str]:
    """Yield the path to a wrong member in what was sent. The framework has names of its own in
    between: of the argument that takes the body, and of each type that a value could have had."""
    where, *path = error["loc"]
    yield str(where)
    if where != "body":
        yield from map(str, path)
        return
    for index, name in enumerate(path[1:], start=2):
        has = name in body if isinstance(body, dict) else _within(body, name)
        if has or (index == len(path) and error["type"] == "missing"):
            yield str(name)
        if has:
            body = body[name]


def _within(body: Any, index: object) -> bool:
    return isinstance(body, list) and isinstance(index, int) and 0 <= index < len(body)


def of_http(request: HttpRequest, error: Any) -> HttpResponse:
    """Return the problem for an error of the framework or a route in HTTP's terms."""
    why = error.__cause__ if isinstance(error.__cause__, Unreadable) else error
    return problem(error.status_code, str(why))


def of_authentication(request: HttpRequest, error: Any) -> HttpResponse:
    """Return the problem for a missing or unknown key."""
    detail = "send Authorization: Bearer <key>; make one with manage.py create_key"
    return problem(401, detail, code="unauthorized")


def of_text(response: HttpResponse, meant: str = "") -> HttpResponse:
    """Return an error that Django answers by itself (no such path, another method) as a problem.

    `meant`: the path that exists, where the one that was asked for does not.
    """
    if response.status_code < 400 or response.get("Content-Type") == CONTENT_TYPE:
        return response
    there = f"it is {meant}" if meant else f"see {get_conf().api_path}docs"
    detail = {404: f"there is no such path: {there}", 405: "another method is meant"}.get(
        response.status_code, response.reason_phrase
    )
    made = problem(response.status_code, detail)
    if "Allow" in response:
        made["Allow"] = response["Allow"]
    return made


def install(api: NinjaAPI) -> None:
    """Have all errors of the API answered as problems."""
    api.add_exception_handler(GatewayError, of_gateway)
    api.add_exception_handler(ValidationError, of_validation)
    api.add_exception_handler(HttpError, of_http)
    api.add_exception_handler(AuthenticationError, of_authentication)
