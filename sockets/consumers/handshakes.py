"""Which consumer serves a handshake, by surface and path, and what is refused before one does."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from sockets.auth.handshake import claims_in
from sockets.auth.origins import admits, how_to_admit
from sockets.base import audit, metrics, refusals
from sockets.base.client_address import peer_host
from sockets.base.scope import path_of
from sockets.conf import Conf
from sockets.consumers.client import ClientConsumer
from sockets.consumers.worker import WorkerConsumer
from sockets.node.node import Node
from sockets.types import Audit, Kind, Surface

logger = logging.getLogger(__name__)

_CLIENT, _WORKER = ClientConsumer.as_asgi(), WorkerConsumer.as_asgi()
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_TEXT = [_PLAIN, (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_LATER = [(b"retry-after", b"5"), _PLAIN]
_SHOWN = 200
"""Characters of a path in a log."""


class Handshakes:
    """Takes each handshake to its consumer, for as long as the process runs."""

    def __init__(self, conf: Conf) -> None:
        clients, workers = _routes(conf.client_paths, _CLIENT), _routes(conf.worker_paths, _WORKER)
        self._routes = {
            Surface.PUBLIC: clients,
            Surface.PRIVATE: workers,
            Surface.BOTH: workers | clients,
        }
        self._warned = False

    def has(self, surface: Surface, path: str) -> bool:
        """Whether a socket of the gateway's own is at this path."""
        return path in self._routes[surface]

    async def serve(self, scope: Any, receive: Any, send: Any, node: Node) -> None:
        """Serve or refuse one. The scope has its surface, and the client's own address."""
        surface: Surface = scope["gateway.surface"]
        serve = self._routes[surface].get(path_of(scope))
        own = (node.addresses.client_socket_url,)
        if serve is None:
            await self.refuse_unknown(scope, receive, send)
            return
        if serve is _CLIENT:
            if not admits(scope, node.conf, own):
                await receive()
                await _refuse_origin(scope, send, node)
                return
            self._warn_of_proxy(scope, node)
            if node.admission.refuses_handshake(peer_host(scope)):
                await receive()
                await _refuse(scope, send, 503, _LATER, else_code=1013)
                return
        await serve(scope, receive, send)

    async def refuse_unknown(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse a handshake for a path at which nobody has a socket. The scope as for `serve`."""
        surface: Surface = scope["gateway.surface"]
        _record_unknown_path(scope, surface, self._routes[surface])
        await receive()
        await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403

    def _warn_of_proxy(self, scope: Any, node: Node) -> None:
        """Once: behind a proxy that is not known as one, all clients have one address."""
        if self._warned or node.conf.trusted_proxies:
            return
        if any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            self._warned = True
            logger.warning(
                "a client came with X-Forwarded-For: if there is a proxy, set TRUSTED_PROXIES, or "
                "all clients count as one address in CONNECT_RATE and SESSIONS_PER_ADDRESS"
            )


def _routes(paths: tuple[str, ...], serve: Any) -> dict[str, Any]:
    """A handshake cannot be sent elsewhere, so that a slash at the end is as good as none."""
    return {path.rstrip("/") + end: serve for path in paths for end in ("", "/") if path + end}


async def refuse_for_now(scope: Any, receive: Any, send: Any) -> None:
    """Refuse a handshake while there is no node: 503, and the client comes back."""
    await receive()
    await _refuse(scope, send, 503, _LATER, else_code=1013)


def _record_unknown_path(scope: Any, surface: Surface, meant: Iterable[str]) -> None:
    metrics.count_refusal(403)
    audit.record(
        Audit.REFUSED,
        surface=surface.value,
        code=403,
        reason="there is no socket at this path",
        path=scope["path"][:_SHOWN],
        meant=" or ".join(dict.fromkeys(path.rstrip("/") or "/" for path in meant)),
        address=peer_host(scope),
    )
    kind = Kind.WORKER if surface is Surface.PRIVATE else Kind.CLIENT
    reason = "there is no socket at this path"
    refusals.note(kind, 403, reason, address=peer_host(scope), **claims_in(scope))


async def _refuse_origin(scope: Any, send: Any, node: Node) -> None:
    """403; in development the body says what to set."""
    if node.conf.environment == "development":
        advice = how_to_admit(scope, Surface.PUBLIC, node.conf)
        await _refuse(scope, send, 403, _TEXT, f"{advice}\n", else_code=1008)
    else:
        await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403


async def _refuse(
    scope: Any,
    send: Any,
    status: int,
    headers: list[tuple[bytes, bytes]],
    text: str = "",
    *,
    else_code: int,
) -> None:
    """This status where the server can say so, else 403: a browser sees neither, and comes back."""
    if "websocket.http.response" in scope.get("extensions", ()):
        start = "websocket.http.response.start"
        await send({"type": start, "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": text.encode()})
    else:
        await send({"type": "websocket.close", "code": else_code})
