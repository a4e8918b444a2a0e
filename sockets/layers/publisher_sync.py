"""The way out of the Redis layer for threads: one round trip for each shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sockets.layers.wire import Wire
from sockets.redis import connect_sync_layer, translated


class SyncPublisher:
    """Publishes to the shards of the layer, for threads. A message is never sent twice.

    `hosts`: of the layer, in the order of its shards, as channels-redis writes them.
    """

    def __init__(self, wire: Wire, hosts: Sequence[dict[str, Any]]) -> None:
        self._wire = wire
        self._clients = [connect_sync_layer(host) for host in hosts]

    def publish(self, messages: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Publish messages, each to a group. Raises GatewayUnavailable."""
        pipes = [client.pipeline(transaction=False) for client in self._clients]
        for group, message in messages:
            channel = self._wire.group_channel(group)
            pipes[self._wire.shard(channel)].publish(channel, self._wire.encode(message))
        with translated(writes=True):
            for pipe in pipes:
                if len(pipe):
                    pipe.execute()
