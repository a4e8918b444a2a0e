"""The application: lifespan, then surface and path decide who serves a connection.

Runs on `manage.py serve`, plain daphne and uvicorn alike. Our own server says by which port a
connection came (`scope["gateway.surface"]`); under another one the setting SURFACE says what its
port is.
"""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from django.core.asgi import get_asgi_application

# Before the imports below: they need the apps to be loaded.
django_application = get_asgi_application()

from sockets.auth.origins import admits, how_to_admit
from sockets.base import audit, metrics
from sockets.base.client_address import client_of
from sockets.conf import get_conf
from sockets.consumers.client import ClientConsumer
from sockets.consumers.worker import WorkerConsumer
from sockets.http.problem import CONTENT_TYPE, problem
from sockets.node.node import Node, ensure_node, stop_node
from sockets.types import Audit, Surface

logger = logging.getLogger(__name__)

_CLIENT, _WORKER = ClientConsumer.as_asgi(), WorkerConsumer.as_asgi()
_OPERATIONS = frozenset({"/healthz", "/readyz", "/metrics"})
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_LATER = [(b"retry-after", b"5"), _PLAIN]
_TEXT = [_PLAIN, (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_SHOWN = 200
"""Characters of a path in a log."""
_warned = False
# A handshake cannot be sent elsewhere, so that a slash at the end is as good as none.
_CLIENTS = {"/": _CLIENT, "/ws/client": _CLIENT, "/ws/client/": _CLIENT}
_WORKERS = {"/ws/worker": _WORKER, "/ws/worker/": _WORKER}
_ROUTES = {
    Surface.PUBLIC: _CLIENTS,
    Surface.PRIVATE: {"/": _WORKER} | _WORKERS,
    Surface.BOTH: _CLIENTS | _WORKERS,
}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI 3 entry point."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    surface: Surface = scope.setdefault("gateway.surface", get_conf().surface)
    node = await ensure_node()
    # Once, at the door: whoever is behind this needs to know of no proxy.
    scope["client"] = client_of(
        scope.get("client"), scope.get("headers", ()), node.conf.trusted_proxies
    )
    if scope["type"] == "http":
        await _http(scope, receive, send, node)
        return
    serve = _ROUTES[surface].get(scope["path"])
    own = (node.addresses.client_socket_url,)
    if serve is None:
        _record_unknown_path(scope, surface)
    if serve is None or (serve is _CLIENT and not admits(scope, node.conf, own)):
        await receive()
        if serve is not None and node.conf.environment == "development":
            advice = how_to_admit(scope, Surface.PUBLIC, node.conf)
            await _refuse(scope, send, 403, _TEXT, f"{advice}\n", else_code=1008)
        else:
            await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403
        return
    if serve is _CLIENT:
        _warn_of_proxy(scope, node)
        if node.admission.refuses_handshake(_host(scope)):
            await receive()
            await _refuse(scope, send, 503, _LATER)
            return
    await serve(scope, receive, send)


def _record_unknown_path(scope: Any, surface: Surface) -> None:
    metrics.count_refusal(403)
    audit.record(
        Audit.REFUSED,
        surface=surface.value,
        code=403,
        reason="there is no socket at this path",
        path=scope["path"][:_SHOWN],
        meant=" or ".join(_ROUTES[surface]),
        address=_host(scope),
    )


async def _http(scope: Any, receive: Any, send: Any, node: Node) -> None:
    """Django, for so many requests at once; machines that look after this one always get in."""
    if scope["path"] in _OPERATIONS:
        await django_application(scope, receive, send)
        return
    surface, host = scope["gateway.surface"], _host(scope)
    if node.admission.begin_request(surface, host):
        try:
            await django_application(scope, receive, send)
        finally:
            node.admission.end_request(surface, host)
    else:
        headers, body = _LATER, b"Too many requests at once.\n"
        if surface is not Surface.PUBLIC and scope["path"].startswith("/api/"):
            headers = [*_LATER[:1], (b"content-type", CONTENT_TYPE.encode())]
            body = problem(503, "there are too many requests at once: come back later").content
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _refuse(
    scope: Any,
    send: Any,
    status: int,
    headers: list[tuple[bytes, bytes]],
    text: str = "",
    else_code: int = 1013,
) -> None:
    """This status where the server can say so, else 403: a browser sees neither, and comes back."""
    if "websocket.http.response" in scope.get("extensions", ()):
        start = "websocket.http.response.start"
        await send({"type": start, "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": text.encode()})
    else:
        await send({"type": "websocket.close", "code": else_code})


def _host(scope: Any) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _warn_of_proxy(scope: Any, node: Node) -> None:
    """Once: behind a proxy that is not known as one, all clients have one address."""
    global _warned
    if _warned or node.conf.trusted_proxies:
        return
    if any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
        _warned = True
        logger.warning(
            "a client came with X-Forwarded-For: if there is a proxy, set TRUSTED_PROXIES, or all "
            "clients count as one address in CONNECT_RATE and SESSIONS_PER_ADDRESS"
        )


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await ensure_node()
            except Exception as error:
                # The server prints this line and ends; a traceback would bury it.
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await stop_node()
            await send({"type": "lifespan.shutdown.complete"})
            return
