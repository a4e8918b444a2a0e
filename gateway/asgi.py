"""The application: lifespan, then surface and path decide who serves a connection.

Runs on `manage.py serve`, plain daphne and uvicorn alike. Our own server says by which port a
connection came (`scope["gateway.surface"]`); under another one the setting SURFACE says what its
port is.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from django.core.asgi import get_asgi_application

# Before the imports below: they need the apps to be loaded.
django_application = get_asgi_application()

from sockets.addresses import client_of
from sockets.auth.origins import admits
from sockets.conf import get_conf
from sockets.consumers.client import ClientConsumer
from sockets.consumers.worker import WorkerConsumer
from sockets.node.node import ensure_node, stop_node
from sockets.types import Surface

_CLIENT, _WORKER = ClientConsumer.as_asgi(), WorkerConsumer.as_asgi()
_ROUTES = {
    Surface.PUBLIC: {"/": _CLIENT, "/ws/client/": _CLIENT},
    Surface.PRIVATE: {"/": _WORKER, "/ws/worker/": _WORKER},
    Surface.BOTH: {"/": _CLIENT, "/ws/client/": _CLIENT, "/ws/worker/": _WORKER},
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
        await django_application(scope, receive, send)
        return
    serve = _ROUTES[surface].get(scope["path"])
    own = (node.addresses.client_socket_url,)
    if serve is None or (serve is _CLIENT and not admits(scope, node.conf, own)):
        await receive()
        await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403
        return
    await serve(scope, receive, send)


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
