"""Who does the calls of a process that is no gateway: in this order

its own node        (not here: `sockets.node.current`)
a test's outbox     where Django's test environment is set up
Redis               (not here: `remote.py`)
GATEWAY_URL         the gateway's private port, by a key
node.json           the gateway beside it, in development
"""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol

from sockets.api import beside, outbox
from sockets.api.calls import Call
from sockets.api.over_http import OverHttp
from sockets.conf import Conf, get_conf
from sockets.exceptions import GatewayUnreachable
from sockets.node.core import Addresses
from sockets.node.current import current_node


class Way(Protocol):
    """Does calls in the place of a node. `given`: arguments in their plain form."""

    def call(self, call: Call, given: dict[str, Any], id: str) -> Any:
        """Do one in this thread."""

    async def acall(self, call: Call, given: dict[str, Any], id: str) -> Any:
        """Do one on this loop."""


def elsewhere() -> Way | None:
    """Return who does this process' calls; None: its node, or Redis. Raises GatewayUnreachable."""
    if current_node() is not None:
        return None
    if outbox.in_use():
        return outbox.WAY
    conf = get_conf()
    if conf.redis_url:
        return None
    if conf.gateway_url:
        return _by_url(conf)
    return _beside(conf)


def addresses() -> Addresses:
    """Return where the gateway takes sockets, for a process without a node. Raises
    GatewayUnreachable."""
    conf = get_conf()
    if outbox.in_use() or conf.redis_url or conf.gateway_url:
        return Addresses.of(conf)
    found = _file(conf)
    return Addresses(found.client_socket_url, found.worker_socket_url)


_lock = threading.Lock()
_known: dict[tuple[str, str], OverHttp] = {}


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def _by_url(conf: Conf) -> Way:
    url = f"{conf.gateway_url.rstrip('/')}{conf.api_path}"
    return _one(url, conf.gateway_key, "is GATEWAY_URL its private port, and does it run?")


def _file(conf: Conf) -> beside.Beside:
    if conf.environment == "production":
        raise GatewayUnreachable
    return beside.read(conf)


def _beside(conf: Conf) -> Way:
    found = _file(conf)
    return _one(found.url, found.key, "start `python manage.py serve` again")


def _one(url: str, key: str, remedy: str) -> Way:
    with _lock:
        way = _known.get((url, key))
        if way is None:
            if len(_known) > 8:  # gateways that were started again and again
                _known.clear()
            way = _known[url, key] = OverHttp(url, key, remedy)
    return way
