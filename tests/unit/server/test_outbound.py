"""Writing to one socket: order, a bound, and who waits until there is space again."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from copy import copy, deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.websocket.protocol import WebSocketProtocol as Autobahn
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from sockets.base import metrics
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.protocol.outbox import Write
from sockets.server.outbound import Outbound
from sockets.server.websocket import GatewayWebSocket
from tests.support.patience import PATIENCE


class Kernel:
    """Takes so many bytes of a write; raises what it is told to."""

    def __init__(self) -> None:
        self.takes = 10**9
        self.fails: OSError | None = None
        self.got = b""

    def send(self, data: bytes) -> int:
        if self.fails is not None:
            raise self.fails
        self.got += data[: self.takes]
        return min(self.takes, len(data))


class Transport:
    """Twisted's buffers, as far as they are looked at."""

    def __init__(self) -> None:
        self.socket = Kernel()
        self.dataBuffer = b""
        self.offset = 0
        self._tempDataBuffer: list[bytes] = []
        self._tempDataLen = 0
        self.disconnecting = False
        self.connected = True

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)

    def end(self) -> None:
        self.connected = False

    abortConnection = loseConnection = loseWriteConnection = unregisterProducer = end


class Socket:
    """Notes with what it is closed."""

    def __init__(self, **conf: Any) -> None:
        self.conf = Conf(**conf)
        self.state = Autobahn.STATE_OPEN
        self.transport = Transport()
        self.send_queue: list[Any] = []
        self.closed: int | None = None
        self.aborted = False

    def close_with(self, code: int, reason: str) -> None:
        self.closed = code
        self.state = Autobahn.STATE_CLOSING

    def abort(self) -> None:
        self.aborted = True


def frame(wire: bytes) -> Any:
    return SimpleNamespace(wire=wire)


async def test_a_frame_goes_to_the_kernel_at_once() -> None:
    socket = Socket()
    outbound = Outbound(socket)
    assert outbound.outbox.write(frame(b"one")) is Write.OK
    assert socket.transport.socket.got == b"one"
    assert (outbound.written, outbound.buffered, outbound.outbox.flow()) == (3, 0, (0, 3))


async def test_what_the_kernel_does_not_take_waits_and_order_holds() -> None:
    socket = Socket()
    outbound, transport = Outbound(socket), socket.transport
    transport.socket.takes = 1
    outbound.write_frame(b"one")
    transport.socket.takes = 10**9
    outbound.write_frame(b"two")
    assert (transport.socket.got, transport._tempDataBuffer) == (b"o", [b"ne", b"two"])
    assert outbound.outbox.flow() == (5, 1)


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError(), ConnectionResetError()])
async def test_an_error_is_left_to_the_transport(error: OSError) -> None:
    socket = Socket()
    socket.transport.socket.fails = error
    Outbound(socket).write_frame(b"one")
    assert socket.transport._tempDataBuffer == [b"one"]


async def test_a_message_in_fragments_is_not_cut_in_two() -> None:
    socket = Socket()
    socket.send_queue = [(b"the rest", False)]
    Outbound(socket).write_frame(b"one")
    assert socket.send_queue == [(b"the rest", False), (b"one", False)]
    assert socket.transport.socket.got == b""


async def test_a_full_outbox_refuses_and_tells_when_it_has_space() -> None:
    outbound = Outbound(Socket())
    told: list[bool] = []
    outbound.outbox.on_drain = lambda: told.append(True)
    outbound.pause()
    outbound.resume()
    assert told == [], "nothing was refused"
    outbound.pause()
    assert outbound.outbox.write(frame(b"one")) is Write.FULL
    outbound.resume()
    assert told == [True]
    assert outbound.outbox.write(frame(b"one")) is Write.OK


async def test_a_socket_that_closes_takes_no_frame() -> None:
    socket = Socket()
    outbox = Outbound(socket).outbox
    outbox.close(4001, "why")
    assert socket.closed == 4001
    assert outbox.write(frame(b"one")) is Write.CLOSED
    outbox.abort()
    assert socket.aborted


async def test_the_newest_ping_is_answered_once() -> None:
    outbound = Outbound(Socket())
    outbound.pause()
    outbound.unanswered = b"ping"
    assert (outbound.resume(), outbound.resume()) == (b"ping", None)


async def test_a_drain_waits_for_space() -> None:
    outbound = Outbound(Socket())
    await asyncio.wait_for(outbound.drain(), PATIENCE)
    outbound.pause()
    waiting = asyncio.ensure_future(outbound.drain())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbound.resume()
    await asyncio.wait_for(waiting, PATIENCE)


async def test_who_drains_nothing_is_closed() -> None:
    socket = Socket(slow_timeout=0.01)
    outbound = Outbound(socket)
    before = metrics.SLOW_CONSUMERS._value.get()
    outbound.pause()
    await asyncio.wait_for(outbound.drain(), PATIENCE)
    assert socket.closed == CloseCode.SLOW_CONSUMER
    assert metrics.SLOW_CONSUMERS._value.get() == before + 1


async def test_what_goes_direct_stops_where_the_kernel_takes_no_more() -> None:
    socket = Socket()
    outbound, transport = Outbound(socket), socket.transport
    stalls: list[tuple[int, int]] = []
    outbound.outbox.on_stall = lambda: stalls.append(outbound.outbox.flow())
    write = outbound.outbox.write
    write(frame(b"one"))
    assert outbound.outbox.direct is not None
    transport.socket.takes = 1
    assert write(frame(b"two")) is Write.OK
    transport.socket.takes = 10**9
    assert write(frame(b"three")) is Write.OK
    assert (transport.socket.got, transport._tempDataBuffer) == (b"onet", [b"wo", b"three"])
    assert (stalls, outbound.outbox.flow()) == ([(2, 4)], (7, 4))
    transport._tempDataBuffer, transport._tempDataLen = [], 0
    assert write(frame(b"four")) is Write.OK
    assert outbound.outbox.direct is not None and transport.socket.got == b"onetfour"
    assert write(frame(b"five")) is Write.OK
    assert outbound.outbox.flow() == (0, len("onetwothreefourfive"))


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError(), ConnectionResetError()])
async def test_an_error_of_what_goes_direct_is_left_to_the_transport(error: OSError) -> None:
    socket = Socket()
    outbound = Outbound(socket)
    outbound.outbox.write(frame(b"one"))
    socket.transport.socket.fails = error
    assert outbound.outbox.write(frame(b"two")) is Write.OK
    assert (socket.transport._tempDataBuffer, outbound.outbox.direct) == ([b"two"], None)


async def test_frames_follow_what_went_another_way() -> None:
    socket = Socket()
    outbound = Outbound(socket)
    outbound.outbox.write(frame(b"one"))
    outbound.write(b"pong")
    outbound.outbox.write(frame(b"two"))
    assert socket.transport.socket.got == b"one"
    assert socket.transport._tempDataBuffer == [b"pong", b"two"]


class Nobody:
    """In the place of a server, a queue and a request."""

    root_path = path = ""
    connections = ()

    def nothing(self, *_: object) -> None: ...

    watch = protocol_disconnected = log_action = put_nowait = nothing


def real_socket() -> Any:
    """Return an open socket of the server on a transport that is none, after one frame."""
    nobody: Any = Nobody()
    factory = WebSocketFactory(nobody, server="")
    factory.protocol = GatewayWebSocket
    socket: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    for name in GatewayWebSocket.CONFIG_ATTRS:
        setattr(socket, name, getattr(factory, name))
    socket.conf, socket.server, socket.application_queue = Conf(), nobody, nobody
    socket.client_addr, socket.path, socket.websocket_version = None, b"/", 13
    socket.request, socket.failByDrop = nobody, False
    socket.transport = Transport()
    socket._connectionMade()
    socket.state = Autobahn.STATE_OPEN
    assert socket.outbox.write(frame(b"one")) is Write.OK
    assert socket.outbox.direct is not None
    return socket


ENDS: dict[str, Callable[[Any], Any]] = {
    "close": lambda socket: socket.outbox.close(4001, "why"),
    "violation": lambda socket: socket._fail_connection(1002, "what came"),
    "peer's close": lambda socket: socket.onCloseFrame(1000, b""),
    "drop": lambda socket: socket.dropConnection(abort=True),
    "lost": lambda socket: socket.connectionLost(Failure(ConnectionLost())),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_socket_that_ends_in_any_way_takes_no_frame(end: str) -> None:
    socket = real_socket()
    ENDS[end](socket)
    assert socket.outbox.write(frame(b"two")) is Write.CLOSED
    assert b"two" not in socket.transport.socket.got


async def test_what_autobahn_sends_itself_is_not_overtaken() -> None:
    socket = real_socket()
    socket.sendData(b"a part", sync=True)
    assert socket.outbox.direct is None
    assert socket.outbox.write(frame(b"two")) is Write.OK
    assert b"two" not in socket.transport.socket.got


async def test_the_answer_to_a_handshake_lets_no_frame_go_before_the_socket_is_open() -> None:
    socket = Socket()
    socket.state = Autobahn.STATE_CONNECTING
    outbound = Outbound(socket)
    outbound.write_frame(b"HTTP/1.1 101")
    assert outbound.outbox.direct is None
    assert outbound.outbox.write(frame(b"one")) is Write.CLOSED


async def test_what_is_left_of_a_socket_that_is_gone_can_still_be_asked() -> None:
    socket = real_socket()
    outbox = socket.outbox
    socket.let_go()
    assert outbox.write(frame(b"two")) is Write.CLOSED
    assert outbox.flow() == (0, 3)
    outbox.close(4001, "why")
    outbox.abort()
    await asyncio.wait_for(socket.drain(), PATIENCE)
    socket.let_go()


@pytest.mark.parametrize("unread", [b"", b"an answer before"])
async def test_a_refusal_that_is_not_read_does_not_hold_the_connection(unread: bytes) -> None:
    socket = real_socket()
    socket.conf = Conf(close_timeout=0.01)
    socket.state = Autobahn.STATE_CONNECTING
    if unread:
        socket.transport.write(unread)
    # It waits until all is written.
    socket.transport.loseConnection = socket.transport.unregisterProducer = lambda: None
    socket.failHandshake("why", 403)
    await asyncio.sleep(0.05)
    assert socket.transport.connected is (not unread)


async def test_a_copy_writes_to_the_same_socket() -> None:
    outbox = Outbound(Socket()).outbox
    assert copy(outbox) is outbox and deepcopy({"at": outbox})["at"] is outbox
    assert pickle.loads(pickle.dumps(outbox)) is None
