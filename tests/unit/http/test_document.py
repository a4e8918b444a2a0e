"""The OpenAPI document, from which strangers generate clients: it promises what is so, no less."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_client import calls
from sockets.http.api import api
from sockets.http.document import Problem
from sockets.http.problems import of_gateway, of_validation

DOCUMENT: Any = json.loads(json.dumps(api.get_openapi_schema(path_prefix="/api/v1/")))
SCHEMAS: Any = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    operation["operationId"]: operation
    for operations in DOCUMENT["paths"].values()
    for operation in operations.values()
}


def reached(schema: Any) -> set[str]:
    """The names of all schemas that this one is made of."""
    found = set()
    for part in json.dumps(schema).split('"#/components/schemas/')[1:]:
        name = part.partition('"')[0]
        found |= {name} | reached(SCHEMAS[name])
    return found


ANSWERS = sorted(
    name
    for operation in OPERATIONS.values()
    for status, answer in operation["responses"].items()
    if int(status) < 400
    for name in reached(answer)
    if "properties" in SCHEMAS[name]
)
BODIES = sorted(
    {name for operation in OPERATIONS.values() for name in reached(operation.get("requestBody"))}
)


BY_SCOPE = {"StoredMessage": {"data"}}
"""Members that only some keys may see."""


@pytest.mark.parametrize("name", sorted({*ANSWERS}))
def test_what_is_always_there_is_required(name: str) -> None:
    schema = SCHEMAS[name]
    seldom = BY_SCOPE.get(name, set())
    always = {one: member for one, member in schema["properties"].items() if one not in seldom}
    assert schema["required"] == list(always)
    assert not any("default" in member for member in always.values())


@pytest.mark.parametrize("name", BODIES)
def test_what_may_be_left_out_has_its_default(name: str) -> None:
    for member, schema in SCHEMAS[name]["properties"].items():
        assert (member in SCHEMAS[name].get("required", ())) != ("default" in schema), member


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_null_in_a_query_or_a_header(name: str) -> None:
    for given in OPERATIONS[name]["parameters"]:
        assert "null" not in json.dumps(given["schema"]), given["name"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_whoever_is_to_wait_is_told_how_long(name: str) -> None:
    for status in ("429", "503"):
        assert "Retry-After" in OPERATIONS[name]["responses"][status]["headers"]


def test_the_server_is_where_the_document_is() -> None:
    assert [one["url"] for one in DOCUMENT["servers"]] == ["/"]


def test_no_schema_is_missing() -> None:
    assert reached(DOCUMENT["paths"]) <= SCHEMAS.keys()
    assert {"Problem", "WrongMember", "PoolOut"} <= SCHEMAS.keys()


def test_a_problem_has_the_members_that_the_document_names() -> None:
    from ninja.errors import ValidationError

    from sockets.exceptions import (
        GatewayUnavailable,
        InvalidMessage,
        NoWorkerAvailable,
        TooManyRequests,
    )
    from sockets.types import PoolLoad

    request: Any = type("Request", (), {"body": b"{}"})()
    wrong = ValidationError([{"loc": ("body", "message", "event"), "msg": "m", "type": "missing"}])
    told = [of_validation(request, wrong)] + [
        of_gateway(request, error)
        for error in (
            InvalidMessage("no"),
            TooManyRequests("slowly", 1.25),
            GatewayUnavailable("away", outcome="unknown", id="x"),
            NoWorkerAvailable("p", [PoolLoad("p", 1, 2, 2)], 1),
        )
    ]
    members: set[str] = set()
    for response in told:
        problem = json.loads(response.content)
        assert Problem(**problem).dict(exclude_unset=True) == problem
        members |= problem.keys()
    assert members == Problem.model_fields.keys(), "and none that nobody sends"
    assert members == SCHEMAS["Problem"]["properties"].keys()
    assert {"title", "status", "detail", "code"} == {*SCHEMAS["Problem"]["required"]}


OTHER_NAMES = {
    "presence_of_user": "presence_of",
    "read_messages": "read_stream",
    "find_delivery": "explain_delivery",
    "get_task": "task",
    **{f"list_{name}": name for name in ("nodes", "refusals", "sessions", "workers")},
}
"""What is called otherwise in the Python client."""


def test_the_python_client_has_each_operation() -> None:
    asked = {OTHER_NAMES.get(operation, operation) for operation in OPERATIONS}
    assert OTHER_NAMES.keys() <= OPERATIONS.keys()
    assert not [name for name in sorted(asked) if not hasattr(calls, name)]
