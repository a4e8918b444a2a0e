"""Each member of each frame, handshake, request and command has its line in docs/limits.md, and an
end that its type knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from django.core.management import BaseCommand, CommandParser, find_commands, load_command_class

from sockets.http.api import api
from sockets.protocol.messages import ClientMessage, WorkerMessage

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/limits.md").read_text()

CHECKED_ELSEWHERE = {"data", "user", "users", "task_id"}
"""By the API's functions, for every door: `data` by the size of what it is encoded to."""


def documented(heading: str) -> set[str]:
    """The members that one of the page's tables has lines for."""
    table = PAGE.split(f"\n| {heading} | at most |\n", 1)[1].split("\n\n", 1)[0]
    firsts = [line.split("|")[1] for line in table.splitlines()[1:]]
    return {name for first in firsts for name in re.findall("`([^`]+)`", first)}


def frames() -> Iterator[tuple[str, str, Any]]:
    for struct in (*get_args(ClientMessage), *get_args(WorkerMessage)):
        for name, schema in msgspec.json.schema(struct)["$defs"][struct.__name__][
            "properties"
        ].items():
            if name != "type":
                yield struct.__name__, name, schema


def resolved(schema: Any, schemas: Any) -> Any:
    """A schema of its own in the place of a reference to one."""
    if "anyOf" in schema:
        return {"anyOf": [resolved(one, schemas) for one in schema["anyOf"]]}
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def requests() -> Iterator[tuple[str, str, Any]]:
    document = json.loads(json.dumps(api.get_openapi_schema(path_prefix="/api/v1/"), default=str))
    bodies, schemas = set(), document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for given in operation.get("parameters", ()):
                yield path, given["name"], resolved(given["schema"], schemas)
            bodies |= set(re.findall(r"schemas/(\w+)", json.dumps(operation.get("requestBody"))))
    while bodies:
        body = bodies.pop()
        bodies |= set(re.findall(r"schemas/(\w+)", json.dumps(schemas[body])))
        for name, schema in schemas[body]["properties"].items():
            yield body, name, schema


def has_an_end(schema: Any) -> bool:
    kinds = schema.get("anyOf", [schema])
    return all(_ends(one) for one in kinds)


def _ends(schema: Any) -> bool:
    match schema.get("type"):
        case "string":
            pattern = schema.get("pattern", "")
            return "maxLength" in schema or "enum" in schema or pattern.endswith("}$")
        case "integer" | "number":
            return "maximum" in schema or "exclusiveMaximum" in schema
        case "array":
            items = schema["items"]
            return "maxItems" in schema and ("$ref" in items or _ends(items))
        case "boolean" | "null":
            return True
    return False


MEMBERS = [("frames", *one) for one in frames()] + [("requests", *one) for one in requests()]


@pytest.mark.parametrize(
    ("heading", "where", "name", "schema"), MEMBERS, ids=[" ".join(one[:3]) for one in MEMBERS]
)
def test_every_member_has_an_end_and_its_line(
    heading: str, where: str, name: str, schema: Any
) -> None:
    assert name in documented(heading), f"{name} of {where}: docs/limits.md, {heading}"
    assert name in CHECKED_ELSEWHERE or has_an_end(schema), f"{where}.{name}: {schema}"


def commands() -> dict[str, set[str]]:
    common = {action.dest for action in BaseCommand().create_parser("manage.py", "x")._actions}
    found: dict[str, set[str]] = {}
    for name in find_commands(str(ROOT / "sockets/management")):
        parser: CommandParser = load_command_class("sockets", name).create_parser("m", name)
        found[name] = {action.dest for action in parser._actions} - common
    return found


def handshakes() -> set[str]:
    """What the sources read of a handshake."""
    text = "".join(
        path.read_text()
        for folder in ("sockets/auth", "sockets/consumers")
        for path in (ROOT / folder).glob("*.py")
    )
    names = set(re.findall(r"(?:params(?:\.get\(|\[)|\.header\()\"([\w-]+)\"", text))
    for pair in re.findall(r"(?:_one_of|client_id)\(\"(\w+)\", \"(\w+)\"\)", text):
        names |= set(pair)
    return names


def headers() -> set[str]:
    """What the HTTP API's sources read of a request."""
    text = "".join(path.read_text() for path in (ROOT / "sockets/http").glob("*.py"))
    return set(re.findall(r"request\.headers\.get\(\"([\w-]+)\"", text))


def test_every_argument_of_a_command_has_its_line() -> None:
    assert set().union(*commands().values()) == documented("arguments of commands")


def test_everything_that_is_read_of_a_handshake_has_its_line() -> None:
    found = handshakes()
    assert {"user_id", "clientId", "workerId", "capacity", "user-agent"} <= found
    assert found == documented("handshakes") - {"frame"}


def test_no_line_is_of_what_does_not_exist() -> None:
    assert documented("frames") == {name for _, name, _ in frames()}
    assert documented("requests") == {name for _, name, _ in requests()} | headers()
