"""What a connection is when it becomes a WebSocket."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.websocket.protocol import WebSocketServerProtocol
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.testing import StringTransport

from sockets.conf import Conf
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
