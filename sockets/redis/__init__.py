"""Redis: clients, names of keys, scripts, and its errors as ours."""

from sockets.redis.addresses import SentinelGroup, database_of, is_same_login
from sockets.redis.clients import (
    close,
    connect,
    connect_sync,
    connect_sync_layer,
    layer_pool,
)
from sockets.redis.errors import is_of_its_keys, translated
from sockets.redis.keys import Keys
from sockets.redis.links import server_of, server_of_host
from sockets.redis.scripts import AT_ONCE, BATCH, Call, Script, batches, is_cluster
from sockets.redis.sentinel import close_sentinels

__all__ = [
    "AT_ONCE",
    "BATCH",
    "Call",
    "Keys",
    "Script",
    "SentinelGroup",
    "batches",
    "close",
    "close_sentinels",
    "connect",
    "connect_sync",
    "connect_sync_layer",
    "database_of",
    "is_cluster",
    "is_of_its_keys",
    "is_same_login",
    "layer_pool",
    "server_of",
    "server_of_host",
    "translated",
]
