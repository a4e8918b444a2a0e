"""What a 422 says is wrong can be found in what was sent: every member of every request, from the
OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from sockets.http.api import api
from sockets.node.node import Node
from tests.support.asgi_client import GatewayClient
from tests.support.doubles import running_node

KEY = "the backend's own key"
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
DOCUMENT: Any = json.loads(json.dumps(api.get_openapi_schema(path_prefix="/api/v1/")))
SCHEMAS: Any = DOCUMENT["components"]["schemas"]

WRONG: tuple[Any, ...] = ({}, {"a": 1}, [], [{"str": "x"}], True, 1.5, "", "x" * 2_000, -1, None)
"""One of them is wrong for every member that is not anything."""

Path_ = tuple[str | int, ...]


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    keys = {"backend": sha256(KEY.encode()).hexdigest()}
    async with running_node(monkeypatch, tmp_path, api_keys=keys) as made:
        yield made


async def call(method: str, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    response = await GatewayClient().generic(
        method,
        path,
        "" if body is None else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {KEY}"} | headers,
    )
    return response.status_code, json.loads(response.content)


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, found in DOCUMENT["paths"].items():
        for method, operation in found.items():
            yield method.upper(), path.replace("{user}", "42"), operation


def resolved(schema: Any) -> Any:
    name = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMAS[name] if name else schema


def good(schema: Any) -> Any:
    """A value that is right: each member there, and lists of three."""
    schema = resolved(schema)
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    match schema.get("type"):
        case "object":
            return {name: good(one) for name, one in schema["properties"].items()}
        case "array":
            return [good(schema["items"]) for _ in range(3)]
        case "string":
            return ULID if "{25}" in schema.get("pattern", "") else "x"
        case "number" | "integer":
            return min(4_500, schema.get("maximum", 4_500))
        case "boolean":
            return True
    return {"any": "thing"}


def places(schema: Any) -> Iterator[Path_]:
    """Of all members, in `good`: of a list the second."""
    schema = resolved(schema)
    if schema.get("type") == "object":
        for name, one in schema["properties"].items():
            if resolved(one).keys() - {"title", "default", "examples", "description"}:
                yield (name,)
                yield from ((name, *rest) for rest in places(one))
    elif schema.get("type") == "array":
        yield (1,)
        yield from ((1, *rest) for rest in places(schema["items"]))


BODIES = [
    (method, path, operation["requestBody"]["content"]["application/json"]["schema"])
    for method, path, operation in operations()
    if "requestBody" in operation
]
MEMBERS = [
    (method, path, schema, place)
    for method, path, schema in BODIES
    for place in [(), *places(schema)]
]


def within(body: Any, place: Path_) -> Any:
    for name in place:
        body = body[name]
    return body


def put(body: Any, place: Path_, value: Any) -> Any:
    """The body with this value there."""
    if not place:
        return value
    body = deepcopy(body)
    within(body, place[:-1])[place[-1]] = value
    return body


def where(place: Path_) -> str:
    return ".".join(("body", *map(str, place)))


def test_every_route_with_a_body_is_walked() -> None:
    assert len(BODIES) == 8 and len(MEMBERS) > 35
    assert ("messages", 1, "user") in {place for *_, place in MEMBERS}


@pytest.mark.parametrize(
    ("method", "path", "schema", "place"),
    MEMBERS,
    ids=[f"{method} {path} {where(place)}" for method, path, _, place in MEMBERS],
)
async def test_a_wrong_value_is_named_by_its_place(
    node: Node, method: str, path: str, schema: Any, place: Path_
) -> None:
    refused = 0
    for value in WRONG:
        body = put(good(schema), place, value)
        if body is None:
            continue  # no body at all
        status, answer = await call(method, path, body)
        if status != 422 or "errors" not in answer:
            continue  # that value is good there, or wrong for a reason of the API's
        refused += 1
        for error in answer["errors"]:
            at = error["where"]
            assert at == where(place) or at.startswith(f"{where(place)}."), (value, answer)
            # Unless it is missing, it can be found.
            names = [int(name) if name.isdigit() else name for name in at.split(".")[1:]]
            assert within(body, tuple(names[:-1])) is not None or not names
            if "required" not in error["message"].lower():
                within(body, tuple(names))
    assert refused, "some value is wrong"


@pytest.mark.parametrize(
    ("method", "path", "schema"), BODIES, ids=[f"{method} {path}" for method, path, _ in BODIES]
)
async def test_what_is_missing_or_unknown_is_named_too(
    node: Node, method: str, path: str, schema: Any
) -> None:
    objects: list[Path_] = [()]
    objects += [place for place in places(schema) if isinstance(within(good(schema), place), dict)]
    for place in objects:
        body = put(good(schema), (*place, "message"), 1)
        status, answer = await call(method, path, body)
        assert status == 422 and where((*place, "message")) in {
            one["where"] for one in answer["errors"]
        }
        body = good(schema)
        required = resolved(schema).get("required", ()) if not place else ("user", "event")
        for name in required:
            del within(body, place)[name]
        if required:
            status, answer = await call(method, path, body)
            assert status == 422
            assert {one["where"] for one in answer["errors"]} == {
                where((*place, name)) for name in required
            }


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [one for one in operations() if one[2]["parameters"]],
    ids=[operation["operationId"] for *_, operation in operations() if operation["parameters"]],
)
async def test_so_is_what_is_wrong_in_a_path_a_query_or_a_header(
    node: Node, method: str, path: str, operation: Any
) -> None:
    body = None
    if "requestBody" in operation:
        body = good(operation["requestBody"]["content"]["application/json"]["schema"])
    for given in operation["parameters"]:
        schema, name, kind = given["schema"], given["name"], given["in"]
        if not schema.keys() & {"maxLength", "pattern", "maximum", "items"}:
            continue  # any text
        value = "~" * 9_000 if kind == "query" else "~" * 300
        query = f"?{urlencode({name: value})}" if kind == "query" else ""
        headers = {name: value} if kind == "header" else {}
        at = path.replace(f"{{{name}}}", value) if kind == "path" else path
        at = at.replace("{session}", ULID).replace("{offset}", "1")
        status, answer = await call(method, at + query, body, **headers)
        assert status == 422, (name, answer)
        assert {one["where"].removesuffix(".0") for one in answer["errors"]} == {f"{kind}.{name}"}
