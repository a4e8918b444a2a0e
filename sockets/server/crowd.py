"""Handshakes that waited in the kernel's queue while more came than are served.

The queue is first come, first served. Behind it whoever is at its head has waited almost as long
as its patience is, and leaves in the middle of being served: a node that is short of time spends
all of it on connections that are gone, and for as long as they come back. So who has gone is not
served, and while the queue stays long, whoever waited for long comes back later, when it is short.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final

LONG: Final = 5.0
"""Seconds of waiting that are long: the least patient of known clients waits for ten in all."""

STAYS: Final = 1.0
"""Seconds of nothing but long waits after which the queue is not a passing one, as after a moment
in which this process stood still."""

_LAST_DATA: Final = struct.Struct("=52xI")
"""Of Linux' `struct tcp_info`: milliseconds since the peer's last data came."""


class Queue:
    """What is known of the kernel's queue by those who come out of it. `clock`: monotonic
    seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._long_since: float | None = None

    def is_too_long(self, waited: float) -> bool:
        """Whether one who has waited for so many seconds should come back later."""
        if waited < LONG:
            self._long_since = None
            return False
        now = self._clock()
        if self._long_since is None:
            self._long_since = now
        return now - self._long_since >= STAYS


def waited(connection: Any) -> float:
    """Return the seconds since a request came that has been read just now; 0 where the system does
    not say it."""
    if sys.platform != "linux":
        return 0.0
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
        return int(_LAST_DATA.unpack(info)[0]) / 1000
    except (OSError, struct.error):  # a Unix socket, or the connection is gone
        return 0.0


def is_gone(connection: Any) -> bool:
    """Return whether the peer has closed, now that all is read that it has sent before."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
