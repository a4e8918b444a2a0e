"""The gateway round any ASGI application: surface and path decide who serves a connection.

    application = with_gateway(get_asgi_application())

Runs on `manage.py serve`, plain daphne and uvicorn alike. Our own server says by which port a
connection came (`scope["gateway.surface"]`); under another one the setting SURFACE says what its
port is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from sockets.base.extras import server_lacking

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application: called with scope, receive and send."""


def with_gateway(app: Application) -> Application:
    """Return an application that serves the gateway's sockets, and lets `app` answer HTTP.

    The node of this process starts with the lifespan, or else with the first connection, and
    `app` sees no lifespan. Django has to be set up by then: `get_asgi_application()` does that.
    Raises ImproperlyConfigured where the packages of a server are not installed.
    """
    # Late, for they need Django's apps; importing this module needs nothing.
    from sockets.base.client_address import client_of
    from sockets.conf import get_conf

    try:
        from sockets.consumers.handshakes import Handshakes
        from sockets.http.requests import serve_request
        from sockets.node.node import ensure_node
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(server_lacking("with_gateway()", error)) from error

    handshakes = Handshakes()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _serve_lifespan(receive, send)
            return
        scope.setdefault("gateway.surface", get_conf().surface)
        node = await ensure_node()
        # Only here: nothing after this has to know of proxies.
        scope["client"] = client_of(
            scope.get("client"), scope.get("headers", ()), node.conf.trusted_proxies
        )
        if scope["type"] == "http":
            await serve_request(app, scope, receive, send, node)
        else:
            await handshakes.serve(scope, receive, send, node)

    return application


async def _serve_lifespan(receive: Any, send: Any) -> None:
    from sockets.node.node import ensure_node, stop_node

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
