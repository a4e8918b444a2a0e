"""Redis over a socket in the file system, as settings.md promises it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sockets.redis import close, connect, connect_sync
from tests.support.gateway import running
from tests.support.peers import client
from tests.support.valkey import Server


@pytest.fixture
def url() -> Iterator[str]:
    with TemporaryDirectory() as folder:  # short: the path of a socket has 107 bytes
        server = Server("--unixsocket", f"{folder}/s")
        yield f"unix://{folder}/s"
        server.stop()


async def test_clients_of_loops_and_of_threads(url: str) -> None:
    made = connect(url)
    assert await made.eval("return ARGV[1]", 0, "x") == b"x"  # type: ignore[misc]
    assert await made.set("a", 1)
    await close(made)
    assert connect_sync(url).get("a") == b"1"


async def test_a_node(url: str, tmp_path: Path) -> None:
    with running(tmp_path, REDIS_URL=url) as gateway:
        tab = await client(gateway, "42")
        told = gateway.manage("notify", "42", "order.paid", "{}")
        assert "live sessions: 1" in told.stdout, told
        assert (await tab.receive())["event"] == "order.paid"
        await tab.close()
