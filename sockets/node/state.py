"""What the gateway's state is made of, whichever store keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sockets.cluster.registry import Nodes
from sockets.conf import Conf
from sockets.delivery.notifier_sync import SyncNotifier
from sockets.layers.base import Layer
from sockets.ledger.base import Ledger
from sockets.presence.base import Limit, Presence, SyncPresence
from sockets.streams.base import Streams, SyncStreams
from sockets.tasks.base import TaskRecords
from sockets.types import Promises, Shards


async def _nothing() -> None:
    """There is nothing to close."""


def _never(listener: Callable[[], None]) -> None:
    """No call fails here."""


async def _one_shard() -> Shards:
    """This process is the store."""
    return Shards()


async def _no_promises() -> Promises:
    """Nobody can set it up wrongly."""
    return Promises()


@dataclass(frozen=True, slots=True)
class Backends:
    """The state of the gateway, for one event loop.

    `shards`: tries whether the store does its work. `promises`: looks at whether it is set up for
    what the gateway promises. Both raise GatewayUnavailable. `close`: to be called at the end, on
    the same loop. `listen_to_failures`: has a bound method called when a call has failed.
    """

    layer: Layer
    streams: Streams
    presence: Presence
    nodes: Nodes
    tasks: TaskRecords
    ledger: Ledger
    shards: Callable[[], Awaitable[Shards]] = _one_shard
    promises: Callable[[], Awaitable[Promises]] = _no_promises
    listen_to_failures: Callable[[Callable[[], None]], None] = _never
    close: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True)
class SyncBackends:
    """The state of the gateway for threads of any process; only Redis mode has it."""

    notifier: SyncNotifier
    streams: SyncStreams
    presence: SyncPresence


def session_limit(conf: Conf) -> Limit:
    """How many sessions a user may have. A node that lives renews every LEASE_RENEW."""
    fresh = conf.lease_ttl - 1.5 * conf.lease_renew
    return Limit(conf.sessions_per_user, conf.oldest_goes, fresh)


def task_options(conf: Conf) -> dict[str, Any]:
    """What both backends of task records take."""
    return {
        "offer_ttl": 2 * conf.task_accept_timeout,
        "grace": conf.task_grace,
        "keep": conf.task_keep,
        "history": conf.task_history,
    }
