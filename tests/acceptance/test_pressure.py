"""Peers that stall, flood or never answer: memory stays flat, others are served, rows tell why."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import SHORT, Gateway, running, uvicorn, wait_for
from tests.support.peers import (
    Peer,
    RawClient,
    client,
    client_at,
    http_get,
    masked,
    worker,
    worker_at,
)
from tests.support.scale import scaled

SMALL = 4096
"""A receive buffer that the kernel cannot hide megabytes in."""

UNHURRIED = SHORT | {"SLOW_TIMEOUT": "20"}
"""Where who reads is not to be taken for one that does not, however long this process is kept
from a core."""


@pytest.fixture(params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    """The gateway on our daphne, and its client surface on uvicorn."""
    start = running if request.param == "daphne" else uvicorn
    with start(tmp_path / "data", **UNHURRIED) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


async def flood(sender: Peer, user: str, count: int, size: int, **options: object) -> None:
    """`count` notifications of `size` bytes, with at most 50 unanswered."""
    text = "x" * size
    for start in range(0, count, 50):
        numbers = range(start, min(start + 50, count))
        for number in numbers:
            await sender.send(
                type="notify", ref=number, user=user, event="n", data=[number, text], **options
            )
        for _ in numbers:
            assert (await sender.receive())["ok"]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "ephemeral"])
async def test_a_stalled_reader_costs_no_memory_and_is_closed_4002(
    gateway: Gateway, durable: bool
) -> None:
    sender = await worker(gateway)
    healthy = await client(gateway, "stalled")
    stalled = RawClient(gateway.client_port, "/?user_id=stalled", receive_buffer=SMALL)
    with stalled:
        count, size = scaled(2000, 400), 50_000
        options = {"durable": durable, "collapse_key": "k" if durable else None}
        await flood(sender, "stalled", 20, size, **options)
        before = gateway.rss()
        reading = asyncio.ensure_future(read_until(healthy, "last"))
        await flood(sender, "stalled", count, size, **options)
        assert gateway.rss() - before < 12 * 2**20, "20 to 100 MB were sent past the stalled reader"
        await sender.ask(type="notify", user="stalled", event="last")
        numbers = [m["data"][0] for m in await reading if m["data"]][20:]
        assert len(numbers) > count / 20, "the healthy reader was served meanwhile"
        assert numbers == sorted(set(numbers)), "in order, once"
        await asyncio.to_thread(
            wait_for, lambda: gateway.rows("close_code = 4002"), "the row to say 4002"
        )
        # Within the closing time-out it would still see why; it never reads, and is cut off.
        await asyncio.to_thread(wait_for, lambda: ended(stalled), "the connection to be cut")
    assert (await healthy.ask(type="sessions"))["ok"]


async def read_until(peer: Peer, event: str) -> list[dict[str, Any]]:
    """Messages up to the one with this event."""
    messages = [await peer.receive()]
    while messages[-1]["event"] != event:
        messages.append(await peer.receive())
    return messages


def ended(peer: RawClient) -> bool:
    """Whether the kernel knows that the connection is gone, without reading what is queued."""
    state = Path("/proc/net/tcp").read_text()
    port = f":{peer.socket.getsockname()[1]:04X} "
    return not any(
        line.split()[1].endswith(port.strip()) and line.split()[3] == "01"
        for line in state.splitlines()[1:]
    )


async def test_a_stalled_reader_that_wakes_sees_4002(tmp_path: Path) -> None:
    """Given time: what waits before the close frame trickles through a buffer of 4 KB."""
    patience = SHORT | {"CLOSE_TIMEOUT": "20"}
    with (
        running(tmp_path / "data", **patience) as gateway,
        RawClient(gateway.client_port, "/?user_id=waking", receive_buffer=SMALL) as peer,
    ):
        sender = await worker(gateway)
        await flood(sender, "waking", 40, 50_000)
        await asyncio.to_thread(wait_for, lambda: "slow" in str(peer_rows(gateway)), "4002 in time")
        code, reason = await asyncio.to_thread(peer.read_until_close)
        assert (code, reason) == (4002, "slow consumer: read faster, then recover")
        assert "Traceback" not in gateway.log()


def peer_rows(gateway: Gateway) -> list[str]:
    """How many slow consumers the metrics know of; the row follows when the socket is gone."""
    body = http_get(gateway.worker_port, "/metrics")[1].decode()
    value = next(x for x in body.splitlines() if x.startswith("gateway_slow_consumers_total"))
    return ["slow"] if float(value.split()[1]) else []


async def test_a_slow_reader_gets_everything_in_order(server: Gateway) -> None:
    """Behind its outbox it reads from the stream: nothing lost, nothing twice."""
    sender = await worker_of(server)
    with RawClient(server.client_port, path_of("slow"), receive_buffer=SMALL) as peer:
        assert json.loads(peer.read_frame()[1])["type"] == "welcome"
        count = 60

        def read_slowly() -> list[int]:
            offsets: list[int] = []
            while len(offsets) < count:
                frame = json.loads(peer.read_frame()[1])
                if frame["type"] == "message":
                    offsets.append(frame["offset"])
                    time.sleep(0.005)
            return offsets

        reading = asyncio.create_task(asyncio.to_thread(read_slowly))
        await flood(sender, "slow", count, 40_000)
        assert await reading == list(range(1, count + 1))


def path_of(user: str) -> str:
    return f"/ws/client/?user_id={user}"


async def worker_of(server: Gateway) -> Peer:
    """On uvicorn both surfaces share a port, and paths tell them apart."""
    return await worker_at(f"ws://127.0.0.1:{server.worker_port}/ws/worker/")


async def test_missed_ephemeral_messages_are_told(tmp_path: Path) -> None:
    with (
        running(tmp_path / "data", **UNHURRIED) as gateway,
        RawClient(gateway.client_port, "/?user_id=missed", receive_buffer=SMALL) as peer,
    ):
        sender = await worker(gateway)
        assert json.loads(peer.read_frame()[1])["type"] == "welcome"
        await flood(sender, "missed", 20, 50_000, durable=False)
        got: list[int] = []
        told = 0

        def read() -> None:
            nonlocal told
            while not told or sum((len(got), told)) < 21:
                frame = json.loads(peer.read_frame()[1])
                if frame["type"] == "message":
                    got.append(frame["data"][0])
                    told += frame.get("missed", 0)

        reading = asyncio.create_task(asyncio.to_thread(read))
        while not reading.done():
            await sender.ask(type="notify", user="missed", event="n", data=[999], durable=False)
            await asyncio.sleep(0.05)
        await reading
        lost = 20 - len([n for n in got if n != 999])
        assert told >= lost > 0
        assert "Traceback" not in gateway.log()


async def test_a_client_that_sends_without_reading_is_not_read_either(gateway: Gateway) -> None:
    healthy = await client(gateway, "healthy")
    with RawClient(gateway.client_port, "/?user_id=shouter", receive_buffer=SMALL) as peer:
        request = masked(json.dumps({"type": "sessions", "ref": "x" * 100}).encode())
        before = gateway.rss()
        peer.socket.settimeout(0.5)
        sent = 0
        try:
            for _ in range(scaled(200_000, 100_000)):
                peer.socket.sendall(request * 10)
                sent += 10
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 500_000, "reading was never paused"
        assert gateway.rss() - before < 16 * 2**20
        assert (await healthy.ask(type="sessions"))["ok"]
        await asyncio.to_thread(
            wait_for,
            lambda: gateway.rows("user = 'shouter' and close_code in (4002, 1013)"),
            "the row to say why",
        )


async def test_an_honest_burst_is_answered_whole(server: Gateway) -> None:
    count = scaled(50_000, 5_000)
    with RawClient(server.client_port, path_of("burst")) as peer:
        assert json.loads(peer.read_frame()[1])["type"] == "welcome"

        def send() -> None:
            for start in range(0, count, 100):
                peer.socket.sendall(
                    b"".join(
                        masked(json.dumps({"type": "sessions", "ref": number}).encode())
                        for number in range(start, start + 100)
                    )
                )

        sending = asyncio.create_task(asyncio.to_thread(send))
        answers = await asyncio.to_thread(
            lambda: [json.loads(peer.read_frame()[1])["ref"] for _ in range(count)]
        )
        await sending
        assert answers == list(range(count))


async def test_a_close_that_is_never_answered(gateway: Gateway) -> None:
    """Either way round: the peer ignores our CLOSE, or says CLOSE and does not read."""
    sender = await worker(gateway)
    first = await client(gateway, "ignores")
    with RawClient(
        gateway.client_port, f"/?user_id=ignores&client_id={first.welcome['client']}"
    ) as ignoring:
        await client(gateway, "ignores", client_id=first.welcome["client"])
        assert ignoring.read_until_close()[0] == 4503
        await asyncio.to_thread(wait_for, lambda: ended(ignoring), "our CLOSE to be given up")
    with RawClient(gateway.client_port, "/?user_id=stuck", receive_buffer=SMALL) as stuck:
        await flood(sender, "stuck", 10, 50_000)
        stuck.send_frame((1000).to_bytes(2, "big"), opcode=8)
        await asyncio.to_thread(wait_for, lambda: ended(stuck), "the stuck socket to be cut")
        await asyncio.to_thread(
            wait_for,
            lambda: gateway.rows("user = 'stuck' and disconnected_at is not null"),
            "its row to be closed",
        )


async def test_fanout_replies_and_pings_keep_their_order(tmp_path: Path) -> None:
    """6,000 frames through one outbox: 2 publishers, own requests, application pings between."""
    count = scaled(6_000, 2_000)
    with running(tmp_path / "data", **SHORT, HEARTBEAT="0.1", PONG_TIMEOUT="5") as gateway:
        sender = await worker(gateway)
        tab = await client(gateway, "order")
        offsets: list[int] = []
        refs: list[int] = []

        async def read() -> None:
            while len(offsets) < count or len(refs) < count:
                frame = await tab.receive()
                if frame["type"] == "message":
                    offsets.append(frame["offset"])
                else:
                    refs.append(frame["ref"])

        async def ask() -> None:
            for number in range(count):
                await tab.send(type="sessions", ref=number)
                if number % 50 == 0:
                    await asyncio.sleep(0)

        await asyncio.gather(read(), ask(), flood(sender, "order", count, 200))
        assert offsets == list(range(1, count + 1))
        assert refs == list(range(count))
        assert tab.pings > 0
        assert "Traceback" not in gateway.log()


async def test_order_on_uvicorn(tmp_path: Path) -> None:
    count = scaled(6_000, 2_000)
    with uvicorn(tmp_path / "data", **SHORT) as gateway:
        sender = await worker_of(gateway)
        tab = await client_at(f"ws://127.0.0.1:{gateway.client_port}/ws/client/?user_id=order")
        reading = asyncio.ensure_future(tab.receive_many(2 * count, 60))

        async def ask() -> None:
            for number in range(count):
                await tab.send(type="sessions", ref=number)

        await asyncio.gather(ask(), flood(sender, "order", count, 200))
        frames = await reading
        assert [f["offset"] for f in frames if "offset" in f] == list(range(1, count + 1))
        assert [f["ref"] for f in frames if "ref" in f] == list(range(count))


@pytest.mark.parametrize("when", ["idle", "after requests", "after a pong", "in the handshake"])
async def test_a_peer_that_resets_is_forgotten_at_once(gateway: Gateway, when: str) -> None:
    """On uvloop a reset socket is polled no more: without ResetSafeReactor it stays for ever."""
    count = scaled(1_000, 100)
    files = f"/proc/{gateway.pid}/fd"
    before = len(os.listdir(files))

    def reset_all() -> None:
        for _ in range(count):
            with RawClient(gateway.client_port, "/?user_id=reset") as peer:
                if when != "in the handshake":
                    peer.read_frame()
                if when == "after requests":
                    peer.socket.sendall(masked(b'{"type":"sessions","ref":1}') * 5)
                if when == "after a pong":  # which nobody answers: no write finds the reset
                    peer.socket.sendall(masked(b'{"type":"pong"}'))
                # SO_LINGER of 0: closing sends RST.
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    await asyncio.to_thread(reset_all)
    await asyncio.to_thread(
        wait_for,
        lambda: (
            not gateway.rows("disconnected_at is null")
            and len(gateway.rows()) == count
            and len(os.listdir(files)) <= before + 2
        ),
        "the reset sockets to be forgotten",
    )
    sender, tab = await worker(gateway), await client(gateway, "reset")
    await sender.ask(type="notify", user="reset", event="n")
    assert (await tab.receive())["event"] == "n", "their file numbers serve again"


def test_pings_of_a_peer_that_does_not_read_cost_no_memory(gateway: Gateway) -> None:
    """Control frames pass neither the inbound queue nor the outbox."""
    pings = masked(b"x" * 124, 9) * 1_000
    with RawClient(gateway.client_port, "/?user_id=pinger", receive_buffer=SMALL) as peer:
        before = gateway.rss()
        with suppress(ConnectionError):  # 4002 comes in the end
            for _ in range(300):  # 39 MB
                peer.socket.sendall(pings)
        assert gateway.rss() - before < 12 * 2**20


def test_a_ping_held_back_is_answered_when_there_is_room(gateway: Gateway) -> None:
    with RawClient(gateway.client_port, "/?user_id=pinger", receive_buffer=SMALL) as peer:
        count = 5_000
        peer.socket.sendall(masked(b"x" * 124, 9) * count + masked(b"last", 9))
        pongs = 0
        while (frame := peer.read_frame()) != (10, b"last"):
            pongs += frame[0] == 10
        assert pongs <= count


def test_empty_fragments_without_end_cost_no_memory(gateway: Gateway) -> None:
    # Pings of `gateway.v1` are answered in text, for which there is no place within a message.
    with RawClient(gateway.client_port, "/?user_id=fragments", offered="other") as peer:
        peer.read_frame()
        peer.socket.sendall(b"\x01\x80\0\0\0\0")  # begins a text message
        empty = b"\0\x80\0\0\0\0" * 10_000

        def send(times: int) -> int:
            """Memory once the server has read them all, which the pongs tell."""
            for _ in range(times):
                peer.socket.sendall(empty)
                peer.send_frame(b"read", 9)
                while (frame := peer.read_frame()) != (10, b"read"):
                    if frame[0] == 9:  # where all this takes long
                        peer.send_frame(frame[1], 10)
            return gateway.rss()

        before = send(20)
        assert send(100) - before < 4 * 2**20
