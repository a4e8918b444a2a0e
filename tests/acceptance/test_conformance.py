"""What the conformance run stands on: the echo answers, and takes what the gateway would refuse."""

from __future__ import annotations

from pathlib import Path

from websockets.asyncio.client import connect

from tests.conformance.autobahn import echo


async def test_the_echo_gives_back_what_comes(tmp_path: Path) -> None:
    with echo(tmp_path) as port:
        async with connect(f"ws://127.0.0.1:{port}/", max_size=None, proxy=None) as socket:
            assert "Sec-WebSocket-Extensions" not in socket.response.headers  # type: ignore[union-attr]
            for message in ("", "ä" * 1_000_000, b"", bytes(2_000_000)):
                await socket.send(message)
                assert await socket.recv() == message
