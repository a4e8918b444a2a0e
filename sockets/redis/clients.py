"""Clients of Redis, for one event loop or for threads, and what makes connections of the layer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from channels_redis.utils import create_pool
from redis import Redis as SyncRedis
from redis import RedisCluster as SyncRedisCluster
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cluster import ClusterNode as SyncClusterNode
from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError
from redis.retry import Retry as SyncRetry
from redis.sentinel import Sentinel as SyncSentinel

from sockets.base import metrics
from sockets.redis.addresses import CONNECT_TIMEOUT, SentinelGroup, host_and_port
from sockets.redis.errors import translated
from sockets.redis.links import (
    ASYNC,
    SYNC,
    SYNC_OF,
    LinkedConnection,
    Links,
    links_to,
    server_of,
    server_of_host,
    sync_class,
)
from sockets.redis.multiplexed import Multiplexed
from sockets.redis.pools import Pool, SentinelPool, SyncPool, SyncSentinelPool
from sockets.redis.sentinel import (
    LinkedSentinelConnection,
    SyncLinkedSentinelConnection,
    close_sentinels,
)

CONNECTIONS = 32
"""Of one process to one server; more callers wait for a free one."""

SENTINEL_TIMEOUT = 0.5
"""Seconds for a sentinel: several must fit into the time that a connection gets to be made."""

RETRIES = 3
"""Of a call whose connection was cut."""

CALL_TIMEOUT = 5.0
"""Seconds for one command, and for a free connection."""

SCRIPTS = frozenset({"EVALSHA", "EVAL"})
"""Commands that all callers of a process write over one connection."""

_BACKOFF = ExponentialBackoff(cap=0.5, base=0.05)


def _may_repeat(error: ReadOnlyError, args: tuple[Any, ...]) -> None:
    """Raise the error of a call that must not be repeated: nothing is published twice.

    A replica has done nothing of what it refused, so any other goes once more, over a new
    connection.
    """
    if args[0] == "PUBLISH":
        raise error


class _Client(Redis):
    """Asks for scripts over one connection that all callers share, for the rest as redis-py does.

    `call_timeout`: seconds for an answer.
    """

    def __init__(self, *, call_timeout: float = CALL_TIMEOUT, **options: Any) -> None:
        super().__init__(**options)
        self._scripts = Multiplexed(
            cast(Pool, self.connection_pool),
            timeout=call_timeout,
            retries=RETRIES,
            backoff=_BACKOFF,
        )

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await self._execute(*args, **options)
        except ReadOnlyError as error:
            _may_repeat(error, args)
        return await self._execute(*args, **options)

    async def _execute(self, *args: Any, **options: Any) -> Any:
        if args[0] in SCRIPTS:
            return await self._scripts.ask(args)
        return await super().execute_command(*args, **options)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._scripts.close()
        await super().aclose(close_connection_pool)


class _SyncClient(SyncRedis):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)
        except ReadOnlyError as error:
            _may_repeat(error, args)
        return super().execute_command(*args, **options)


class _Node(ClusterNode):
    """Takes a connection back that has failed, too; redis-py's forgets it. Times scripts."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        connection, written_at = self.acquire_connection(), None
        try:
            await self.disconnect_if_needed(connection)
            await connection.send_packed_command(connection.pack_command(*args), False)
            written_at = time.monotonic()  # and not before: it may have connected first, or failed
            return await self.parse_response(connection, args[0], **options)
        finally:
            if written_at is not None and args[0] in SCRIPTS:
                metrics.redis_call.observe(time.monotonic() - written_at)
            self.release(connection)


class _Nodes(NodesManager):
    """Keeps one object for each node, and closes what it had of one that left the Cluster.

    redis-py's makes new ones each time that it looks for the Cluster, uses those for the slots, and
    closes others.
    """

    def set_nodes(
        self,
        old: dict[str, ClusterNode],
        new: dict[str, ClusterNode],
        remove_old: bool = False,
    ) -> None:
        gone = [node for name, node in old.items() if remove_old and name not in new]
        for name, node in new.items():
            new[name] = kept = old.get(name) or self._made(node)
            kept.server_type = node.server_type
        for nodes in {id(nodes): nodes for nodes in self.slots_cache.values()}.values():
            nodes[:] = [new.get(node.name, node) for node in nodes]
        super().set_nodes(old, new, remove_old)
        for node in gone:
            task = asyncio.create_task(node.disconnect())
            self._background_tasks.add(task)
            task.add_done_callback(self._background_tasks.discard)

    def _made(self, node: ClusterNode) -> _Node:
        return _Node(node.host, node.port, node.server_type, **self.connection_kwargs)


# A shard that says nothing is waited for once, as one server is: see _CUT_OFF.
_REPEATED: Any = tuple(one for one in RedisCluster.ERRORS_ALLOW_RETRY if one is not TimeoutError)


class _SyncClusterClient(SyncRedisCluster):
    ERRORS_ALLOW_RETRY = _REPEATED


class _ClusterClient(RedisCluster):
    """A Cluster, found by any of the hosts that its URL names, at the start and later."""

    ERRORS_ALLOW_RETRY = _REPEATED

    def __init__(self, hosts: list[tuple[str, int]], links: Links, **options: Any) -> None:
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts],
            dynamic_startup_nodes=False,
            **options,
        )
        self.connection_kwargs |= {"connection_class": LinkedConnection, "links": links}
        self.nodes_manager = _Nodes(
            [_Node(host, port, **self.connection_kwargs) for host, port in hosts],
            options.get("require_full_coverage", True),
            self.connection_kwargs,
            dynamic_startup_nodes=False,
        )
        self.startup_nodes = list(self.nodes_manager.startup_nodes.values())


def connect(url: str, *, call_timeout: float = CALL_TIMEOUT) -> Redis:
    """Return a client of one event loop. Nothing is sent yet.

    `url`: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or
    `redis+cluster://HOST:PORT,HOST:PORT`.
    """
    links = links_to(server_of(url))
    if url.startswith(_CLUSTER):
        # It has the calls of `Redis` that are used here, and no common type with it.
        cluster = _ClusterClient(_hosts_of(url), links, **_cluster_options(url, call_timeout))
        return cast(Redis, cluster)
    options = {**_options(call_timeout), "retry": Retry(_BACKOFF, RETRIES, _CUT_OFF)}
    if (group := SentinelGroup.of(url)) is None:
        pool = Pool.from_url(url, links=links, **_of_kind(url, options))
        pool.connection_class = ASYNC[pool.connection_class]
        return _owner_of(pool, call_timeout)
    sentinel = Sentinel(group.hosts, sentinel_kwargs=_once(group.sentinel_options, Retry))
    links.epochs.rule(sentinel)
    options |= {"connection_class": LinkedSentinelConnection, "links": links}
    pool = SentinelPool(group.service, sentinel, **group.options, **options)
    return _owner_of(pool, call_timeout)


def _owner_of(pool: Pool, call_timeout: float) -> _Client:
    """Return a client that closes the pool with itself, as redis-py's `from_pool` does."""
    client = _Client(connection_pool=pool, call_timeout=call_timeout)
    client.auto_close_connection_pool = True
    return client


def connect_sync(
    url: str, *, call_timeout: float = CALL_TIMEOUT, retries: int = RETRIES
) -> SyncRedis:
    """Return a client for threads; after a fork each process has connections of its own.

    `retries`: of a call that was cut off; 0 for what must not be done twice.
    """
    links = links_to(server_of(url))
    if url.startswith(_CLUSTER):
        first, *others = [SyncClusterNode(host, port) for host, port in _hosts_of(url)]
        with translated():  # it asks for the slots at once
            cluster = _SyncClusterClient(
                url=f"redis://{first.host}:{first.port}",  # with one it takes our class
                startup_nodes=others,
                dynamic_startup_nodes=False,
                connection_class=sync_class(links),
                **_cluster_options(url, call_timeout),
            )
        return cast(SyncRedis, cluster)
    options = {**_options(call_timeout), "retry": SyncRetry(_BACKOFF, retries, _CUT_OFF)}
    if (group := SentinelGroup.of(url)) is None:
        pool = SyncPool.from_url(url, links=links, **_of_kind(url, options))
        pool.connection_class = SYNC[pool.connection_class]
        return _SyncClient.from_pool(pool)
    sentinel = SyncSentinel(group.hosts, sentinel_kwargs=_once(group.sentinel_options, SyncRetry))
    links.epochs.rule(sentinel)
    options |= {"connection_class": SyncLinkedSentinelConnection, "links": links}
    return _SyncClient.from_pool(
        SyncSentinelPool(group.service, sentinel, **group.options, **options)
    )


_CLUSTER = "redis+cluster://"


def _hosts_of(url: str) -> list[tuple[str, int]]:
    """Return all hosts of a Cluster's URL; the rest of it is learnt from any of them."""
    hosts = urlsplit(url).netloc.rpartition("@")[2]
    return [host_and_port(host, "6379") for host in hosts.split(",")]


def _cluster_options(url: str, call_timeout: float) -> dict[str, Any]:
    user, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    login = {"username": unquote(user), "password": unquote(password)}
    return {
        **{name: value for name, value in login.items() if value},
        "socket_timeout": call_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
    }


async def close(client: Redis) -> None:
    """Close its connections, those to sentinels too."""
    await client.aclose()
    await close_sentinels(getattr(client, "connection_pool", None))


def layer_pool(host: dict[str, Any]) -> tuple[Any, Links]:
    """Return what makes connections of the channel layer, and the links that they are part of.

    `host`: as channels-redis writes one.
    """
    links = links_to(server_of_host(host))
    host = {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "client_name": "gateway-layer",
        "protocol": 2,  # the lines read RESP2; RESP3 would send things unasked
        **_with_sentinels(host),
    }
    if "sentinels" in host:
        host["sentinel_kwargs"] = _once(host.get("sentinel_kwargs"), Retry)
    pool = create_pool(_of_kind(str(host.get("address", "")), host))
    if (manager := getattr(pool, "sentinel_manager", None)) is not None:
        links.epochs.rule(manager)
    return pool, links


def connect_sync_layer(host: dict[str, Any]) -> SyncRedis:
    """Return a client for threads that publishes to one host of the channel layer, each message
    once. Nothing is sent yet.

    `host`: as channels-redis writes one. Raises ValueError for a connection class of its own.
    """
    links = links_to(server_of_host(host))
    options = {**_options(CALL_TIMEOUT), "links": links}
    options |= {name: value for name, value in _with_sentinels(host).items() if name != "retry"}
    options["retry"] = SyncRetry(_BACKOFF, 0, _CUT_OFF)
    if (url := options.pop("address", None)) is not None:
        pool = SyncPool.from_url(url, **_of_kind(url, options))
        pool.connection_class = SYNC[pool.connection_class]
        return _SyncClient.from_pool(pool)
    if (service := options.pop("master_name", None)) is not None:
        hosts, their = options.pop("sentinels"), options.pop("sentinel_kwargs", None)
        options["connection_class"] = SyncLinkedSentinelConnection
        sentinel = SyncSentinel(hosts, sentinel_kwargs=_once(their, SyncRetry))
        links.epochs.rule(sentinel)
        return _SyncClient.from_pool(SyncSentinelPool(service, sentinel, **options))
    given = options.pop("connection_class", AsyncConnection)
    if given not in SYNC_OF:
        raise ValueError(f"a host of the channel layer has a {given.__name__}, unknown to threads")
    return _SyncClient.from_pool(SyncPool(connection_class=SYNC_OF[given], **options))


def _with_sentinels(host: dict[str, Any]) -> dict[str, Any]:
    """Return a host in which the URL of sentinels is spelled out, as channels-redis takes them."""
    if (group := SentinelGroup.of(host.get("address", ""))) is None:
        return host
    return {
        **{name: value for name, value in host.items() if name != "address"},
        "master_name": group.service,
        "sentinels": group.hosts,
        "sentinel_kwargs": group.sentinel_options,
        **group.options,
    }


def _once(options: Mapping[str, Any] | None, retry: type[Any]) -> dict[str, Any]:
    """Return options of clients of sentinels that leave one which is away to ask the next.

    redis-py's own try for ten seconds; here a connection that was cut is made again at once.
    `retry`: the class of their kind.
    """
    usual = {"socket_timeout": SENTINEL_TIMEOUT, "socket_connect_timeout": SENTINEL_TIMEOUT}
    return {"retry": retry(NoBackoff(), 1, (ConnectionError,)), **usual, **(options or {})}


# A call that was cut off is repeated: every script of ours knows a repetition. One that is not
# answered in time is not: its caller has waited long enough.
_CUT_OFF = (ConnectionError,)


def _of_kind(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a connection of this URL's kind has."""
    if not url.startswith("unix://"):
        return options
    return {name: value for name, value in options.items() if name != "socket_keepalive"}


def _options(call_timeout: float) -> dict[str, Any]:
    return {
        "max_connections": CONNECTIONS,
        "timeout": call_timeout,
        "socket_timeout": call_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
    }
