"""An echo on our server, and nothing else: `python -m tests.conformance.echo PORTS_FILE`.

The frame limit is raised: with the gateway's 64 KiB the suite's large messages would be refused, as
they should be, and could not be told from failures.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from sockets.server.daphne import GatewayServer, Listener  # isort: skip

from sockets.conf import Conf
from sockets.types import Surface

LIMIT = 32 << 20
"""Bytes of a frame; the suite sends 16 MB."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Sends back what comes. Anything but a WebSocket is not found."""
    if scope["type"] != "websocket":
        await receive()
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


async def nothing() -> None:
    return


def main() -> int:
    logging.basicConfig(level=logging.WARNING)
    ports_file = Path(sys.argv[1])

    async def on_listening(ports: dict[Surface, int]) -> None:
        ports_file.write_text(str(ports[Surface.PUBLIC]))  # noqa: ASYNC240  # once, at start

    server = GatewayServer(
        application,
        [Listener(Surface.PUBLIC, "127.0.0.1", 0, "")],
        conf=Conf(max_frame_size=LIMIT, connect_rate=0, node_connect_rate=0),
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
