"""Admission limits: what is refused before a session exists.

    a client's handshake    CONNECT_RATE of its address, NODE_CONNECT_RATE of the node
    an HTTP request         MAX_REQUESTS at once of each surface, a share of them of one client

Refused with 503 and no more: a flood must cost less to refuse than to make. Each refusal is
counted; the audit log, which has a bound of its own, says from where. Of those who left by
themselves before their turn came (`Refusal.GONE`) there is only a count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sockets.base import audit, metrics, refusals
from sockets.base.client_address import neighbourhood
from sockets.base.rate import Bucket, Buckets
from sockets.conf import Conf
from sockets.protocol.places import Places
from sockets.types import Audit, Kind, Refusal, Surface

MAX_ADDRESSES: Final = 10_000
"""Addresses whose rate is known."""

SHARES: Final = 4
"""One address of the public surface has at most this part of MAX_REQUESTS."""

_REASONS: Final = {
    Refusal.ADDRESS_RATE: "too many connections from this address",
    Refusal.NODE_RATE: "too many connections to this node",
    Refusal.REQUESTS: "too many requests at once",
    Refusal.SLOW: "the request did not come in time",
    Refusal.CROWDED: "too many connections without a request",
    Refusal.HEADER: "the request's head is too large",
    Refusal.BODY: "the request's body is too large",
    Refusal.BODY_MEMORY: "too many bodies at once",
    Refusal.MALFORMED: "the request cannot be read",
    Refusal.IDLE: "too many connections are kept without a request",
    Refusal.FILES: "the process has no more open files for this port",
    Refusal.LATE: "the request waited for too long until it was read",
}

_OF_CONNECTIONS: Final = frozenset(
    {
        *(Refusal.ADDRESS_RATE, Refusal.NODE_RATE, Refusal.SLOW, Refusal.CROWDED),
        *(Refusal.HEADER, Refusal.MALFORMED, Refusal.FILES, Refusal.LATE),
    }
)
"""What may keep somebody from connecting, and is told to operators."""


class Admission:
    """The limits of one node. `clock`: monotonic seconds."""

    def __init__(self, conf: Conf, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        rate, burst = conf.connect_rate, conf.connect_burst
        self._addresses = Buckets(rate=rate, burst=burst, most=MAX_ADDRESSES) if rate else None
        rate, burst = conf.node_connect_rate, conf.node_connect_burst
        self._node = Bucket(clock(), rate=rate, burst=burst) if rate else None
        self._requests = _requests_of(conf.max_requests) if conf.max_requests else None

    def refuses_handshake(self, host: str) -> bool:
        """Whether this address or the node has too many handshakes now. `host` "": not known."""
        now = self._clock()
        if self._addresses and host and self._addresses.take(neighbourhood(host), now):
            record_refusal(Refusal.ADDRESS_RATE, Surface.PUBLIC, host, 503)
            return True
        if self._node is not None and not self._node.take(now):
            record_refusal(Refusal.NODE_RATE, Surface.PUBLIC, host, 503)
            return True
        return False

    def begin_request(self, surface: Surface, host: str) -> bool:
        """Whether there is a place for one more request; if so, `end_request` gives it back."""
        if self._requests and not self._requests[surface].take(neighbourhood(host)):
            record_refusal(Refusal.REQUESTS, surface, host, 503)
            return False
        return True

    def end_request(self, surface: Surface, host: str) -> None:
        """Give the place of a request back: it has been answered."""
        if self._requests:
            self._requests[surface].give_back(neighbourhood(host))


def _requests_of(most: int) -> dict[Surface, Places]:
    """Return the places for requests of each surface. Each has its own: who reads a page slowly
    keeps no backend from the API. Strangers have shares; a backend, which is one address, may need
    all."""
    share = max(1, most // SHARES)
    return {
        surface: Places(most, most if surface is Surface.PRIVATE else share) for surface in Surface
    }


def record_refusal(why: Refusal, surface: Surface, host: str, code: int | None = None) -> None:
    """Count a refusal and write it into the audit log.

    `code`: the HTTP status that the peer gets; None: it is cut.
    """
    metrics.refused[why].inc()
    audit.record(
        Audit.REFUSED,
        surface=surface.value,
        code="" if code is None else code,
        reason=_REASONS[why],
        address=host,
    )
    if why in _OF_CONNECTIONS:
        kind = Kind.WORKER if surface is Surface.PRIVATE else Kind.CLIENT
        refusals.note(kind, code or 0, _REASONS[why], address=host)
