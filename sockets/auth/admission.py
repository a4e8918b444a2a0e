"""How fast they may come in: what is refused before anything is known of a peer.

    a client's handshake    CONNECT_RATE of its address, NODE_CONNECT_RATE of the node
    an HTTP request         MAX_REQUESTS at once of each surface, a share of them of one client

Refused with 503 and no more: a flood must cost less to refuse than to make. Each refusal is
counted; the audit log, which has a bound of its own, says from where.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sockets.base import audit, metrics
from sockets.base.client_address import neighbourhood
from sockets.base.rate import Bucket, Buckets
from sockets.conf import Conf
from sockets.protocol.places import Places
from sockets.types import AtDoor, Audit, Surface

MAX_ADDRESSES: Final = 10_000
"""Addresses whose rate is known."""

SHARES: Final = 4
"""One address of the public surface has at most this part of MAX_REQUESTS."""

_REASONS: Final = {
    AtDoor.ADDRESS_RATE: "too many connections from this address",
    AtDoor.NODE_RATE: "too many connections to this node",
    AtDoor.REQUESTS: "too many requests at once",
    AtDoor.SLOW: "the request did not come in time",
    AtDoor.CROWDED: "too many connections without a request",
    AtDoor.HEADER: "the request's head is too large",
    AtDoor.BODY: "the request's body is too large",
    AtDoor.BODY_MEMORY: "too many bodies at once",
    AtDoor.MALFORMED: "the request cannot be read",
    AtDoor.IDLE: "too many connections are kept without a request",
    AtDoor.FILES: "the process has no more open files for this port",
}


class Door:
    """Of one node. `clock`: monotonic seconds."""

    def __init__(self, conf: Conf, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        rate, burst = conf.connect_rate, conf.connect_burst
        self._addresses = Buckets(rate=rate, burst=burst, most=MAX_ADDRESSES) if rate else None
        rate, burst = conf.node_connect_rate, conf.node_connect_burst
        self._node = Bucket(clock(), rate=rate, burst=burst) if rate else None
        self._requests = _requests_of(conf.max_requests) if conf.max_requests else None

    def refuses_handshake(self, host: str) -> bool:
        """Whether there are too many of them now. `host` "": not known."""
        now = self._clock()
        if self._addresses and host and self._addresses.take(neighbourhood(host), now):
            turned_away(AtDoor.ADDRESS_RATE, Surface.PUBLIC, host, 503)
            return True
        if self._node is not None and not self._node.take(now):
            turned_away(AtDoor.NODE_RATE, Surface.PUBLIC, host, 503)
            return True
        return False

    def begin_request(self, surface: Surface, host: str) -> bool:
        """Whether there is room for one more; if so, `end_request` gives it back."""
        if self._requests and not self._requests[surface].take(neighbourhood(host)):
            turned_away(AtDoor.REQUESTS, surface, host, 503)
            return False
        return True

    def end_request(self, surface: Surface, host: str) -> None:
        """One has been answered."""
        if self._requests:
            self._requests[surface].give_back(neighbourhood(host))


def _requests_of(most: int) -> dict[Surface, Places]:
    """Of each surface its own: who reads a page slowly keeps no backend from the API. Strangers
    have shares; a backend, which is one address, may need all."""
    share = max(1, most // SHARES)
    return {
        surface: Places(most, most if surface is Surface.PRIVATE else share) for surface in Surface
    }


def turned_away(why: AtDoor, surface: Surface, host: str, code: int | None = None) -> None:
    """Count and record it. `code`: the HTTP status that the peer gets; None: it is cut."""
    metrics.turned_away[why].inc()
    audit.record(
        Audit.REFUSED,
        surface=surface.value,
        code="" if code is None else code,
        reason=_REASONS[why],
        address=host,
    )
