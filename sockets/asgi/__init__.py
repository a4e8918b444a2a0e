"""The gateway round any ASGI application: surface and path decide who serves a connection.

    application = with_gateway(get_asgi_application())

Runs on `manage.py serve`, plain daphne and uvicorn alike. Our own server says by which port a
connection came (`scope["gateway.surface"]`); under another one the setting SURFACE says what its
port is.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from sockets.base.extras import server_lacking

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application: called with scope, receive and send."""


def with_gateway(
    app: Application,
    *,
    public_site: bool = False,
    public_admin: bool = False,
    node: bool | None = None,
) -> Application:
    """Return an application that serves the gateway's own paths, and lets `app` serve the rest.

    `app` is what the project had before: Django's application, or a ProtocolTypeRouter with sockets
    of its own. It gets its scopes as they came, and answers though no node can start. The public
    surface shows it with `public_site=True` alone; where it is Django, its admin is left out there
    (404) unless `public_admin=True`.

    `node`: whether this process may hold the gateway's sockets. None: yes, but under `runserver`,
    whose site calls the gateway that runs beside it.

    The node of this process starts with the lifespan, or else with the first connection that needs
    one. Django has to be set up by then: `get_asgi_application()` does that. Raises
    ImproperlyConfigured where the packages of a server are not installed.
    """
    try:
        # Late, for they need Django's apps; importing this module needs nothing.
        from sockets.asgi.dispatch import Dispatcher
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(server_lacking("with_gateway()", error)) from error

    holds = not _under_runserver() if node is None else node
    return Dispatcher(app, public_site=public_site, public_admin=public_admin, node=holds)


def _under_runserver() -> bool:
    return sys.argv[1:2] == ["runserver"]
