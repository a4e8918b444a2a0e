"""Our server with one of the cores, and an echo: `python -m bench.websocket_cores.server CORE
PORT`."""

from __future__ import annotations

from sockets.server.daphne import GatewayServer, Listener  # isort: skip

import argparse
import asyncio
import gc
import logging
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, ClassVar
from urllib.parse import unquote

from bench.websocket_cores.cores import CORES, Core
from bench.websocket_cores.handshake import key_of
from bench.websocket_cores.on_loop import OnLoop, taken_from
from bench.websocket_cores.socket import CoreSocket
from sockets.auth.handshake import SUBPROTOCOL
from sockets.conf import Conf
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from sockets.server.http import GatewayRequest
from sockets.server.inbound import InboundQueue
from sockets.types import Refusal, Surface

FLOOD = 1_000
"""Messages of 16 KiB."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back what comes, as a session of ours writes: text as ready frames, unless the outbox is
    full. The path /held never takes a message, and /flood sends 16 MB first."""
    if scope["type"] != "websocket":
        await receive()
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    asked = SUBPROTOCOL in scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if asked else None})
    outbox = scope["extensions"]["gateway.frames"]
    if scope["path"] == "/welcome":
        outbox.write(Frame(b'{"type":"welcome"}'))
    if scope["path"] == "/held":
        await asyncio.Event().wait()
    for _ in range(FLOOD if scope["path"] == "/flood" else 0):
        await send({"type": "websocket.send", "text": "x" * 16_384})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        elif outbox.write(Frame(text.encode())) is Write.FULL:
            await send({"type": "websocket.send", "text": text})


class CoreRequest(GatewayRequest):
    """A request that goes over into a socket of a core, from the headers that Twisted has read."""

    transport: Any
    make: Callable[..., CoreSocket]
    is_on_loop = False
    beginning: ClassVar[set[asyncio.Future[None]]] = set()  # until the loop reads their socket

    def process(self) -> Any:
        upgrade = self.requestHeaders.getRawHeaders(b"upgrade") or [b""]
        if self.channel.refused or upgrade[0].lower() != b"websocket":
            return super().process()
        try:
            key = key_of(self)
        except ValueError as error:
            self.channel.refuse(400, str(error), Refusal.MALFORMED)
            return None
        scope = self._scope()
        transport, self.transport = self.transport, None
        if self.is_on_loop:
            on = OnLoop(taken_from(transport), transport.server)
            socket = self.make(self.server, on, key)
            task = asyncio.ensure_future(self._begin_on(on, socket, scope))
            self.beginning.add(task)
            task.add_done_callback(self.beginning.discard)
        else:
            transport.protocol = socket = self.make(self.server, transport, key)
            socket.begin(scope)
            self.channel._networkProducer.resumeProducing()
        self.server.protocol_disconnected(self)  # type: ignore[attr-defined]
        return None

    @staticmethod
    async def _begin_on(on: OnLoop, socket: CoreSocket, scope: dict[str, Any]) -> None:
        await on.begin(socket)
        if on.connected:
            socket.begin(scope)

    def _scope(self) -> dict[str, Any]:
        headers = [
            (name.lower(), value)
            for name, values in self.requestHeaders.getAllRawHeaders()
            for value in values
            if b"_" not in name
        ]
        protocols = ",".join(
            v.decode("latin-1") for n, v in headers if n == b"sec-websocket-protocol"
        )
        peer, host = self.transport.getPeer(), self.transport.getHost()
        return {
            "type": "websocket",
            "path": unquote(self.path.decode("ascii")),
            "raw_path": self.path,
            "root_path": "",
            "headers": headers,
            "query_string": self.uri.partition(b"?")[2],
            "client": [peer.host, peer.port],
            "server": [host.host, host.port],
            "subprotocols": [one.strip() for one in protocols.split(",") if one.strip()],
        }


class CoreServer(GatewayServer):
    """The gateway's server, whose WebSockets are of a core."""

    def __init__(self, core: Core, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._core = core

    def _prepare(self) -> None:
        super()._prepare()
        made: Any = getattr(import_module(self._core.module), self._core.name)

        class Bound(made):  # type: ignore[misc]
            __slots__ = ()
            conf = self.conf

        class BoundRequest(CoreRequest):
            make = Bound
            is_on_loop = self._core.is_on_loop

        build = self.http_factory.buildProtocol

        def build_protocol(address: Any) -> Any:
            protocol = build(address)
            protocol.requestFactory = BoundRequest
            return protocol

        self.http_factory.buildProtocol = build_protocol  # type: ignore[method-assign]

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if not isinstance(protocol, CoreSocket):
            return super().create_application(protocol, scope)
        queue = InboundQueue(protocol.inbound, self.conf.inbound_high, self.conf.inbound_low)
        scope["extensions"] = {"gateway.frames": protocol.outbox}
        scope["asgi"] = {"version": "3.0"}
        scope["gateway.surface"] = self.surface_of(protocol.transport)
        send = partial(self.handle_reply, protocol)
        task = asyncio.ensure_future(self.application(scope=scope, receive=queue.get, send=send))
        self.connections[protocol]["application_instance"] = task
        task.add_done_callback(partial(self._ended, protocol))
        return queue

    def _due(self, protocol: Any) -> float:
        known = self.connections.get(protocol)
        if known is None or "disconnected" in known or not isinstance(protocol, CoreSocket):
            return super()._due(protocol)
        return protocol.due(self.timetable.now())


async def nothing(_: object = None) -> None:
    return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("core", choices=list(CORES))
    parser.add_argument("port", type=int)
    parser.add_argument("--most", type=int, default=64 * 1024, help="bytes of a message")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    core = CORES[options.core]
    made: Any = partial(CoreServer, core) if core.module else GatewayServer
    # One address opens many sockets here, and stalls are found sooner than a test has patience.
    conf = Conf(max_frame_size=options.most, slow_timeout=1.0, client_rate=1e6, client_burst=10**6)
    server: GatewayServer = made(
        echo,
        [Listener(Surface.PUBLIC, "127.0.0.1", options.port, "")],
        conf=conf,
        body_limit=lambda surface, path: 1000,
        on_listening=nothing,
        on_draining=nothing,
        on_stopping=nothing,
        on_stopped=nothing,
    )
    # What lives as long as the process is left out, as in `manage.py serve`.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    server.run()
    return server.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
