"""What a connection is when it becomes a WebSocket."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import daphne.ws_protocol
import pytest
from autobahn.websocket.protocol import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.testing import StringTransport

from sockets.conf import Conf
from sockets.server import websocket
from sockets.server.upgrade import Upgrade
from sockets.server.websocket import GatewayWebSocket, bind


class Tcp(StringTransport):
    """A transport that notes what is set."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 1234))
        self.set: list[bool] = []

    def setTcpNoDelay(self, on: bool) -> None:
        self.set.append(on)


def connected(transport: Any, **conf: Any) -> GatewayWebSocket:
    factory = WebSocketFactory(None, server="")
    bind(factory, Conf(**conf))
    protocol: Any = factory.buildProtocol(None)
    protocol.makeConnection(transport)
    assert isinstance(protocol, GatewayWebSocket)
    return protocol


def test_a_small_frame_does_not_wait_for_the_answer_to_the_one_before() -> None:
    transport = Tcp()
    assert connected(transport).peer == "tcp4:192.0.2.1:1234" and transport.set == [True]


def test_a_unix_socket_has_no_such_option() -> None:
    transport = StringTransport(peerAddress=UNIXAddress("/run/gateway.sock"))
    assert str(connected(transport).peer).startswith("unix:")


@pytest.mark.parametrize("name", WebSocketServerProtocol.CONFIG_ATTRS)
def test_settings_are_in_no_connection(name: str) -> None:
    protocol: Any = connected(Tcp(), max_frame_size=12_345)
    assert name not in vars(protocol) and hasattr(protocol, name)
    assert protocol.maxFramePayloadSize == 12_345
    assert protocol.CONFIG_ATTRS == [], "none is looked at"


class Clocks:
    """Stands in for the module `time`: the wall clock is set back while the other goes on."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.steady = 100.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def go_on(self, seconds: float, set_by: float = 0.0) -> None:
        self.steady += seconds
        self.wall += seconds + set_by


def begun(monkeypatch: pytest.MonkeyPatch, clocks: Clocks, *, by_daphne: bool) -> Any:
    """A socket in its handshake. `seen`: what its queue saw of `last_ping` with each event."""
    for module in (websocket, daphne.ws_protocol):
        monkeypatch.setattr(module, "time", clocks)
    protocol: Any = connected(Tcp())
    protocol.seen, protocol.pings = list[float](), list[float]()
    protocol.server = SimpleNamespace(
        ping_interval=30.0,
        websocket_timeout=-1,
        websocket_connect_timeout=5,
        root_path="",
        proxy_forwarded_address_header=None,
        protocol_connected=lambda _: None,
        log_action=lambda *_: None,
        # A queue that is full pauses the socket, and looks at what is due for it.
        create_application=lambda *_: SimpleNamespace(
            put_nowait=lambda _: protocol.seen.append(protocol.last_ping)
        ),
    )
    protocol.factory.server_class = protocol.server
    protocol._raw_query_string, protocol.sendData = b"", list
    protocol._sendAutoPing = lambda: protocol.pings.append(clocks.steady)
    if by_daphne:
        protocol.onConnect(ConnectionRequest("p", {}, "h", "/", {}, 13, None, [], []))
    else:
        protocol.begin(Upgrade("/", b"", [], [], "key"))
    return protocol


BOTH_CLOCKS = pytest.mark.parametrize(
    ("set_by", "by_daphne"), [(-3600.0, True), (-3600.0, False), (3600.0, True), (3600.0, False)]
)


@BOTH_CLOCKS
def test_pings_go_by_a_clock_that_nobody_sets(
    monkeypatch: pytest.MonkeyPatch, set_by: float, by_daphne: bool
) -> None:
    clocks = Clocks()
    protocol = begun(monkeypatch, clocks, by_daphne=by_daphne)
    protocol.state = protocol.STATE_OPEN
    clocks.go_on(20, set_by)
    protocol.check_timeouts()
    assert protocol.pings == [] and protocol.due(clocks.steady) == 130, "since the handshake"
    protocol.onMessage(b"text", False)
    assert protocol.due(clocks.steady) == 150 and protocol.seen[-1] == 120
    clocks.go_on(29)
    protocol.check_timeouts()
    assert protocol.pings == [], "it has just sent something"
    clocks.go_on(2)
    protocol.check_timeouts()
    assert protocol.pings == [151] and protocol.due(clocks.steady) == 181
    clocks.go_on(31)
    protocol.pinged_by_us = True
    protocol.check_timeouts()
    assert protocol.pings == [151] and protocol.due(clocks.steady) == inf, "in JSON, by its session"


@BOTH_CLOCKS
def test_a_handshake_has_its_time_by_a_clock_that_nobody_sets(
    monkeypatch: pytest.MonkeyPatch, set_by: float, by_daphne: bool
) -> None:
    clocks, rejected = Clocks(), list[float]()
    protocol = begun(monkeypatch, clocks, by_daphne=by_daphne)
    protocol.serverReject = lambda: rejected.append(clocks.steady)
    protocol.state = protocol.STATE_CONNECTING
    clocks.go_on(4, set_by)
    protocol.check_timeouts()
    assert rejected == [] and protocol.duration() == 4
    clocks.go_on(2)
    protocol.check_timeouts()
    assert rejected == [106] and protocol.pings == []
