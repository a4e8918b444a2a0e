"""HTTP requests of any application, so many of them at once (MAX_REQUESTS)."""

from __future__ import annotations

from typing import Any

from sockets.base.client_address import peer_host
from sockets.base.scope import path_of
from sockets.conf import get_conf
from sockets.http.own_paths import is_api, is_operation
from sockets.http.problem import CONTENT_TYPE, problem
from sockets.node.node import Node

_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_LATER = (b"retry-after", b"5")


async def serve_request(
    app: Any, scope: Any, receive: Any, send: Any, node: Node, seen: Any = None
) -> None:
    """Let `app` answer one request, or refuse it with 503.

    Machines that look after this one always get in. `seen`: the scope with its surface, and the
    client's own address; None: `scope` has both.
    """
    seen = scope if seen is None else seen
    surface, host = seen["gateway.surface"], peer_host(seen)
    if is_operation(surface, path_of(seen)):
        await app(scope, receive, send)
    elif node.admission.begin_request(surface, host):
        try:
            await app(scope, receive, send)
        finally:
            node.admission.end_request(surface, host)
    else:
        await _refuse(seen, send)


async def _refuse(scope: Any, send: Any) -> None:
    headers, body = [_LATER, _PLAIN], b"Too many requests at once.\n"
    if is_api(get_conf(), scope["gateway.surface"], path_of(scope)):
        headers = [_LATER, (b"content-type", CONTENT_TYPE.encode())]
        body = problem(503, "there are too many requests at once: come back later").content
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
