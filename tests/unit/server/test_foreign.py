"""What the server knows of autobahn's inside: a version that has it otherwise is found here."""

from __future__ import annotations

import inspect
import re

import daphne.ws_protocol
from autobahn.twisted import websocket
from autobahn.twisted.websocket import WebSocketAdapterProtocol
from autobahn.websocket import protocol
from autobahn.websocket.protocol import WebSocketProtocol, WebSocketServerProtocol
from twisted.internet.asyncioreactor import AsyncioSelectorReactor


def test_what_is_logged_is_formatted_by_names_of_the_modules() -> None:
    """`sockets/server/websocket.py` puts something lazy in their place."""
    assert "pformat(configAttrLog)" in inspect.getsource(WebSocketProtocol._connectionMade)
    assert "hltype(self._connectionMade)" in inspect.getsource(WebSocketServerProtocol)
    for name in ("hltype(self.connectionLost)", "hlval(self.peer)"):
        assert name in inspect.getsource(WebSocketAdapterProtocol.connectionLost)
    for module, names in ((protocol, ("pformat", "hltype", "hlval")), (websocket, ("hltype",))):
        assert all(callable(vars(module)[name]) for name in names)


def test_events_are_called_by_a_name_of_the_module() -> None:
    """`sockets/server/reactor.py` puts something shorter in its place: what is called catches and
    logs what sockets raise."""
    for method in (AsyncioSelectorReactor.addReader, AsyncioSelectorReactor.addWriter):
        assert "callWithLogger," in inspect.getsource(method)
    called = inspect.getsource(AsyncioSelectorReactor._readOrWrite)
    assert "self._log.failure(" in called and "self._disconnectSelectable(selectable, why" in called


def test_where_the_parser_keeps_what_is_not_whole() -> None:
    """A pong is known by its bytes only where nothing else is on its way."""
    source = inspect.getsource(WebSocketProtocol)
    for name in ('self.data = b""', "self.current_frame = None", "self.inside_message = False"):
        assert name in source, name


def test_what_is_known_of_a_transport_is_for_tls_and_for_those_who_ask() -> None:
    """`connectionMade` leaves the description out, and nobody listens to events."""
    made = inspect.getsource(WebSocketAdapterProtocol.connectionMade)
    done = re.findall(r"^ +self\.([\w.]+)(?: = |\()", made, re.MULTILINE)
    assert done == [
        "_transport_details",
        "_transport_details.channel_framing",
        "peer",
        "transport.setTcpNoDelay",
        "_connectionMade",
        "log.debug",
    ]
    opened = inspect.getsource(WebSocketAdapterProtocol._onOpen)
    assert "if self._transport_details.is_secure:" in opened, "or else not at all"
    adapter = inspect.getsource(WebSocketAdapterProtocol).replace(made, "").replace(opened, "")
    assert "_transport_details" not in re.sub(r'""".*?"""', "", adapter, flags=re.DOTALL)
    base = inspect.getsource(WebSocketProtocol) + inspect.getsource(WebSocketServerProtocol)
    assert base.count("_transport_details") == 2, "made, and returned by a property"
    assert "transport_details" not in inspect.getsource(daphne.ws_protocol)
    assert re.findall(r"= self\.(fire|on)\(", base) == ["fire"]


def test_what_a_handshake_leaves_behind() -> None:
    """`begin` sets what autobahn still looks at when it has read one by itself."""
    read = inspect.getsource(WebSocketServerProtocol.processHandshake)
    rest = inspect.getsource(WebSocketServerProtocol).replace(read, "")
    rest += inspect.getsource(WebSocketProtocol) + inspect.getsource(WebSocketAdapterProtocol)
    left = set(re.findall(r"self\.(\w+) = ", read))
    assert {name for name in left if re.search(rf"self\.{name}\b", rest)} == {
        "data",
        "peer",
        "wasServingFlashSocketPolicyFile",  # which is no handshake
        "websocket_extensions",
        "websocket_protocols",
        "websocket_version",
        "_wskey",
    }
