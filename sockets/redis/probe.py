"""Whether Redis does what the gateway needs: tried, with a key of each shard, not guessed.

And whether it is set up as the gateway's promises need it, which may change while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.crc import key_slot
from redis.exceptions import ResponseError

from sockets.exceptions import GatewayUnavailable
from sockets.redis.errors import CLUSTER, FAILURES, RIGHTS, translated, words_for
from sockets.redis.keys import Keys
from sockets.redis.scripts import Script
from sockets.types import Promises, Shards

_PROBE = Script("sockets.redis", "probe")

UNPUBLISHED = "Redis does not let the gateway publish messages"

_MOST_TAGS = 100_000
"""Names tried to find one for each shard; about 20 a shard are needed."""

EVICTION = "maxmemory_policy"
APPEND_ONLY = "append_only"

_DURABLE = {"appendfsync": "always", "appendonly": "yes"}


class RedisProbe:
    """Tries one server, or each shard of a Cluster. Belongs to one event loop.

    `channel`: one that nobody hears; "": the layer publishes elsewhere. `durable`: the server has
    to write each command to its disk first.
    """

    def __init__(self, client: Redis, keys: Keys, *, channel: str, durable: bool) -> None:
        self._client = client
        self._keys = keys
        self._channel = channel
        self._durable = durable

    async def shards(self) -> Shards:
        """Raises GatewayUnavailable where nothing takes writes, or the registry's shard does not,
        or messages cannot be published."""
        client: Any = self._client
        if isinstance(client, RedisCluster):
            return await self._shards_of(client)
        with translated():
            self._require_published(await self._try(self._keys.probe(0)))
        return Shards()

    async def _shards_of(self, cluster: RedisCluster) -> Shards:
        with translated():
            await cluster.initialize()
            registry = cluster.get_node_from_key(self._keys.nodes(""))
            keys = dict(self._key_of_each(cluster))
        errors: dict[str, Exception] = {}
        for name, key in keys.items():
            try:
                self._require_published(await self._try(key))
            except FAILURES as error:
                errors[name] = error
        if registry is None:
            raise GatewayUnavailable(CLUSTER, detail="nobody holds the registry's slot")
        if registry.name in errors or len(errors) == len(keys):
            worst = errors.get(registry.name) or next(iter(errors.values()))
            raise GatewayUnavailable(words_for(worst), detail=f"{type(worst).__name__}: {worst}")
        return Shards(len(keys), len(errors))

    async def _try(self, key: str) -> Any:
        return await _PROBE.run(
            self._client, ([key], [self._channel, "" if self._durable else "1"])
        )

    @staticmethod
    def _require_published(answer: Any) -> None:
        if not answer:
            raise GatewayUnavailable(UNPUBLISHED)

    def _key_of_each(self, cluster: RedisCluster) -> Iterator[tuple[str, str]]:
        """Return for each primary a key that is in one of its slots."""
        found: set[str] = set()
        slots = cluster.nodes_manager.slots_cache
        primaries = {holders[0].name for holders in slots.values() if holders}
        for n in range(_MOST_TAGS):
            if found == primaries:
                return
            key = self._keys.probe(n)
            holders = slots.get(key_slot(key.encode()))
            if holders and holders[0].name not in found:
                found.add(holders[0].name)
                yield holders[0].name, key

    async def promises(self) -> Promises:
        """Look at the server's set-up. Raises GatewayUnavailable."""
        broken: dict[str, str] = {}
        unknown: list[str] = []
        policies = await self._ask("INFO", self._client.info("memory"), unknown)
        for policy in _of_each_server(policies, "maxmemory_policy") - {"noeviction"}:
            broken[EVICTION] = (
                f"the server at REDIS_URL may throw away keys (maxmemory-policy is {policy}), "
                "messages and presence among them: set it to noeviction"
            )
        if self._durable:
            given = await self._ask("CONFIG GET", self._client.config_get("append*"), unknown)
            if given and not _DURABLE.items() <= given.items():
                broken[APPEND_ONLY] = (
                    "REDIS_DURABILITY=always says that nothing acknowledged is lost, and the "
                    "server at REDIS_URL does not write each command to disk first: set appendonly "
                    "yes and appendfsync always there, or leave REDIS_DURABILITY out"
                )
        return Promises(broken, tuple(unknown))

    @staticmethod
    async def _ask(command: str, call: Any, unknown: list[str]) -> dict[str, Any]:
        try:
            with translated():
                found: dict[str, Any] = await call
                return found
        except GatewayUnavailable as error:
            if str(error) != RIGHTS and not _is_unknown_command(error):
                raise
            unknown.append(command)
            return {}


def _is_unknown_command(error: GatewayUnavailable) -> bool:
    """Managed servers have some commands renamed away."""
    cause = error.__cause__
    return isinstance(cause, ResponseError) and "unknown command" in str(cause).lower()


def _of_each_server(info: dict[str, Any], field: str) -> set[str]:
    """Return the answer of each server: a Cluster answers by node."""
    if field in info:
        return {info[field]}
    return {one[field] for one in info.values() if isinstance(one, dict) and field in one}
