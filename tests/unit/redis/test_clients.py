"""Clients for threads of the channel layer's hosts, in every form that channels-redis takes; and
what is timed on a Cluster."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import SSLConnection
from redis.exceptions import ConnectionError
from redis.sentinel import SentinelConnectionPool

from sockets.base import metrics
from sockets.redis import connect_sync, connect_sync_layer
from sockets.redis.clients import _Node
from sockets.redis.links import (
    SyncLinkedConnection,
    SyncLinkedSSLConnection,
    SyncLinkedUnixConnection,
)
from sockets.redis.sentinel import SyncLinkedSentinelConnection
from tests.support.observed import Observed

AT_H = {"host": "h", "port": 7}


@pytest.mark.parametrize(
    ("host", "made", "options"),
    [
        (
            {"address": "redis://u:p@h:7/2"},
            SyncLinkedConnection,
            {**AT_H, "db": 2, "password": "p"},
        ),
        (
            {"address": "redis://h:7", "password": "p"},
            SyncLinkedConnection,
            {**AT_H, "password": "p"},
        ),
        ({"address": "rediss://h:7"}, SyncLinkedSSLConnection, AT_H),
        ({"address": "unix:///r.sock"}, SyncLinkedUnixConnection, {"path": "/r.sock"}),
        ({**AT_H, "username": "u"}, SyncLinkedConnection, {**AT_H, "username": "u"}),
        ({**AT_H, "connection_class": SSLConnection}, SyncLinkedSSLConnection, AT_H),
    ],
    ids=str,
)
def test_hosts_of_a_layer(host: dict[str, Any], made: type, options: dict[str, Any]) -> None:
    """Rule 12: a layer's own hosts are used in threads too."""
    given = dict(host)
    pool = connect_sync_layer(host).connection_pool
    assert host == given and pool.connection_class is made
    assert options.items() <= pool.connection_kwargs.items()
    assert pool.connection_kwargs["retry"]._retries == 0, "a message is published once"


@pytest.mark.parametrize(
    "host",
    [
        {"address": "redis+sentinel://u:p@a:1,b/2?service=m"},
        {
            **{"master_name": "m", "sentinels": [("a", 1), ("b", 26379)]},
            **{"username": "u", "password": "p", "db": 2},
        },
    ],
    ids=str,
)
def test_sentinels_of_a_layer(host: dict[str, Any]) -> None:
    pool = connect_sync_layer(host).connection_pool
    assert isinstance(pool, SentinelConnectionPool) and pool.service_name == "m"
    assert pool.connection_class is SyncLinkedSentinelConnection
    assert pool.connection_kwargs.items() >= {"username": "u", "password": "p", "db": 2}.items()
    places = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"]) for one in places] == [("a", 1), ("b", 26379)]


@pytest.mark.parametrize(
    "url", ["redis://u:p@h:7/2", "rediss://h", "unix:///r.sock?db=3", "redis+sentinel://a,b/1"]
)
def test_a_url_is_the_same_server_as_that_of_the_streams(url: str) -> None:
    ours, theirs = (
        client.connection_pool
        for client in (connect_sync_layer({"address": url}), connect_sync(url, retries=0))
    )
    assert type(ours) is type(theirs) and ours.connection_class is theirs.connection_class
    assert ours.connection_kwargs.keys() == theirs.connection_kwargs.keys()
    same = [name for name in ours.connection_kwargs if name not in ("retry", "connection_pool")]
    assert all(ours.connection_kwargs[name] == theirs.connection_kwargs[name] for name in same)


def test_a_class_that_threads_do_not_have() -> None:
    class Own:
        pass

    with pytest.raises(ValueError, match="Own"):
        connect_sync_layer({**AT_H, "connection_class": Own})


class Shard:
    """A connection to a shard that is there, or not."""

    def __init__(self, *, is_there: bool) -> None:
        self._is_there = is_there

    def should_reconnect(self) -> bool:
        return False

    def pack_command(self, *words: str) -> list[bytes]:
        return [word.encode() for word in words]

    async def send_packed_command(self, _: list[bytes], check_health: bool = True) -> None:
        if not self._is_there:
            raise ConnectionError("nobody is there")

    async def read_response(self, **_: Any) -> bytes:
        return b"done"


async def test_on_a_cluster_scripts_are_timed_that_were_written_and_nothing_else() -> None:
    timed, node = Observed(metrics.redis_call), _Node("127.0.0.1", 1)
    node._free.append(Shard(is_there=True))  # type: ignore[arg-type]
    assert await node.execute_command("EVALSHA", "id") == b"done" and timed.count == 1
    assert await node.execute_command("GET", "key") == b"done" and timed.count == 1
    node._free.clear()
    node._free.append(Shard(is_there=False))  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        await node.execute_command("EVALSHA", "id")
    assert timed.count == 1, "nothing was asked"
