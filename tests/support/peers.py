"""Peers of the gateway in tests: well-behaved ones, and one that does as it likes."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import socket
import struct
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.gateway import WORKER_KEY, Gateway
from tests.support.patience import PATIENCE

V1 = "gateway.v1"


class Peer:
    """A client or worker on a real socket. Frames are dictionaries; pings are answered."""

    opened: ClassVar[list[Peer]] = []
    """Those of the running test; a fixture closes them."""

    def __init__(self, connection: ClientConnection) -> None:
        self.opened.append(self)
        self.connection = connection
        self.welcome: dict[str, Any] = {}
        self.pings = 0

    async def receive(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next frame that is not a ping."""
        async with asyncio.timeout(seconds):
            while True:
                frame: dict[str, Any] = json.loads(await self.connection.recv())
                if frame["type"] != "ping":
                    return frame
                self.pings += 1
                await self.send(type="pong")

    async def receive_many(self, count: int, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        async with asyncio.timeout(seconds):
            return [await self.receive(seconds) for _ in range(count)]

    async def send(self, **frame: Any) -> None:
        await self.connection.send(json.dumps(frame))

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Send a request and return its reply; frames in between are dropped."""
        await self.send(**frame, ref="ask")
        while True:
            answer = await self.receive()
            if answer["type"] == "reply" and answer.get("ref") == "ask":
                return answer

    async def closed(self, seconds: float = PATIENCE) -> tuple[int, str]:
        """Read until the server closes; its code and reason."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.connection.recv()
                except ConnectionClosed as error:
                    return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")

    async def close(self) -> None:
        await self.connection.close()


async def _peer(url: str, **options: Any) -> Peer:
    options.setdefault("subprotocols", [V1])
    connection = await connect(
        url, open_timeout=15, ping_interval=None, max_size=2**24, proxy=None, **options
    )
    peer = Peer(connection)
    peer.welcome = await peer.receive()
    return peer


async def client_at(url: str, **options: Any) -> Peer:
    """A client that is welcomed at this address."""
    peer = await _peer(url, **options)
    assert peer.welcome["type"] == "welcome", peer.welcome
    return peer


async def client(gateway: Gateway, user: str, **params: str) -> Peer:
    """A welcomed client of the insecure development authentication."""
    return await client_at(gateway.client_url(user_id=user, **params))


async def worker_at(url: str, key: str = WORKER_KEY, **options: Any) -> Peer:
    """A worker that is welcomed at this address."""
    return await _peer(url, additional_headers={"Authorization": f"Bearer {key}"}, **options)


async def worker(gateway: Gateway, key: str = WORKER_KEY, **params: str) -> Peer:
    """A welcomed worker."""
    return await worker_at(gateway.worker_url(**params), key)


async def refused(url: str, **options: Any) -> tuple[int, str]:
    """Connect where a close code is expected instead of a welcome."""
    options.setdefault("subprotocols", [V1])
    async with connect(url, open_timeout=15, ping_interval=None, proxy=None, **options) as raw:
        return await Peer(raw).closed()


class RawClient:
    """A WebSocket client on a bare blocking socket: sends any bytes, reads only when told to."""

    def __init__(
        self, port: int, path: str, *, receive_buffer: int | None = None, offered: str = V1
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(15)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n".encode()
        )
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def send_frame(self, payload: bytes, opcode: int = 1) -> None:
        self.socket.sendall(masked(payload, opcode))

    def read_frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next server frame. Raises EOFError, OSError."""
        first, second = self._take(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return first & 15, self._take(size)

    def read_until_close(self) -> tuple[int, str]:
        """The server's close code and reason; (1006, "") if the connection just ended."""
        try:
            while True:
                opcode, payload = self.read_frame()
                if opcode == 8:
                    return struct.unpack("!H", payload[:2])[0], payload[2:].decode()
        except (EOFError, ConnectionError):
            return 1006, ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@dataclass(frozen=True)
class Upgrade:
    """The answer to a handshake. `status` 0: the server just hung up."""

    status: int
    headers: dict[str, str]


def upgrade(port: int, path: str = "/?user_id=u", *, header: str = "", source: str = "") -> Upgrade:
    """A WebSocket handshake, its socket closed at once. `header`: lines; `source`: an address."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        *([header] if header else []),
    ]
    address = ("127.0.0.1", port)
    with socket.create_connection(address, timeout=10, source_address=(source, 0)) as connection:
        try:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = connection.recv(4096)
        except ConnectionError:  # it hung up with some of ours unread
            answer = b""
    if not answer:
        return Upgrade(0, {})
    first, *rest = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return Upgrade(int(first.split()[1]), {n.lower(): v.strip() for n, _, v in pairs})


def http_get(
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of one HTTP request; the path goes out as it is."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """A client frame; the mask is zero, which RFC 6455 allows and keeps the bytes readable."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + struct.pack("!H", size)
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + struct.pack("!Q", size)
    return head + b"\0\0\0\0" + payload
