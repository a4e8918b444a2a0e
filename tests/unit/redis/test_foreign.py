"""What we know of redis-py's inside: a version that has it otherwise is found here."""

from __future__ import annotations

import inspect

import pytest
from redis.asyncio.connection import AbstractConnection, Connection
from redis.connection import AbstractConnection as SyncAbstractConnection
from redis.connection import Connection as SyncConnection


@pytest.mark.parametrize("kind", [Connection, SyncConnection])
def test_connecting_goes_by_a_method_that_can_be_extended(kind: type) -> None:
    above = kind.__mro__[1]
    assert "_connect(" in inspect.getsource(above) and "_connect" in vars(kind)


def test_a_connection_has_its_streams_and_its_parser_as_attributes() -> None:
    source = inspect.getsource(AbstractConnection) + inspect.getsource(Connection)
    assert "self._writer = " in source and "self._reader = " in source
    assert "self._parser.on_connect(self)" in source
    connection = Connection()
    assert connection._writer is None
    assert isinstance(connection._parser.parse_error("WRONGTYPE of a key"), Exception)


def test_commands_go_through_the_methods_that_are_replaced() -> None:
    asynchronous = inspect.getsource(AbstractConnection.send_packed_command)
    assert "self._send_packed_command(" in asynchronous
    assert "self.pack_command(" in inspect.getsource(AbstractConnection.send_command)
    assert "on_connect_check_health" in inspect.getsource(AbstractConnection)
    assert "self._sock" in inspect.getsource(SyncAbstractConnection.send_packed_command)
