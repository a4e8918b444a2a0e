"""Who serves a connection: the gateway, for the paths that are its own, or the project's site."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from sockets.asgi.lifespan import serve_lifespan
from sockets.asgi.site import Site
from sockets.base.client_address import client_of
from sockets.base.scope import path_of
from sockets.conf import Conf, get_conf
from sockets.consumers.handshakes import Handshakes, refuse_for_now
from sockets.exceptions import GatewayUnreachable
from sockets.http.handler import GatewayHandler
from sockets.http.own_paths import is_api, is_own
from sockets.http.problem import CONTENT_TYPE, problem
from sockets.http.requests import serve_request
from sockets.node.node import Node, current_node, ensure_node
from sockets.types import Surface

logger = logging.getLogger(__name__)

TELL_EVERY: Final = 60.0
"""Seconds between two log lines while no node can start."""


class Dispatcher:
    """The application that `with_gateway` makes. Arguments as there."""

    def __init__(
        self, app: Any, *, public_site: bool, public_admin: bool, node: bool = True
    ) -> None:
        self.site = Site(app, public=public_site, public_admin=public_admin)
        self._own = GatewayHandler()
        self._handshakes = Handshakes(get_conf())
        self._told_at = -float("inf")
        self._holds = node

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            inner = self.site.app if self.site.has_lifespan else None
            await serve_lifespan(inner, scope, receive, send, node=self._holds)
            return
        conf = get_conf()
        surface = Surface(scope.get("gateway.surface", conf.surface))
        if kind == "http":
            await self._serve_http(conf, surface, scope, receive, send)
        elif kind == "websocket":
            await self._serve_socket(conf, surface, scope, receive, send)
        else:
            await self.site.app(scope, receive, send)

    async def _serve_http(
        self, conf: Conf, surface: Surface, scope: Any, receive: Any, send: Any
    ) -> None:
        path, seen = path_of(scope), _own_scope(conf, surface, scope)
        node = current_node()
        if not is_own(conf, surface, path) and (surface is not Surface.PUBLIC or self.site.public):
            app, given = self.site.app, self.site.scope_for(surface, scope)
            if "gateway.surface" not in scope:
                node = None  # another server's limits are the site's
        else:
            app, given = self._own, seen
            if is_api(conf, surface, path):
                try:
                    node = await self._node()
                except Exception as error:
                    self._tell(error)
                    await _refuse_call(send)
                    return
        if node is None:
            await app(given, receive, send)
        else:
            await serve_request(app, given, receive, send, node, seen)

    async def _serve_socket(
        self, conf: Conf, surface: Surface, scope: Any, receive: Any, send: Any
    ) -> None:
        path = path_of(scope)
        is_public = surface is not Surface.PUBLIC or self.site.public
        if self.site.serves_sockets and is_public and not self._handshakes.has(surface, path):
            if not await self.site.serve_socket(scope, receive, send):
                own = _own_scope(conf, surface, scope)
                await self._handshakes.refuse_unknown(own, receive, send)
            return
        own = _own_scope(conf, surface, scope)
        try:
            node = await self._node()
        except Exception as error:
            self._tell(error)
            await refuse_for_now(own, receive, send)
            return
        await self._handshakes.serve(own, receive, send, node)

    async def _node(self) -> Node:
        if not self._holds:
            raise GatewayUnreachable(
                "this process holds no sockets, as it was started without a node: connect to the "
                "ports of `python manage.py serve`"
            )
        return await ensure_node()

    def _tell(self, error: Exception) -> None:
        """Say why no node starts: once in TELL_EVERY seconds, for strangers decide how often one
        is tried."""
        now = time.monotonic()
        if now - self._told_at >= TELL_EVERY:
            self._told_at = now
            logger.error("no node can start, and there are no sockets and no API: %s", error)


async def _refuse_call(send: Any) -> None:
    """Refuse a call of the HTTP API while there is no node: 503."""
    response = problem(503, "the gateway cannot start; its log says why")
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"retry-after", b"5")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


def _own_scope(conf: Conf, surface: Surface, scope: Any) -> Any:
    """Return the scope as the gateway's own parts read it: they need not know of proxies."""
    client = client_of(scope.get("client"), scope.get("headers", ()), conf.trusted_proxies)
    return {**scope, "gateway.surface": surface, "client": client}
