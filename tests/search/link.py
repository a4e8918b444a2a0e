"""The line between a process and Redis: it can be cut, reset, slowed and silenced."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.proxy import Proxy


class Link(Proxy):
    """`delay`: seconds that each piece of data takes. `shut`: those who come are hung up on."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.delay = 0.0
        self.shut = False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.shut:
                raise ConnectionRefusedError
            await super().accept(reader, writer)
        except OSError:  # nobody listens there
            self.writers.discard(writer)
            reset(writer)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    await self.open.wait()
                    sink.write(data)
                    await sink.drain()
        finally:
            self.writers.discard(sink)
            self._backs.discard(sink)
            sink.close()

    def cut(self, *, with_rst: bool) -> None:
        """End all connections, on the process' side with a FIN or with an RST."""
        for writer in tuple(self.writers):
            if with_rst:
                reset(writer)
            else:
                writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side gets an RST."""
    line = writer.get_extra_info("socket")
    if line is not None:
        with suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def link(target: int) -> AsyncIterator[Link]:
    """In front of a port of the loopback."""
    made = Link(target)
    server = await asyncio.start_server(made.accept, "127.0.0.1")
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
