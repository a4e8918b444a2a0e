"""How the server starts and ends: ports, signals, kill -9, the rows that tell of it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from tests.support.gateway import SHORT, Gateway, plain_daphne, running, uvicorn, wait_for
from tests.support.peers import (
    RawClient,
    client,
    client_at,
    http_get,
    masked,
    refused,
    worker,
    worker_at,
)
from tests.support.scale import scaled

from_the_very_start = pytest.mark.usefixtures("from_the_very_start")


@from_the_very_start
async def test_sigterm_right_after_a_handshake(gateway: Gateway) -> None:
    """Every client gets a plan and a close frame, every row is closed, the ports are free."""
    peers = [await client(gateway, f"user-{n}") for n in range(scaled(500, 40))]
    peers.append(await worker(gateway))
    gateway.signal(signal.SIGTERM)
    waits = []
    for peer in peers:
        frame = await peer.receive()
        assert (frame["type"], frame["code"]) == ("closing", 4000)
        waits.append(frame["reconnect_after"])
        assert await peer.closed() == (4000, "this node is draining")
    assert 0 < min(waits) < 0.1 < max(waits) <= 1, "the return is spread"
    assert await asyncio.to_thread(gateway.wait) == 0
    rows = gateway.rows()
    assert len(rows) == len(peers)
    assert {row["close_code"] for row in rows} == {4000}
    assert all(row["disconnected_at"] for row in rows)
    for port in (gateway.client_port, gateway.worker_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_stalled_clients_do_not_hold_up_the_end(gateway: Gateway) -> None:
    sender = await worker(gateway)
    stalled = [
        RawClient(gateway.client_port, f"/?user_id=stalled-{n}", receive_buffer=4096)
        for n in range(5)
    ]
    for number in range(5):
        for _ in range(10):
            await sender.ask(type="notify", user=f"stalled-{number}", event="n", data="x" * 50_000)
    started = time.monotonic()
    gateway.signal(signal.SIGTERM)
    assert await asyncio.to_thread(gateway.wait) == 0
    assert time.monotonic() - started < float(SHORT["SHUTDOWN_GRACE"]) + 10
    assert not gateway.rows("disconnected_at is null")
    for peer in stalled:
        peer.socket.close()


@from_the_very_start
async def test_a_receiver_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Python waits for the threads of its pools before it ends, however long they take."""
    site = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.stuck_settings"}
    with running(tmp_path / "data", **SHORT | site) as gateway:
        await (await client(gateway, "42")).close()
        wait_for(lambda: gateway.rows("disconnected_at is not null"), "the row of the end")
        gateway.signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.wait) == 0
        assert "threads still run" in gateway.log()


async def test_a_second_signal_hurries(tmp_path: Path) -> None:
    """With clients that never answer CLOSE: the grace is long, the second signal ends it."""
    patience = SHORT | {"SHUTDOWN_GRACE": "30", "CLOSE_TIMEOUT": "30"}
    with running(tmp_path / "data", **patience) as gateway:
        with RawClient(gateway.client_port, "/?user_id=deaf") as deaf:
            assert deaf.status == 101
            deaf.read_frame()
            started = time.monotonic()
            gateway.signal(signal.SIGINT)
            wait_for(lambda: not gateway.listens(), "the ports to be closed")
            assert not gateway.ended()
            gateway.signal(signal.SIGINT)
            assert gateway.wait() == 0
            assert time.monotonic() - started < 15
        assert [row["close_code"] for row in gateway.rows()] == [4000]
        assert "second SIGINT: hurrying" in gateway.log()


def test_a_request_while_the_last_rows_are_written_starts_nothing(tmp_path: Path) -> None:
    """On a connection that was open: `ensure_node` would start the node that just stops."""
    patience = SHORT | {"SHUTDOWN_GRACE": "3"}
    with (
        running(tmp_path / "data", **patience) as gateway,
        RawClient(gateway.client_port, "/?user_id=row") as peer,
        closing(HTTPConnection("127.0.0.1", gateway.client_port, timeout=10)) as kept,
        closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite3")) as database,
    ):
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()
        wait_for(gateway.rows, "the row to be written")
        database.execute("begin exclusive")  # the row's end waits for it
        gateway.signal(signal.SIGTERM)
        assert peer.read_until_close()[0] == 4000
        peer.socket.close()
        statuses = set()
        with suppress(HTTPException, OSError):
            while True:
                kept.request("GET", "/healthz")
                response = kept.getresponse()
                statuses.add(response.status)
                assert response.read()
        assert statuses <= {200, 503} and 503 in statuses
        assert gateway.wait() == 0
        assert "Traceback" not in gateway.log(), gateway.log()


@pytest.mark.parametrize("which", ["client", pytest.param("worker", marks=pytest.mark.soak)])
def test_a_busy_port_exits_1_with_the_remedy(tmp_path: Path, which: str) -> None:
    gateway = Gateway(tmp_path)
    gateway.migrate()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "worker" if which == "client" else "client"
        done = gateway.manage("serve", f"--{which}-port={port}", f"--{other}-port=0", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"gateway: port {port} is in use: stop the other process, or choose another port with "
        f"{which.upper()}_SOCKET_PORT or --{which}-port\n"
    )


def test_two_busy_ports_are_told_once(tmp_path: Path) -> None:
    """Most often another gateway has both: one remedy is enough to read."""
    gateway = Gateway(tmp_path)
    gateway.migrate()
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
        own = [f"--client-port={ports[0]}", f"--worker-port={ports[1]}"]
        done = gateway.manage("serve", *own, check=False)
    assert done.returncode == 1
    assert done.stderr.count("is in use") == 1
    assert f"port {ports[0]} is in use" in done.stderr


def test_a_database_without_tables_is_told(tmp_path: Path) -> None:
    done = Gateway(tmp_path).manage("serve", "--client-port=0", "--worker-port=0", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "CommandError: the database is not migrated, it lacks sockets.0001_initial, "
        "sockets.0002_access_keys, sockets.0003_operations_room; run: python manage.py migrate\n"
    )


async def test_a_database_that_is_away_does_not_stop_the_gateway(tmp_path: Path) -> None:
    away = "postgres://gateway:secret@127.0.0.1:1/gateway"
    gateway = Gateway(tmp_path / "data", **SHORT, DATABASE_URL=away)
    gateway.start()
    try:
        sender, tab = await worker(gateway), await client(gateway, "u")
        await sender.ask(type="notify", user="u", event="n")
        assert (await tab.receive())["event"] == "n"
        assert "the database does not answer" in gateway.log()
        assert "secret" not in gateway.log()
    finally:
        assert gateway.stop() == 0


def test_a_second_process_in_memory_mode_is_refused(gateway: Gateway) -> None:
    done = gateway.manage("serve", "--client-port=0", "--worker-port=0", check=False)
    assert done.returncode == 1
    assert f"process {gateway.pid} already runs in memory mode" in done.stderr
    assert "REDIS_URL" in done.stderr and len(done.stderr.splitlines()) == 1


@from_the_very_start
async def test_kill_9_and_restart(gateway: Gateway) -> None:
    """Rows left open are closed as lost; clients that return hear that the stream is another."""
    sender = await worker(gateway)
    tab = await client(gateway, "survivor")
    await sender.ask(type="notify", user="survivor", event="n")
    assert (await tab.receive())["offset"] == 1
    await asyncio.to_thread(
        wait_for, lambda: len(gateway.rows("disconnected_at is null")) == 2, "the rows"
    )
    gateway.kill()
    assert (await tab.closed())[0] == 1006
    assert len(gateway.rows("disconnected_at is null")) == 2
    gateway.start()
    again = await client(
        gateway,
        "survivor",
        epoch=tab.welcome["epoch"],
        offset="1",
        client_id=tab.welcome["client"],
    )
    assert again.welcome["recovered"] is False
    assert again.welcome["epoch"] != tab.welcome["epoch"]
    lost = await asyncio.to_thread(
        wait_for, lambda: gateway.rows("close_code = 4099"), "the lost rows"
    )
    assert {row["id"] for row in lost} == {tab.welcome["session"], sender.welcome["session"]}
    assert all(row["disconnected_at"] >= row["connected_at"] for row in lost)
    sender = await worker(gateway)
    await sender.ask(type="notify", user="survivor", event="after")
    assert (await again.receive())["event"] == "after"


async def test_close_codes_and_reasons_reach_the_row(shared_gateway: Gateway) -> None:
    gateway, mine = shared_gateway, "user = 'row'"
    one = await client(gateway, "row")
    await one.connection.close(4000 - 1, "the tab was closed")
    with RawClient(gateway.client_port, "/?user_id=row") as vanishing:
        vanishing.read_frame()
    await asyncio.to_thread(
        wait_for,
        lambda: len(gateway.rows(f"{mine} and disconnected_at is not null")) == 2,
        "both rows",
    )
    first, second = gateway.rows(mine)
    assert (first["user"], first["kind"], first["node"]) == ("row", "client", "test-node")
    assert first["client_id"] == one.welcome["client"]
    assert first["address"].startswith("127.0.0.1:") and "websockets" in first["agent"]
    assert first["close_code"] == 3999
    assert second["close_code"] == 1006


@pytest.fixture(scope="module")
def pinging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that soon asks whether a client is still there."""
    settings = {**SHORT, "HEARTBEAT": "0.2", "PONG_TIMEOUT": "1.5"}
    with running(tmp_path_factory.mktemp("pinging"), **settings) as gateway:
        yield gateway


async def test_no_pong_closes_4001(pinging: Gateway) -> None:
    with RawClient(pinging.client_port, "/?user_id=mute") as mute:
        assert await asyncio.to_thread(mute.read_until_close) == (4001, "no pong")
    answering = await client(pinging, "answers")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await answering.receive()
    assert answering.pings >= 4
    assert (await answering.ask(type="sessions"))["ok"]


PONG = b'{"type":"pong"}'


def first_part(payload: bytes) -> bytes:
    """A frame of a message that goes on."""
    frame = bytearray(masked(payload))
    frame[0] = 0x01
    return bytes(frame)


WAYS: dict[str, list[bytes]] = {
    "whole": [masked(PONG)],
    "in pieces": [masked(PONG)[:7], masked(PONG)[7:]],
    "as another library writes it": [masked(b'{"type": "pong"}')],
    "two at once": [masked(PONG) * 2],
    "of two frames": [first_part(PONG[:6]), masked(PONG[6:], 0)],
    "after a part of another": [masked(PONG)[:3], masked(PONG)[3:] + masked(PONG)[:9]],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_pong_counts_however_it_comes(pinging: Gateway, way: str) -> None:
    """One that comes whole is known by its bytes; none is missed, and none made of others."""
    with RawClient(pinging.client_port, "/?user_id=pongs") as peer:
        pings = 0
        while pings < 10:  # for longer than PONG_TIMEOUT
            opcode, payload = peer.read_frame()
            assert opcode == 1, payload
            if json.loads(payload)["type"] == "ping":
                pings += 1
                for piece in WAYS[way]:
                    peer.socket.sendall(piece)
                    time.sleep(0.02)
                if way == "after a part of another":
                    peer.socket.sendall(masked(PONG)[9:])


def test_a_pong_within_another_message_is_a_violation(shared_gateway: Gateway) -> None:
    with RawClient(shared_gateway.client_port, "/?user_id=pongs") as peer:
        peer.socket.sendall(first_part(b'{"type":'))
        time.sleep(0.1)
        peer.socket.sendall(masked(PONG))
        assert peer.read_until_close()[0] == 1002


async def test_a_deaf_peer_is_closed_though_little_waits(shared_gateway: Gateway) -> None:
    """Long before the buffer is full that would make the transport pause."""
    gateway = shared_gateway
    sender = await worker(gateway)
    with RawClient(gateway.client_port, "/?user_id=deaf", receive_buffer=4096) as deaf:
        deaf.read_frame()
        for _ in range(110):  # the kernel takes some hundred
            await sender.ask(type="notify", user="deaf", event="n", data="x" * 1_000)
        await asyncio.to_thread(wait_for, lambda: gateway.rows("close_code = 4002"), "the end")
    (row,) = gateway.rows("close_code = 4002")
    assert row["user"] == "deaf"


async def test_a_plain_client_without_subprotocol_works(shared_gateway: Gateway) -> None:
    """What `wscat -c 'ws://localhost:4000/?user_id=42'` does."""
    gateway = shared_gateway
    from websockets.asyncio.client import connect

    async with connect(gateway.client_url(user_id="plain"), proxy=None) as plain:
        assert plain.subprotocol is None
        welcome = json.loads(await plain.recv())
        assert (welcome["type"], welcome["heartbeat"]) == ("welcome", 0)
        sender = await worker(gateway)
        await sender.ask(type="notify", user="plain", event="hi")
        assert json.loads(await plain.recv())["event"] == "hi"


@pytest.mark.parametrize("server", [uvicorn, plain_daphne])
async def test_the_same_application_on_other_servers(tmp_path: Path, server: object) -> None:
    with server(tmp_path / "data", **SHORT) as gateway:  # type: ignore[operator]
        base = f"ws://127.0.0.1:{gateway.client_port}"
        sender = await worker_at(f"{base}/ws/worker/")
        tab = await client_at(f"{base}/ws/client/?user_id=kim")
        await sender.ask(type="notify", user="kim", event="n", data=1)
        assert (await tab.receive())["data"] == 1
        replaced = await client_at(f"{base}/?user_id=kim&client_id={tab.welcome['client']}")
        assert (await tab.closed())[0] == 4503
        assert (await refused(f"{base}/ws/client/"))[0] == 4501
        assert http_get(gateway.client_port, "/healthz")[0] == 200
        assert http_get(gateway.client_port, "/admin/login/")[0] == 200
        await replaced.connection.close()
        wait_for(lambda: not gateway.rows("user = 'kim' and disconnected_at is null"), "the rows")


async def test_surface_defaults_to_public_on_other_servers(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "data", **SHORT)
    gateway.migrate()
    with socket.create_server(("127.0.0.1", 0)) as free:
        gateway.client_port = free.getsockname()[1]
    gateway.begin("-m", "uvicorn", "gateway.asgi:application", f"--port={gateway.client_port}")
    try:
        wait_for(gateway.listens, "uvicorn to listen")
        assert http_get(gateway.client_port, "/admin/login/")[0] == 404
        with RawClient(gateway.client_port, "/ws/worker/") as peer:
            assert peer.status == 403
    finally:
        gateway.stop()
