"""What the OpenAPI document says beside what the framework makes of the schemas.

Programs are generated from it: a member that is always there is required, one that may be left out
has the default that leaving it out has, and every problem has its form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from ninja import Field, Schema
from ninja.openapi.schema import REF_TEMPLATE
from ninja.schema import NinjaGenerateJsonSchema
from pydantic.json_schema import SkipJsonSchema

from sockets.http.problem import CONTENT_TYPE
from sockets.http.security import ApiKey

SERVERS: Final = [{"url": "/", "description": "The private port, which this document comes from."}]

ERRORS: Final = {
    "400": "The request cannot be read.",
    "401": "No valid key.",
    "403": "The key does not have the scope.",
    "404": "There is no such thing.",
    "405": "Another method is meant.",
    "413": "Too large.",
    "422": "Understood, and wrong.",
    "429": "More requests than API_RATE: wait `retry_after` seconds.",
    "503": "Not now: the state store is away, or no worker is free.",
}
_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "Seconds to wait, whole ones.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    }
}


class WrongMember(Schema):
    """One thing that is wrong with a request."""

    where: str = Field(
        ..., description="Its place, as in what was sent.", examples=["body.messages.1.user"]
    )
    message: str


class PoolOut(Schema):
    """How full a pool of workers is."""

    pool: str
    workers: int
    capacity: int = Field(..., description="How many tasks its workers take together.")
    held: int = Field(..., description="How many tasks they have.")


class Problem(Schema):
    """RFC 9457. Members that are not required come with the codes that they are for."""

    title: str
    status: int
    detail: str = Field(..., description="For people: what is wrong, and what to do.")
    code: str = Field(..., description="For programs.", examples=["gateway_unavailable"])
    errors: list[WrongMember] | SkipJsonSchema[None] = Field(
        None, description="`invalid_request`: what is wrong, 100 at most."
    )
    retry_after: float | SkipJsonSchema[None] = Field(
        None, description="`too_many_requests`: seconds to wait, with fractions."
    )
    outcome: Literal["nothing", "unknown"] | SkipJsonSchema[None] = Field(
        None, description="`gateway_unavailable`: whether it was done."
    )
    id: str | SkipJsonSchema[None] = Field(
        None, description="`gateway_unavailable`: what a repetition takes as `idempotency_key`."
    )
    pools: list[PoolOut] | SkipJsonSchema[None] = Field(
        None, description="`no_worker_available`: those that the key may use."
    )


def complete(document: Any, scopes: dict[str, tuple[str, ...]]) -> None:
    """Add to the document what this module knows. `scopes`: of each operation, by its id; a key
    needs one of them."""
    document["servers"] = SERVERS
    schemas = document["components"]["schemas"]
    schemas |= _definitions(Problem)
    for schema in schemas.values():
        if schema.get("additionalProperties") is False:  # what is given; what is got has no default
            _write_defaults(schema)
    for operation in _operations(document):
        needed = scopes[operation["operationId"]]
        operation["security"] = [{ApiKey.__name__: [scope]} for scope in needed]
        for parameter in operation["parameters"]:
            _drop_null(parameter["schema"])
        _add_problems(operation["responses"])


def _definitions(model: type[Schema]) -> dict[str, Any]:
    made = model.model_json_schema(
        ref_template=REF_TEMPLATE, schema_generator=NinjaGenerateJsonSchema
    )
    return {**made.pop("$defs", {}), model.__name__: made}


def _operations(document: Any) -> Iterator[Any]:
    for operations in document["paths"].values():
        yield from operations.values()


def _write_defaults(schema: Any) -> None:
    """Write the default null, which the framework leaves out."""
    for name, member in schema["properties"].items():
        if name not in schema.get("required", ()):
            member.setdefault("default", None)


def _drop_null(schema: Any) -> None:
    """Take null out of a parameter's types: in a query or a header a value is there or not."""
    some = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(some) == 1:
        del schema["anyOf"]
        schema |= some[0]


def _add_problems(responses: Any) -> None:
    content = {CONTENT_TYPE: {"schema": {"$ref": REF_TEMPLATE.format(model=Problem.__name__)}}}
    for status, description in ERRORS.items():
        responses.setdefault(status, {"description": description})
    for status, answer in responses.items():
        if int(status) >= 400:
            answer["content"] = content
        if status in ("429", "503"):
            answer["headers"] = _RETRY_AFTER
    # The server answers this one, before it knows what the request is for.
    responses["431"] = {
        "description": "The request's line and headers are larger than HEADER_SIZE.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
