"""TypeScript of JSON Schema, as far as msgspec makes it of annotated fields."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_PLAIN: Final = {
    "integer": "number",
    "number": "number",
    "string": "string",
    "boolean": "boolean",
    "null": "null",
}
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*")


def declarations(schemas: Mapping[str, Schema], events: Mapping[str, str]) -> str:
    """Return a `.d.ts`: an interface for each schema, and `Events`, the map that `Gateway` takes.

    `events`: names of schemas, by the event's name.
    """
    parts = [_declared(name, schema) for name, schema in schemas.items()]
    members = "".join(
        f"  {json.dumps(event)}: {_identifier(name)};\n" for event, name in events.items()
    )
    parts.append(
        _comment("What is sent, by the event's name.")
        + f"export interface Events {{\n{members}}}\n"
    )
    return "\n".join(parts)


def _identifier(name: str) -> str:
    """Return the name of a type: schemas of classes that are called alike have their modules."""
    return f"{name}_" if name == "Events" else re.sub(r"[^\w$]", "_", name)


def _declared(called: str, schema: Schema) -> str:
    name = _identifier(called)
    comment = _comment(schema.get("description", ""))
    if schema.get("type") == "object" and "properties" in schema:
        return f"{comment}export interface {name} {_object(schema)}\n"
    return f"{comment}export type {name} = {_type(schema)};\n"


def _comment(text: str) -> str:
    lines = text.replace("*/", "* /").split("\n")
    return f"/** {' '.join(line.strip() for line in lines).strip()} */\n" if text else ""


def _object(schema: Schema) -> str:
    required = schema.get("required", ())
    members = "".join(
        f"  {name if _NAME.fullmatch(name) else json.dumps(name)}"
        f"{'' if name in required else '?'}: {_type(of)};\n"
        for name, of in schema["properties"].items()
    )
    return f"{{\n{members}}}"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return _identifier(str(schema["$ref"]).rpartition("/")[2])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    kind = schema.get("type")
    if kind == "array":
        return _array(schema)
    if kind == "object":
        if "properties" in schema:
            return _object(schema)
        values = schema.get("additionalProperties")
        return f"Record<string, {_type(values) if isinstance(values, Mapping) else 'unknown'}>"
    return _PLAIN.get(str(kind), "unknown")


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(map(_type, schema['prefixItems']))}]"
    items = schema.get("items")
    return f"Array<{_type(items) if isinstance(items, Mapping) else 'unknown'}>"
