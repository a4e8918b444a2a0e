"""Redis: clients, names of keys, scripts, and its errors as ours."""

from sockets.redis.addresses import SentinelGroup
from sockets.redis.clients import (
    close,
    close_sentinels,
    connect,
    connect_sync,
    layer_pool,
)
from sockets.redis.errors import translated
from sockets.redis.keys import Keys
from sockets.redis.scripts import BATCH, Call, Script, batches

__all__ = [
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
    "layer_pool",
    "translated",
]
