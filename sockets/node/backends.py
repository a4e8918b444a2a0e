"""The state store that the settings choose."""

from __future__ import annotations

from collections.abc import Callable

from sockets.cluster.registry_memory import MemoryNodes
from sockets.conf import Conf
from sockets.layers.base import Layer
from sockets.layers.chosen import choose
from sockets.ledger.memory import MemoryLedger
from sockets.node.state import Backends, SyncBackends, session_limit, task_options
from sockets.presence.memory import MemoryPresence
from sockets.streams.memory import MemoryStreams
from sockets.tasks.memory import MemoryTaskRecords


def backends(conf: Conf) -> Backends:
    """Return the state store of the mode that the settings choose. Raises WrongLayer."""
    if conf.redis_url:
        # Late: memory mode needs none of it.
        from sockets.node.in_redis import redis_backends

        return redis_backends(conf)
    return memory_backends(conf, choose(conf).make())


def memory_backends(conf: Conf, layer: Layer, clock: Callable[[], float] | None = None) -> Backends:
    """The state in this process. `clock`: the time of all of it; None: this machine's."""
    times = {} if clock is None else {"clock": clock}
    task_times = {} if clock is None else {"clock": clock, "wall": clock}
    return Backends(
        layer=layer,
        streams=MemoryStreams(
            size=conf.history_size,
            ttl=conf.history_ttl,
            record_ttl=conf.record_ttl,
            idempotency_ttl=conf.idempotency_ttl,
            max_users=conf.memory_max_users,
            **times,
        ),
        presence=MemoryPresence(
            lease=conf.lease_ttl,
            grace=conf.presence_grace,
            limit=session_limit(conf),
            max_users=conf.memory_max_users,
            **times,
        ),
        nodes=MemoryNodes(**times),
        tasks=MemoryTaskRecords(**task_options(conf) | task_times),
        ledger=MemoryLedger(max_users=conf.memory_max_users, **times),
    )


def sync_backends(conf: Conf) -> SyncBackends:
    """Return the state store for threads; only Redis mode has one."""
    from sockets.node.in_redis import redis_sync_backends

    return redis_sync_backends(conf)
