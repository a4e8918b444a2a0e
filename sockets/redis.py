"""Redis: clients, names of keys, scripts. PROTOCOL section 7 documents the keys for everybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Any, Literal, Self, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from channels_redis.utils import create_pool
from redis import BlockingConnectionPool as SyncBlockingConnectionPool
from redis import Redis as SyncRedis
from redis import RedisCluster as SyncRedisCluster
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry as SyncRetry
from redis.sentinel import Sentinel as SyncSentinel
from redis.sentinel import SentinelConnectionPool as SyncSentinelConnectionPool

from sockets.exceptions import GatewayUnavailable
from sockets.types import Kind

T = TypeVar("T")

CONNECTIONS = 32
"""Of one process to one server; more callers wait for a free one."""

RETRIES = 3
"""Of a call whose connection was cut."""

CONNECT_TIMEOUT = 2.0
CALL_TIMEOUT = 5.0
"""Seconds for one command, and for a free connection."""


class NotConnected(ConnectionError):
    """There was no connection to send the command over: it was surely not done."""


class _Pool(BlockingConnectionPool):
    """Its failures to connect are told apart: nothing was sent."""

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().get_connection(*args, **options)
        except (ConnectionError, TimeoutError, OSError) as error:
            raise NotConnected(str(error)) from error


class _SyncPool(SyncBlockingConnectionPool):
    def get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            return super().get_connection(*args, **options)
        except (ConnectionError, TimeoutError, OSError) as error:
            raise NotConnected(str(error)) from error


class _SentinelPool(SentinelConnectionPool, _Pool):
    pass


class _SyncSentinelPool(SyncSentinelConnectionPool, _SyncPool):
    pass


def connect(url: str, *, call_timeout: float = CALL_TIMEOUT) -> Redis:
    """A client of one event loop, for `redis://`, `rediss://`, `unix://`, `redis+sentinel://` and
    `redis+cluster://HOST:PORT,HOST:PORT`. Nothing is sent yet.
    """
    if url.startswith(_CLUSTER):
        # It has the calls of `Redis` that are used here, and no common type with it.
        cluster = RedisCluster.from_url(_first_of(url), **_cluster_options(call_timeout))
        return cast(Redis, cluster)
    options = {**_options(call_timeout), "retry": Retry(_BACKOFF, RETRIES, _CUT_OFF)}
    if (group := SentinelGroup.of(url)) is None:
        return Redis.from_pool(_Pool.from_url(url, **options))
    sentinel = Sentinel(group.hosts, sentinel_kwargs=group.sentinel_options)
    pool = _SentinelPool(group.service, sentinel, **group.options, **options)
    return Redis.from_pool(pool)


def connect_sync(
    url: str, *, call_timeout: float = CALL_TIMEOUT, retries: int = RETRIES
) -> SyncRedis:
    """A client for threads; after a fork each process has connections of its own.

    `retries`: of a call that was cut off; 0 for what must not be done twice.
    """
    if url.startswith(_CLUSTER):
        with translated():  # it asks for the slots at once
            cluster = SyncRedisCluster.from_url(_first_of(url), **_cluster_options(call_timeout))
        return cast(SyncRedis, cluster)
    options = {**_options(call_timeout), "retry": SyncRetry(_BACKOFF, retries, _CUT_OFF)}
    if (group := SentinelGroup.of(url)) is None:
        return SyncRedis.from_pool(_SyncPool.from_url(url, **options))
    sentinel = SyncSentinel(group.hosts, sentinel_kwargs=group.sentinel_options)
    return SyncRedis.from_pool(
        _SyncSentinelPool(group.service, sentinel, **group.options, **options)
    )


_CLUSTER = "redis+cluster://"


def _first_of(url: str) -> str:
    """One host of a Cluster's URL; the others are learnt from it."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    return urlunsplit(("redis", f"{login}{at}{hosts.split(',')[0]}", "", "", ""))


def _cluster_options(call_timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": call_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
    }


async def close(client: Redis) -> None:
    """Close its connections, those to sentinels too."""
    await client.aclose()
    await close_sentinels(getattr(client, "connection_pool", None))


async def close_sentinels(pool: Any) -> None:
    """A pool does not close what it asked for the master."""
    if (manager := getattr(pool, "sentinel_manager", None)) is not None:
        for sentinel in manager.sentinels:
            await sentinel.aclose()


def layer_pool(host: dict[str, Any]) -> Any:
    """What makes connections of the channel layer. `host`: as channels-redis writes one."""
    host = {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "client_name": "gateway-layer",
        "protocol": 2,  # the lines read RESP2; RESP3 would send things unasked
        **host,
    }
    if (group := SentinelGroup.of(host.get("address", ""))) is not None:
        del host["address"]
        host |= {
            "master_name": group.service,
            "sentinels": group.hosts,
            "sentinel_kwargs": group.sentinel_options,
            **group.options,
        }
    return create_pool(host)


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """`redis+sentinel://[user:password@]host[:port],host[:port]/db?service=name`, taken apart.

    `sentinel_username` and `sentinel_password` in the query: for the sentinels themselves.
    """

    service: str
    hosts: list[tuple[str, int]]
    options: dict[str, Any] = field(repr=False)
    sentinel_options: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Self | None:
        """None for another kind of URL. Raises ValueError."""
        if not url.startswith("redis+sentinel://"):
            return None
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        given = {"username": unquote(user), "password": unquote(password)}
        options: dict[str, Any] = {name: value for name, value in given.items() if value}
        options["db"] = _number(parts.path.strip("/") or "0")
        sentinel_options: dict[str, Any] = {
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
        }
        for name in ("username", "password"):
            if value := query.get(f"sentinel_{name}"):
                sentinel_options[name] = value
        return cls(
            query.get("service", "mymaster"),
            [_host_and_port(host) for host in hosts.split(",")],
            options,
            sentinel_options,
        )


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, "26379"
    if not host:
        raise ValueError("a sentinel has no host")
    return host.strip("[]"), _number(port)


def _number(text: str) -> int:
    if not text.isdecimal():  # a badly quoted password ends up here: never shown
        raise ValueError("the URL has a port or a database that is no number")
    return int(text)


_BACKOFF = ExponentialBackoff(cap=0.5, base=0.05)

# A call that was cut off is repeated: every script of ours knows a repetition. One that is not
# answered in time is not: its caller has waited long enough.
_CUT_OFF = (ConnectionError,)


def _options(call_timeout: float) -> dict[str, Any]:
    return {
        "max_connections": CONNECTIONS,
        "timeout": call_timeout,
        "socket_timeout": call_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
    }


class Keys:
    """The names of keys. All of one user's share a hash slot, so that one script may touch them.

    Two ids never share a key, nor an id one of the gateway's own, under any namespace that `Conf`
    takes. A user may be called `tasks`: their keys and those of `tasks` have different last parts,
    which `tests/unit/test_redis_keys.py` holds them to.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._registry = f"{namespace}:nodes"

    def user(self, user: str, name: str) -> str:
        """`gw:{<user id>}:<name>`."""
        tag = f"\\{user}" if user == self._registry else _tag(user)
        return f"{self._namespace}:{{{tag}}}:{name}"

    def worker(self, name: str, what: str) -> str:
        """`gw:worker:{<key name>}:<what>`: a worker's key may be called as a user is."""
        return f"{self._namespace}:worker:{{{_tag(name)}}}:{what}"

    def nodes(self, what: str) -> str:
        """`gw:nodes`, or a key beside it in its slot: `gw:{gw:nodes}:<what>`."""
        name = self._registry
        return f"{self._namespace}:{{{name}}}:{what}" if what else name

    def charges(self, life: str, kind: Kind) -> str:
        """`gw:node:<life>:users`, or `:workers`."""
        return f"{self._namespace}:node:{life}:{'users' if kind is Kind.CLIENT else 'workers'}"

    def tasks(self, what: str) -> str:
        """`gw:{tasks}:<what>`: all of them in one slot, because choosing a worker is one step."""
        return f"{self._namespace}:{{tasks}}:{what}"

    def receipt(self, user: str, key: str) -> str:
        """Of an idempotency key: written so that it cannot pass for another user's key."""
        escaped = key.replace("%", "%25").replace("}", "%7D")
        return self.user(user, f"idem:{escaped}")


def _tag(id: str) -> str:
    """An id as it stands in braces. A tag that begins with its own end would be empty, and the
    keys in several slots; and what begins with `\\` must not be what another id became by this."""
    return f"\\{id}" if id[:1] in ("}", "\\") else id


# redis-py's own root does not have all: a Cluster with no node left is something else.
_FAILURES = (RedisError, RedisClusterException, OSError)

BATCH = 500
"""Calls in one round trip."""


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, BATCH at a time."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


Call = tuple[Sequence[str], Sequence[Any]]
"""The keys and the arguments of one call of a script."""


class Script:
    """A Lua script of this package; sent whole only to a server that does not know it."""

    def __init__(self, package: str, *names: str) -> None:
        folder = files(package) / "lua"
        self._text = "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
        self._sha = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, call: Call) -> Any:
        """The script's answer. Raises what redis-py raises, as all of these do."""
        keys, args = call
        try:
            return await client.evalsha(self._sha, len(keys), *keys, *args)  # type: ignore[misc]
        except NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *args)  # type: ignore[misc]

    def run_sync(self, client: SyncRedis, call: Call) -> Any:
        """`run` for threads."""
        keys, args = call
        try:
            return client.evalsha(self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self._text, len(keys), *keys, *args)

    async def run_each(self, client: Redis, calls: Sequence[Call]) -> list[Any]:
        """`run_many`, with the errors that it would raise in the place of their answers."""
        try:
            if not _is_cluster(client):
                return list(await self.run_many(client, calls))
        except _FAILURES as error:
            return [error] * len(calls)
        answers: list[Any] = []
        failed: dict[Any, Exception] = {}  # a shard that is away is waited for once
        for call in calls:
            shard = _shard(client, call)
            if shard not in failed:
                try:
                    answers.append(await self.run(client, call))
                    continue
                except _FAILURES as error:
                    failed[shard] = error
            answers.append(failed[shard])
        return answers

    def run_each_sync(self, client: SyncRedis, calls: Sequence[Call]) -> list[Any]:
        """`run_each` for threads."""
        try:
            if not _is_cluster(client):
                return self.run_many_sync(client, calls)
        except _FAILURES as error:
            return [error] * len(calls)
        answers: list[Any] = []
        failed: dict[Any, Exception] = {}
        for call in calls:
            shard = _shard(client, call)
            if shard not in failed:
                try:
                    answers.append(self.run_sync(client, call))
                    continue
                except _FAILURES as error:
                    failed[shard] = error
            answers.append(failed[shard])
        return answers

    async def run_many(self, client: Redis, calls: Sequence[Call]) -> list[Any]:
        """Many calls in one round trip, each a step of its own; on a Cluster one by one."""
        if _is_cluster(client):
            # Not side by side: redis-py's client loses connections then.
            return [await self.run(client, call) for call in calls]
        answers = await self._queued(client, calls).execute(raise_on_error=False)
        if _unknown(answers):
            # Some may have been done: their repetition is known by its id.
            await client.script_load(self._text)
            answers = await self._queued(client, calls).execute(raise_on_error=False)
        return _raised(answers)

    def run_many_sync(self, client: SyncRedis, calls: Sequence[Call]) -> list[Any]:
        """`run_many` for threads; on a Cluster one after the other."""
        if _is_cluster(client):
            return [self.run_sync(client, call) for call in calls]
        answers = self._queued(client, calls).execute(raise_on_error=False)
        if _unknown(answers):
            client.script_load(self._text)
            answers = self._queued(client, calls).execute(raise_on_error=False)
        return _raised(answers)

    def _queued(self, client: Any, calls: Sequence[Call]) -> Any:
        pipe = client.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self._sha, len(keys), *keys, *args)
        return pipe


def _is_cluster(client: object) -> bool:
    return isinstance(client, RedisCluster | SyncRedisCluster)


def _shard(client: Any, call: Call) -> object:
    """The name of the server that a call to a Cluster goes to; None: not known now."""
    try:
        return client.get_node_from_key(call[0][0]).name
    except (*_FAILURES, AttributeError):
        return None


def _unknown(answers: Sequence[Any]) -> bool:
    return any(isinstance(answer, NoScriptError) for answer in answers)


def _raised(answers: Sequence[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return list(answers)


@contextmanager
def translated(id: str = "", *, writes: bool = False) -> Iterator[None]:
    """Redis' errors as ours. `writes`: what was asked may have been done before the answer was
    lost; `id` is then what makes repeating it safe."""
    outcome: Literal["nothing", "unknown"] = "unknown" if writes else "nothing"
    try:
        yield
    except ResponseError as error:  # it did answer, and refused
        raise GatewayUnavailable(f"Redis refuses: {error}", outcome="nothing", id=id) from error
    except BusyLoadingError as error:
        raise GatewayUnavailable("Redis is still loading", outcome="nothing", id=id) from error
    except NotConnected as error:
        raise GatewayUnavailable("Redis cannot be reached", outcome="nothing", id=id) from error
    except (ConnectionError, TimeoutError, OSError) as error:
        text = f"Redis does not answer ({type(error).__name__})"
        raise GatewayUnavailable(text, outcome=outcome, id=id) from error
    except (RedisError, RedisClusterException) as error:
        raise GatewayUnavailable(f"Redis: {error}", outcome=outcome, id=id) from error
