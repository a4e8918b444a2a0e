"""A real HTTP server in the place of the platform's: it keeps what it is sent, answers as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sockets.events.webhooks import Webhooks
from tests.support.doubles import until

SECRET = "0123456789abcdef0123456789abcdef"
NEVER = 30.0  # seconds; longer than any test


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)["events"]
        return found

    @property
    def ids(self) -> list[Any]:
        return [event["id"] for event in self.events]


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def status(code: int, *headers: str, body: bytes = b"") -> Answer:
    """Answers with this, and keeps the connection."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {code} As told", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer


async def silence(request: Request, writer: asyncio.StreamWriter) -> None:
    """Takes the request, and never says a word."""
    await asyncio.Event().wait()


async def hang_up(request: Request, writer: asyncio.StreamWriter) -> None:
    """Takes the request, and closes the connection."""
    writer.close()


def drip(beginning: bytes) -> Answer:
    """Goes on for ever after the beginning, a byte at a time."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


class ApiServer:
    """`answer` is what it does with each request; `answers` come first, one for each."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.cut = 0  # connections that ended in the middle of an answer
        self.answer: Answer = status(200)
        self.answers: list[Answer] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/gateway/events"

    @property
    def ids(self) -> list[Any]:
        """Of all events that came, in order."""
        return [number for request in self.requests for number in request.ids]

    async def start(self) -> None:
        """At a free port; later at the same one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens any more; open connections end."""
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            while True:
                request = await _read(reader)
                self.requests.append(request)
                await (self.answers.pop(0) if self.answers else self.answer)(request, writer)
        except asyncio.IncompleteReadError:
            pass
        except ConnectionError:
            self.cut += 1
        except asyncio.CancelledError:
            pass  # stop(); the server would log it
        finally:
            self._serving.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *lines = head.rstrip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return Request(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    """A running one."""
    server = ApiServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Sender:
    """Webhooks at work, and what became of each event."""

    def __init__(self, server: ApiServer, **given: Any) -> None:
        values = {"queue_size": 1000, "interval": 0, "timeout": NEVER, "max_backoff": 0.02}
        self.subject = Webhooks(url=server.url, secret=SECRET, **values | given)
        self.settled: dict[int, bool] = {}
        self.task: asyncio.Task[None] | None = None

    def put(self, *numbers: int) -> None:
        for number in numbers:
            event = {"id": number, "type": "user_online", "user": "hidden"}
            self.subject.put(event, partial(self._settle, number))

    def _settle(self, number: int, taken: bool) -> None:
        self.settled[number] = taken

    def start(self) -> None:
        self.task = asyncio.create_task(self.subject.run())

    async def until_settled(self, count: int) -> None:
        await until(lambda: len(self.settled) >= count, 20)
