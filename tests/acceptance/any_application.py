"""Any ASGI application on our server: `python -m tests.acceptance.any_application PORTS_FILE`.

The hardened server must keep its promises for code that knows nothing of the gateway. The path
says what the application does; what its `finally` saw goes to stdout.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
from copy import copy, deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from sockets.server.daphne import GatewayServer, Listener  # isort: skip
from sockets.server.reactor import reactor  # isort: skip

from sockets.conf import Conf
from sockets.types import Surface

LINE = "x" * 50_000


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        await big_response(scope, receive, send)
        return
    query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
    await receive()
    if scope["path"].startswith("/handshake"):
        await handshake(scope, query, receive, send)
        return
    try:
        await websocket(scope, query, receive, send)
    finally:
        await asyncio.sleep(float(query.get("cleanup", "0")))
        sys.stdout.write(f"finally {scope['path']}\n")
        sys.stdout.flush()


async def websocket(scope: Any, query: dict[str, str], receive: Any, send: Any) -> None:
    path = scope["path"]
    await send({"type": "websocket.accept", "headers": [(b"x-accepted", b"yes")]})
    if path == "/close":
        code, reason = int(query["code"]), query.get("reason", "")
        await send({"type": "websocket.close", "code": code, "reason": reason})
        await send({"type": "websocket.send", "text": "after close: a no-op"})
    elif path == "/empty":
        await send({"type": "websocket.send", "text": ""})
        await send({"type": "websocket.send", "bytes": b""})
    elif path == "/flood":
        for _ in range(2000):
            await send({"type": "websocket.send", "text": LINE})
    elif path == "/loop":
        loop = type(asyncio.get_running_loop())
        await send({"type": "websocket.send", "text": f"{loop.__module__}.{loop.__name__}"})
    elif path == "/scope":
        for copied in (copy(scope), deepcopy(scope), pickle.loads(pickle.dumps(scope))):
            await send({"type": "websocket.send", "text": copied["path"]})
    elif path == "/raise":
        raise RuntimeError("the application failed")
    elif path == "/callback":
        reactor.callLater(0, lambda: 1 / 0)
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def handshake(scope: Any, query: dict[str, str], receive: Any, send: Any) -> None:
    """Answer a handshake as the query says, and tell what it was."""
    answer = query.get("answer", "accept")
    if answer == "raise":
        raise RuntimeError("the application failed")
    if answer == "refuse":
        headers = [(b"x-why", b"full")]
        start = "websocket.http.response.start"
        await send({"type": start, "status": 503, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"later"})
        return
    if answer == "close":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": query.get("subprotocol")})
    told = sorted((name, value) for name, value in scope.items() if name != "extensions")
    await send({"type": "websocket.send", "text": repr(told)})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message["text"]})


async def big_response(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(2000):
        await send({"type": "http.response.body", "body": LINE.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def nothing() -> None:
    return


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    ports_file = Path(sys.argv[1])

    async def on_listening(ports: dict[Surface, int]) -> None:
        ports_file.write_text(str(ports[Surface.PUBLIC]))  # noqa: ASYNC240  # once, at start

    server = GatewayServer(
        application,
        [Listener(Surface.PUBLIC, "127.0.0.1", 0, "")],
        conf=Conf(slow_timeout=2, close_timeout=1, shutdown_grace=3),
        body_limit=lambda surface, path: 1000,
        on_listening=on_listening,
        on_draining=nothing,
        on_stopping=nothing,
        on_stopped=nothing,
    )
    server.run()
    return server.exit_code


if __name__ == "__main__":
    sys.exit(main())
