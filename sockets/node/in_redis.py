"""Redis mode: the backends, and what is asked of the server they live on."""

from __future__ import annotations

from functools import partial

from sockets.cluster.registry_redis import NodeCalls, RedisNodes, warm_sync
from sockets.conf import Conf
from sockets.delivery.notifier_sync import SyncNotifier
from sockets.layers.chosen import choose
from sockets.layers.publisher_sync import SyncPublisher
from sockets.layers.redis import RedisChannelLayer
from sockets.ledger.redis import RedisLedger
from sockets.node.state import Backends, SyncBackends, session_limit, task_options
from sockets.presence.redis import RedisPresence, SyncRedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import Keys, connect, connect_sync, is_same_login
from sockets.redis import close as close_client
from sockets.redis.errors import listen_to_failures
from sockets.redis.probe import RedisProbe
from sockets.streams.redis import RedisStreams, StreamCalls, SyncRedisStreams
from sockets.tasks.redis import RedisTaskRecords


def redis_backends(conf: Conf) -> Backends:
    """For one event loop. Nothing is sent yet. Raises WrongLayer."""
    chosen = choose(conf)
    layer = chosen.make()
    client = connect(conf.redis_url)
    keys = Keys(conf.namespace)
    nodes = RedisNodes(client, _node_calls(conf))
    # Where the layer has servers of its own, its canary tries them.
    channel = f"{layer.wire.prefix}__probe__" if _together(conf, layer) else ""
    probe = RedisProbe(client, keys, channel=channel, durable=conf.redis_durable)

    async def close() -> None:
        if chosen.alias is None:  # else it is the project's, whose own consumers go on with it
            await layer.close()
        await close_client(client)

    return Backends(
        layer=layer,
        streams=RedisStreams(client, _stream_calls(conf, layer)),
        presence=RedisPresence(client, _presence_calls(conf), warm=nodes.warm),
        nodes=nodes,
        tasks=RedisTaskRecords(client, keys, seat_ttl=conf.lease_ttl, **task_options(conf)),
        ledger=RedisLedger(client, keys),
        shards=probe.shards,
        promises=probe.promises,
        listen_to_failures=listen_to_failures,
        close=close,
    )


def redis_sync_backends(conf: Conf) -> SyncBackends:
    """For threads; a forked process has connections of its own. Nothing is sent yet."""
    layer = choose(conf).make()
    client = connect_sync(conf.redis_url)
    presence = SyncRedisPresence(
        client, _presence_calls(conf), warm=partial(warm_sync, client, _node_calls(conf))
    )
    streams = SyncRedisStreams(client, _stream_calls(conf, layer))
    publisher = SyncPublisher(layer.wire, layer.hosts)
    notifier = SyncNotifier(conf=conf, streams=streams, publisher=publisher, presence=presence)
    return SyncBackends(notifier, streams, presence)


def _presence_calls(conf: Conf) -> PresenceCalls:
    return PresenceCalls(
        Keys(conf.namespace),
        lease=conf.lease_ttl,
        grace=conf.presence_grace,
        limit=session_limit(conf),
    )


def _node_calls(conf: Conf) -> NodeCalls:
    # Time for every node to come back and renew, and for its clients to come back to it.
    warmup = conf.lease_ttl + conf.presence_grace
    return NodeCalls(Keys(conf.namespace), lease=conf.lease_ttl, warmup=warmup)


def _stream_calls(conf: Conf, layer: RedisChannelLayer) -> StreamCalls:
    return StreamCalls(
        Keys(conf.namespace),
        size=conf.history_size,
        ttl=conf.history_ttl,
        record_ttl=conf.record_ttl,
        idempotency_ttl=conf.idempotency_ttl,
        durable=conf.redis_durable,
        wire=layer.wire if _together(conf, layer) else None,
    )


def _together(conf: Conf, layer: RedisChannelLayer) -> bool:
    """Whether one script appends and publishes: the layer has the same server, and login there.

    Else the layer message follows the append.
    """
    if not layer.wire.scriptable or len(layer.hosts) > 1:
        return False
    return is_same_login(layer.hosts[0], conf.redis_url)
