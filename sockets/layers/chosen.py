"""The channel layer that the gateway uses: one of the project's, or one of its own.

1. The alias of CHANNEL_LAYERS that `Conf.layer` names; it must be a layer of ours, or a subclass.
2. Without a name, the alias "default", where that is a layer of ours.
3. Else one that the gateway makes for itself, on `redis_url` or in memory. It speaks as the stock
   pub/sub layer does, so that the project's own one can reach it where server and prefix match.

Nothing is connected here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from sockets.conf import Conf

MEMORY: Final = "sockets.layers.memory.MemoryChannelLayer"
REDIS: Final = "sockets.layers.redis.RedisChannelLayer"
STOCK: Final = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE: Final = "channels_redis.core.RedisChannelLayer"
IN_MEMORY: Final = "channels.layers.InMemoryChannelLayer"

PREFIX: Final = "asgi"
"""What the stock layers' channels begin with."""

DEFAULT: Final = "default"
"""The alias that Channels uses where none is named."""


class WrongLayer(ImproperlyConfigured):
    """The gateway cannot run on the channel layer that the settings choose.

    `id`: of the system check that says so.
    """

    def __init__(self, id: str, fault: str, remedy: str) -> None:
        super().__init__(f"{fault}: {remedy}")
        self.id, self.fault, self.remedy = id, fault, remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return WrongLayer, (self.id, self.fault, self.remedy)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A channel layer of ours. `alias`: in CHANNEL_LAYERS; None: the gateway makes it for itself.

    `config`: the options that it is made with.
    """

    alias: str | None
    backend: str
    config: Mapping[str, Any] = field(repr=False)  # it may hold passwords

    def make(self) -> Any:
        """Return the layer: the project's own object, or a new one, which its maker has to close.

        Raises ImproperlyConfigured for wrong options.
        """
        if self.alias is None:
            return import_string(self.backend)(**self.config)
        from channels.layers import get_channel_layer

        return get_channel_layer(self.alias)


def choose(conf: Conf) -> Chosen:
    """Return the channel layer that the settings choose. Raises WrongLayer."""
    layers = project_layers()
    alias = conf.layer
    if alias is None:
        default = layers.get(DEFAULT, {})
        if _ours(default) is None:
            _require_server(conf)
            made = own_layer(conf, beside=default)
            return Chosen(None, made["BACKEND"], made["CONFIG"])
        alias = DEFAULT
    _require_ours(alias, layers)
    _require_mode(alias, layers[alias], conf)
    _require_bytes(alias, layers[alias])
    return Chosen(alias, layers[alias]["BACKEND"], layers[alias].get("CONFIG", {}))


def own_layer(conf: Conf, beside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return an entry of CHANNEL_LAYERS with which the gateway needs none of the project's.

    `beside`: the project's own entry, whose prefix is taken where it is the stock pub/sub layer of
    the same server and LAYER_PREFIX says nothing else.
    """
    if not conf.redis_url:
        return {"BACKEND": MEMORY, "CONFIG": {"capacity": conf.layer_capacity}}
    hosts = list(conf.layer_redis_urls or (conf.redis_url,))
    prefix = conf.layer_prefix or _prefix_of(beside, hosts)
    if prefix is None:
        from sockets.redis import database_of  # late: memory mode needs none of it

        # Redis' pub/sub knows no database numbers, so the prefix has to part them.
        number = database_of(conf.redis_url)
        prefix = f"{PREFIX}.{number}" if number else PREFIX
    config = {"capacity": conf.layer_capacity, "hosts": hosts, "prefix": prefix}
    return {"BACKEND": REDIS, "CONFIG": config}


def project_layers() -> dict[str, dict[str, Any]]:
    """Return the project's CHANNEL_LAYERS."""
    from django.conf import settings

    found: dict[str, dict[str, Any]] = getattr(settings, "CHANNEL_LAYERS", {})
    return found


def line_of(backend: str) -> frozenset[str]:
    """Return the dotted names of a layer's class and of those that it is made from."""
    try:
        classes = getattr(import_string(backend), "__mro__", ())
    except ImportError:
        classes = ()
    return frozenset({backend, *(f"{one.__module__}.{one.__qualname__}" for one in classes)})


def servers_of(hosts: Any) -> list[str]:
    """Return the servers that `hosts` of a layer name, as far as names tell them apart.

    In the order of its shards. Raises ValueError for what channels-redis does not take.
    """
    from channels_redis.utils import decode_hosts  # late: memory mode needs none of it

    from sockets.redis import server_of_host

    try:
        decoded = decode_hosts(hosts)  # type: ignore[no-untyped-call]
        found = [server_of_host(host) for host in decoded]
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(str(error)) from None
    return [one.replace("127.0.0.1", "localhost") for one in found]


def _prefix_of(entry: Mapping[str, Any] | None, hosts: list[str]) -> str | None:
    """Return the prefix of the stock layer in `entry`, if it has the same servers; else None."""
    if not entry or STOCK not in line_of(str(entry.get("BACKEND", ""))):
        return None
    config = entry.get("CONFIG", {})
    try:
        same = servers_of(config.get("hosts")) == servers_of(hosts)
    except ValueError:
        return None
    return str(config.get("prefix", PREFIX)) if same else None


def _ours(entry: Mapping[str, Any]) -> str | None:
    """Return which of our layers an entry is, MEMORY or REDIS; None: it is somebody else's."""
    line = line_of(str(entry.get("BACKEND", "")))
    return next((one for one in (MEMORY, REDIS) if one in line), None)


def _require_ours(alias: str, layers: Mapping[str, Mapping[str, Any]]) -> None:
    entry = layers.get(alias)
    if entry is not None and _ours(entry) is not None:
        return
    remedy = (
        f"name an alias whose BACKEND is {REDIS!r} (for a single process {MEMORY!r}), "
        "or leave it out: the gateway then makes a layer for itself"
    )
    if entry is None:
        fault = f"GATEWAY['layer'] is {alias!r}, which CHANNEL_LAYERS does not have"
    elif CORE in line_of(str(entry.get("BACKEND", ""))):
        raise WrongLayer(
            "gateway.E002",
            f"GATEWAY['layer'] is {alias!r}, the core layer of channels-redis: it drops messages "
            "above 100 a channel, forgets groups after a day, and a restart of Redis or a time-out "
            "of its client ends every consumer of the process",
            f"use {REDIS!r} with the same hosts",
        )
    else:
        fault = f"GATEWAY['layer'] is {alias!r}, which is no channel layer of the gateway"
    raise WrongLayer("gateway.E001", fault, remedy)


def _require_mode(alias: str, entry: Mapping[str, Any], conf: Conf) -> None:
    """Refuse a layer that reaches fewer processes, or more, than the rest of the state."""
    if _ours(entry) == MEMORY and conf.redis_url:
        raise WrongLayer(
            "gateway.E010",
            f"CHANNEL_LAYERS[{alias!r}] is a layer of one process, and redis_url (REDIS_URL) says "
            "that the gateway has many",
            f"set its BACKEND to {REDIS!r}, or GATEWAY['layer'] to an alias that is one",
        )
    if _ours(entry) == REDIS and not conf.redis_url:
        raise WrongLayer(
            "gateway.E010",
            f"CHANNEL_LAYERS[{alias!r}] is a layer of many processes, and without redis_url "
            "(REDIS_URL) each would keep streams and presence for itself",
            f"set redis_url, or GATEWAY['layer'] to an alias whose BACKEND is {MEMORY!r}",
        )


def _require_bytes(alias: str, entry: Mapping[str, Any]) -> None:
    """Refuse a layer that writes JSON: our messages hold bytes, which every node only passes on."""
    if entry.get("CONFIG", {}).get("serializer_format") == "json":
        raise WrongLayer(
            "gateway.E011",
            f"CHANNEL_LAYERS[{alias!r}] writes JSON, which has no form for the gateway's messages",
            "leave serializer_format out (msgpack), or set GATEWAY['layer'] to another alias",
        )


def _require_server(conf: Conf) -> None:
    """Refuse a Cluster, on which no channel layer runs; and servers of a layer without Redis."""
    if any(
        url.startswith("redis+cluster://") for url in conf.layer_redis_urls or (conf.redis_url,)
    ):
        raise WrongLayer(
            "gateway.E010",
            "the channel layer does not run on a Cluster",
            "name another server with layer_redis_urls (LAYER_REDIS_URL)",
        )
    if conf.layer_redis_urls and not conf.redis_url:
        raise WrongLayer(
            "gateway.E010",
            "layer_redis_urls (LAYER_REDIS_URL) is set without redis_url",
            "set redis_url (REDIS_URL) too, or none of both",
        )
