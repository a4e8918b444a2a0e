"""A TCP proxy on the loopback that can turn into a black hole: connected, and silent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """`open` cleared: what comes in stays in; nothing is closed."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        self.open = asyncio.Event()
        self.open.set()
        self.writers: set[asyncio.StreamWriter] = set()  # to those who came
        self._backs: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._backs.add(back)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    await self.open.wait()
                    sink.write(data)
        finally:
            self.writers.discard(sink)
            self._backs.discard(sink)
            sink.close()

    async def close(self) -> None:
        for task in tuple(self._pumps):
            task.cancel()
        if self._pumps:
            await asyncio.wait(tuple(self._pumps))
        for writer in self.writers | self._backs:
            writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def proxy(target: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """In front of a port; with `tls` it ends TLS."""
    made = Proxy(target)
    server = await asyncio.start_server(made.accept, "127.0.0.1", ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
