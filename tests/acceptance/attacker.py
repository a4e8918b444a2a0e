"""One attack on a client port: python -m tests.acceptance.attacker ATTACK PORT COUNT SECONDS.

Prints "begun" when the attack is under way, and what became of it at the end. Loopback only; each
attacker has its own address where the attack is not about one address.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.support.peers import masked

HANDSHAKE = (
    "GET /?user_id={user} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: gateway.v1\r\n\r\n"
)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Attack:
    """`count` attackers for so many seconds; `seen`: what the gateway did to them."""

    def __init__(self, port: int, count: int, seconds: float) -> None:
        self.port = port
        self.count = count
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.seen: Counter[str] = Counter()

    async def run(self, kind: str) -> None:
        one: Callable[[int], Awaitable[None]] = getattr(self, kind)
        tasks = [asyncio.ensure_future(one(number)) for number in range(self.count)]
        await asyncio.sleep(0.2)
        say("begun")
        await asyncio.gather(*tasks)
        say(", ".join(f"{what} {number}" for what, number in sorted(self.seen.items())))

    async def connect(self, number: int) -> Streams:
        source = f"127.0.{1 + number // 200}.{1 + number % 200}"
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))

    async def socket(self, number: int) -> Streams:
        """A session, welcomed."""
        reader, writer = await self.connect(number)
        writer.write(HANDSHAKE.format(user=f"bad{number}").encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in answer:
            writer.close()
            raise ConnectionRefusedError
        return reader, writer

    # --- attacks

    async def half_open(self, number: int) -> None:
        """Connect, send half a handshake, wait; again when cut."""
        while time.monotonic() < self.end:
            reader, writer = await self.connect(number)
            with suppress(OSError):
                writer.write(HANDSHAKE.format(user="x").encode()[:60])
                async with until(self.end):
                    await reader.read()
            if time.monotonic() < self.end:
                self.seen["cut"] += 1
            writer.close()

    async def drip(self, number: int) -> None:
        """A header without end, a byte at a time."""
        while time.monotonic() < self.end:
            _, writer = await self.connect(number)
            with suppress(OSError):
                writer.write(HANDSHAKE.format(user="x").encode()[:-2] + b"X-A: ")
                while time.monotonic() < self.end:
                    writer.write(b"a")
                    await writer.drain()
                    await asyncio.sleep(0.1)
            if time.monotonic() < self.end:
                self.seen["cut"] += 1
            writer.close()

    async def burst(self, number: int) -> None:
        """As many handshakes as there are attackers, half of them from one address."""
        try:
            reader, writer = await self.socket(number if number % 2 else 0)
        except (OSError, asyncio.IncompleteReadError):
            self.seen["refused"] += 1
            return
        self.seen["answered"] += 1
        with suppress(OSError):
            async with until(self.end):
                await reader.read()
        writer.close()

    async def huge(self, number: int) -> None:
        """10 MB in one frame."""
        await self.flood(number, masked(b"x" * 10_000_000))

    async def many_frames(self, number: int) -> None:
        """10 MB in frames of 1 KB."""
        await self.flood(number, masked(b'{"type":"send","data":"' + b"x" * 980 + b'"}') * 10_000)

    async def pings(self, number: int) -> None:
        """1,000 pings a second."""
        await self.flood(number, masked(b"x", 9) * 100, pause=0.1)

    async def deaf(self, number: int) -> None:
        """Asks, and never reads the answers."""
        await self.flood(number, masked(b'{"type":"sessions","ref":1}') * 1_000, read=False)

    async def flood(
        self, number: int, data: bytes, *, pause: float = 0.0, read: bool = True
    ) -> None:
        """On one socket after the other, until the end."""
        while time.monotonic() < self.end:
            try:
                reader, writer = await self.socket(number)
            except (OSError, asyncio.IncompleteReadError):
                self.seen["refused"] += 1
                await asyncio.sleep(0.1)
                continue
            listening = asyncio.ensure_future(reader.read()) if read else None
            try:
                async with until(self.end):
                    while not (listening and listening.done()):
                        for start in range(0, len(data), 65_536):
                            writer.write(data[start : start + 65_536])
                            await writer.drain()
                        await asyncio.sleep(pause)
            except OSError:
                pass
            if time.monotonic() < self.end:
                self.seen["closed"] += 1
            if listening is not None:
                listening.cancel()
            writer.transport.abort()
            await asyncio.sleep(0.05)


class until:
    """Ends what is in it at this time, without an error."""

    def __init__(self, end: float) -> None:
        self._timeout = asyncio.timeout(max(0.01, end - time.monotonic()))

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: object) -> bool:
        try:
            await self._timeout.__aexit__(*error)  # type: ignore[arg-type]
        except TimeoutError:
            return True
        return False


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    kind, port, count, seconds = sys.argv[1:]
    asyncio.run(Attack(int(port), int(count), float(seconds)).run(kind))
