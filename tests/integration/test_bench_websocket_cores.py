"""The other forms of the WebSocket protocol, in small: what a socket of ours has to keep holds in
each, and their benchmark measures what it says."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.peers.load import NoCompiler, compiled
from bench.websocket_cores.__main__ import (
    FIGURES,
    Measured,
    Scale,
    how_to_install,
    missing,
    python,
    running,
    table,
)
from bench.websocket_cores.cores import CORES

PATIENCE = 20
"""Seconds for what comes by the clock: a stall counts from one second on in these servers."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return compiled(tmp_path_factory.mktemp("load"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=list(CORES))
def server(request: pytest.FixtureRequest, program: Path) -> Iterator[Measured]:
    if missing(python(), CORES[request.param]):
        pytest.skip(how_to_install())
    with running(request.param, program, python()) as server:
        yield server


def opened(server: Measured, path: str = "/") -> connect:
    return connect(f"ws://127.0.0.1:{server.port}{path}", compression=None)


async def ending(ws: ClientConnection) -> int:
    """Wait for the end, and return what the server has said."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(ws.recv(), PATIENCE)
    assert ws.close_code is not None
    return ws.close_code


def test_a_round_has_a_value_of_each_figure(server: Measured) -> None:
    found = server.round(Scale(100, 200, 1), settle=0.1)
    assert found.keys() == FIGURES.keys()
    assert all(found[key] > 0 for key in ("connect", "echo", "close"))
    assert server.wrong == 0


async def test_messages_come_back_whole(server: Measured) -> None:
    big = "é" * 30_000
    async with opened(server) as ws:
        for message in ("", "hé", b"\0\xff", big, big.encode()):
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["in ", "", "parts"])
        assert await ws.recv() == "in parts"
        await asyncio.wait_for(await ws.ping(b"there?"), PATIENCE)
        for place in range(3_000):  # of which one read holds many
            await ws.send(str(place))
        assert [await ws.recv() for _ in range(3_000)] == [str(n) for n in range(3_000)]
    assert ws.close_code == 1000


@pytest.mark.parametrize(
    ("message", "code"),
    [("x" * 70_000, 1009), (["x" * 40_000, "y" * 40_000], 1009), (b"\xff", 1007)],
    ids=["too big", "too big in parts", "no UTF-8"],
)
async def test_what_is_wrong_ends_the_socket(
    server: Measured, message: str | bytes | list[str], code: int
) -> None:
    async with opened(server) as ws:
        with contextlib.suppress(ConnectionClosed):
            await ws.send(message, text=True)
        assert await ending(ws) == code


async def test_who_does_not_read_is_noticed(server: Measured) -> None:
    async with opened(server, "/flood") as ws:
        ws.transport.pause_reading()
        await asyncio.sleep(4)
        ws.transport.resume_reading()
        assert await ending(ws) == 4002


async def test_a_socket_is_not_read_while_its_application_is_behind(server: Measured) -> None:
    async with opened(server, "/held") as ws:

        async def send() -> None:
            for _ in range(5_000):
                await ws.send("x" * 10_000)

        sending = asyncio.create_task(send())
        try:
            assert await ending(ws) == 1013
            assert not sending.done() or sending.exception() is not None  # 50 MB were never taken
        finally:
            sending.cancel()
            ws.transport.abort()  # nobody reads what its closing handshake would wait behind


def test_a_table_has_a_ratio_for_each() -> None:
    values = {key: [2.0, 4.0] for key in FIGURES}
    other = {key: [1.0, 1.0] for key in FIGURES}
    text = table({"autobahn": values, "websockets": other})
    assert text.count("0.38 (0.25 to 0.50)") == len(FIGURES)


def test_what_is_missing_is_told() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "bench.websocket_cores", "--help"], capture_output=True, check=True
    )
    assert b"--quick" in told.stdout
    assert "pip install picows==" in how_to_install()
