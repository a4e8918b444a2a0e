"""What is read is handed on at once, in pieces, until the connection ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from sockets.redis.tap import READ, Tap
from tests.support.doubles import until
from tests.support.patience import PATIENCE

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@asynccontextmanager
async def tapped(
    heard: Callable[[bytes], None],
) -> AsyncIterator[tuple[Tap, asyncio.StreamWriter, socket.socket]]:
    mine, theirs = socket.socketpair()
    theirs.setblocking(False)
    _, writer = await asyncio.open_connection(sock=mine)
    try:
        yield Tap(writer, heard), writer, theirs
    finally:
        writer.transport.abort()
        theirs.close()


async def send(peer: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(peer, data)


async def _pieces() -> None:
    heard: list[bytes] = []
    async with tapped(heard.append) as (_, _, peer):
        await send(peer, b"one")
        await until(lambda: heard == [b"one"])
        large = bytes(range(256)) * 4 * (READ // 256)
        await asyncio.gather(send(peer, large), until(lambda: sum(map(len, heard)) > len(large)))
        assert b"".join(heard) == b"one" + large
        assert max(map(len, heard)) <= READ
        await send(peer, b"after")
        await until(lambda: heard[-1] == b"after")


async def _ends() -> None:
    async with tapped(lambda data: None) as (tap, _, peer):
        peer.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(PATIENCE):
            await tap.ended


async def _fails() -> None:
    def heard(data: bytes) -> None:
        raise ValueError("no RESP")

    async with tapped(heard) as (tap, writer, peer):
        await send(peer, b"x")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ValueError, match="no RESP"):
                await tap.ended
        assert writer.transport.is_closing()


async def _drains() -> None:
    """Whoever writes waits for space as before, and hears of the end as before."""
    async with tapped(lambda data: None) as (_, writer, peer):
        writer.write(b"x" * 10_000_000)
        waiting = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        received = 0
        while received < 10_000_000:
            received += len(await asyncio.get_running_loop().sock_recv(peer, 1_000_000))
        async with asyncio.timeout(PATIENCE):
            await waiting
        writer.close()
        async with asyncio.timeout(PATIENCE):
            await writer.wait_closed()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("case", [_pieces, _ends, _fails, _drains], ids=lambda case: case.__name__)
def test_on_each_loop(loop: str, case: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(case())  # type: ignore[arg-type]
