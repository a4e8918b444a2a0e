"""Reading one socket: in slices, no faster than the application, and no floods."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.websocket.protocol import WebSocketProtocol as Autobahn

from sockets.base import metrics
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.server.inbound import MAX_AFTER_CLOSE, SLICE, Inbound, InboundQueue
from sockets.types import Surface
from tests.support.patience import PATIENCE

OPEN, CLOSING, CLOSED = Autobahn.STATE_OPEN, Autobahn.STATE_CLOSING, Autobahn.STATE_CLOSED


class Transport:
    """Notes whether it is read."""

    connected = True
    reading = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class Socket:
    """Notes what is parsed, and with what it is closed."""

    def __init__(self, **conf: Any) -> None:
        self.conf = Conf(**conf)
        self.state = OPEN
        self.transport: Any = Transport()
        self.parsed: list[bytes] = []
        self.closed: int | None = None
        self.watched = 0
        self.at: Surface = Surface.PUBLIC

    def parse(self, data: bytes) -> None:
        self.parsed.append(data)

    def surface(self) -> Surface:
        return self.at

    def paused(self) -> None:
        self.watched += 1

    def close_with(self, code: int, reason: str) -> None:
        self.closed = code


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_fits_a_slice_is_parsed_at_once() -> None:
    socket = Socket()
    Inbound(socket).receive(b"x" * SLICE)
    assert socket.parsed == [b"x" * SLICE] and socket.transport.reading


async def test_more_is_parsed_a_slice_a_turn_and_in_order() -> None:
    socket = Socket()
    inbound = Inbound(socket)
    inbound.receive(b"a" * SLICE + b"b" * SLICE + b"c")
    assert socket.parsed == [b"a" * SLICE] and not socket.transport.reading
    await turns(1)
    assert socket.parsed[1:] == [b"b" * SLICE] and not socket.transport.reading
    inbound.receive(b"d")  # the transport had it already
    await turns(2)
    assert b"".join(socket.parsed[2:]) == b"cd" and socket.transport.reading


async def test_a_pause_keeps_what_was_read() -> None:
    socket = Socket()
    inbound = Inbound(socket)
    paused = metrics.PAUSED._value.get()
    inbound.receive(b"a" * SLICE + b"b")
    inbound.pause()
    inbound.pause()
    assert metrics.PAUSED._value.get() == paused + 1
    await turns(3)
    assert socket.parsed == [b"a" * SLICE] and not socket.transport.reading
    inbound.resume()
    inbound.resume()
    assert metrics.PAUSED._value.get() == paused
    await turns(2)
    assert socket.parsed[1:] == [b"b"] and socket.transport.reading


async def test_it_knows_how_long_it_is_paused() -> None:
    inbound = Inbound(Socket())
    assert inbound.paused_for(1e9) == 0
    inbound.pause()
    now = asyncio.get_running_loop().time()  # monotonic too
    assert inbound.paused_for(now + 60) == pytest.approx(60, abs=5)
    inbound.resume()
    assert inbound.paused_for(now + 60) == 0


async def test_a_socket_that_is_gone_parses_nothing_more() -> None:
    socket = Socket()
    inbound = Inbound(socket)
    inbound.receive(b"a" * SLICE + b"b")
    inbound.pause()
    await turns(2)
    socket.transport.connected = False
    inbound.resume()
    await turns(2)
    assert socket.parsed == [b"a" * SLICE]


async def test_after_our_close_frame_only_so_much_is_read() -> None:
    socket = Socket()
    inbound = Inbound(socket)
    socket.state = CLOSING
    for _ in range(MAX_AFTER_CLOSE // SLICE):
        inbound.receive(b"x" * SLICE)
    assert len(socket.parsed) == MAX_AFTER_CLOSE // SLICE and socket.transport.reading
    inbound.receive(b"x")
    assert not socket.transport.reading
    inbound.go_on()
    assert not socket.transport.reading, "for good"


async def test_a_closed_socket_parses_nothing() -> None:
    socket = Socket()
    socket.state = CLOSED
    Inbound(socket).receive(b"x")
    assert socket.parsed == []


@pytest.mark.parametrize(
    ("surface", "conf"),
    [
        (Surface.PUBLIC, {"client_rate": 1.0, "client_burst": 2, "worker_rate": 0}),
        (Surface.PRIVATE, {"worker_rate": 1.0, "worker_burst": 2, "client_rate": 0}),
    ],
)
async def test_pings_have_the_rate_of_their_surface(surface: Surface, conf: Any) -> None:
    socket = Socket(**conf)
    socket.at = surface
    inbound = Inbound(socket)
    assert [inbound.is_flood() for _ in range(3)] == [False, False, True]
    assert socket.closed == CloseCode.RATE_LIMIT
    free = Socket(client_rate=0, worker_rate=0)
    assert not any(Inbound(free).is_flood() for _ in range(100)) and free.closed is None


async def test_the_queue_pauses_at_its_high_mark_and_resumes_at_its_low_one() -> None:
    paused: list[bool] = []
    inbound: Any = SimpleNamespace(
        pause=lambda: paused.append(True), resume=lambda: paused.append(False)
    )
    queue = InboundQueue(inbound, high=3, low=1)
    for number in range(3):
        queue.put_nowait({"number": number})
    assert paused == [True]
    assert (await queue.get())["number"] == 0
    assert paused == [True], "two are left"
    await queue.get()
    assert paused == [True, False]


def queue_of() -> InboundQueue:
    return InboundQueue(Inbound(Socket()), high=3, low=1)


async def test_whoever_waits_gets_what_comes() -> None:
    queue = queue_of()
    one, two = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.put_nowait({"type": "a"})
    queue.put_nowait({"type": "b"})
    assert [(await one)["type"], (await two)["type"]] == ["a", "b"]
    assert queue.qsize() == 0


@pytest.mark.parametrize("woken", [True, False])
async def test_a_wait_that_is_cancelled_takes_nothing(woken: bool) -> None:
    """The first of two, when it has been told of an item and before."""
    queue = queue_of()
    one, two = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    if woken:
        queue.put_nowait({"type": "a"})
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    if not woken:
        queue.put_nowait({"type": "a"})
    assert (await asyncio.wait_for(two, PATIENCE))["type"] == "a"
    assert one.cancelled()
