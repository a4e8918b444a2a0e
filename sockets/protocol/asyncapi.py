"""The frames of both sockets as AsyncAPI 3 and JSON Schema, from the structs that read and write
them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from sockets.protocol import messages

VERSION: Final = "3.0.0"

_WORKER: Final = "worker"
_SIDES: Final[Mapping[str, tuple[Any, Any]]] = {
    "client": (messages.ClientMessage, messages.ToClient),
    _WORKER: (messages.WorkerMessage, messages.ToWorker),
}
"""By socket: what its peer sends, and what the gateway sends."""

_ABOUT: Final = {
    "client": "Browsers and devices: a user's notifications, and what they send.",
    _WORKER: "Workers: tasks, and what clients of the users that they are attached to send.",
}


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema (2020-12) that has every frame in its `$defs`."""
    kinds = [one for pair in _SIDES.values() for side in pair for one in _structs(side)]
    _, found = msgspec.json.schema_components(_once(kinds), ref_template="#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": found}


def asyncapi(*, version: str, client_url: str, worker_url: str) -> dict[str, Any]:
    """Return the document. `version`: of the gateway. The URLs: where its sockets are, ws or wss.

    Operations are the gateway's, as AsyncAPI has it: it receives what a peer sends.
    """
    urls = {"client": client_url, _WORKER: worker_url}
    kinds = [one for pair in _SIDES.values() for side in pair for one in _structs(side)]
    _, schemas = msgspec.json.schema_components(
        _once(kinds), ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "gateway.v1",
            "version": version,
            "description": "JSON in text frames of a WebSocket; `type` says which one it is.",
        },
        "defaultContentType": "application/json",
        "servers": {name: _server(url) for name, url in urls.items()},
        "channels": {name: _channel(name, url) for name, url in urls.items()},
        "operations": {
            f"{name}.{action}": _operation(name, action, side)
            for name, pair in _SIDES.items()
            for action, side in zip(("receive", "send"), pair, strict=True)
        },
        "components": {
            "messages": {one.__name__: _message(one) for one in _once(kinds)},
            "schemas": schemas,
        },
    }


def _structs(union: Any) -> Iterable[type[Struct]]:
    return get_args(union)


def _once(kinds: Iterable[type[Struct]]) -> list[type[Struct]]:
    return list(dict.fromkeys(kinds))


def _server(url: str) -> dict[str, Any]:
    scheme, _, rest = url.partition("://")
    return {"host": rest.partition("/")[0], "protocol": scheme, "protocolVersion": "13"}


def _channel(name: str, url: str) -> dict[str, Any]:
    path = url.partition("://")[2].partition("/")[2]
    kinds = _once(one for side in _SIDES[name] for one in _structs(side))
    return {
        "address": f"/{path}",
        "description": _ABOUT[name],
        "servers": [{"$ref": f"#/servers/{name}"}],
        "messages": {
            one.__name__: {"$ref": f"#/components/messages/{one.__name__}"} for one in kinds
        },
    }


def _operation(name: str, action: str, side: Any) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [
            {"$ref": f"#/channels/{name}/messages/{one.__name__}"} for one in _structs(side)
        ],
    }


def _message(kind: type[Struct]) -> dict[str, Any]:
    return {
        "name": kind.__struct_config__.tag,
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").partition("\n\n")[0].replace("\n    ", " "),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }
