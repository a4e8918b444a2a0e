"""Handshakes that waited in the kernel's queue because more come than are served.

That queue is first come, first served. Once it is long, whoever is served next has waited almost as
long as a client has patience, and leaves in the middle: a node that is short of time spends all of
it on connections that are gone, and for as long as they come back. So a peer that has gone is not
served, and while most waits are long, whoever waited long comes back later, when the queue is
short.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final

LONG: Final = 9.0
"""Seconds of waiting that are long: the Python package gives a handshake ten. To send people away
sooner costs more than it saves: they come back while there are still others."""

SPAN: Final = 1.0
"""Seconds of which most waits have to be long: more than a moment in which this process stood
still, after which all who came meanwhile are served at once."""

_INFO: Final = struct.Struct("=B51xI")
"""Of Linux' `struct tcp_info`: the state, and milliseconds since the peer's last data came."""

_CLOSE, _CLOSE_WAIT = 7, 8  # the peer has reset the connection; it has closed it


class Waits:
    """How long those have waited whose turn it was lately. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()  # the span that goes on
        self._long = self._short = 0  # in it
        self._was_behind = False  # in the span before

    def note(self, waited: float) -> bool:
        """Take in one wait, in seconds. Returns whether that peer should come back later."""
        passed = self._clock() - self._began
        if passed >= SPAN:
            # A span that nobody followed says nothing of now.
            self._was_behind = self._long > self._short and passed < 2 * SPAN
            self._began += passed
            self._long = self._short = 0
        is_long = waited >= LONG
        self._long += is_long
        self._short += not is_long
        return is_long and self._was_behind


def look_at(connection: Any) -> tuple[bool, float]:
    """Return whether the peer of a request that has been read just now has closed, if only its half
    of the connection, and the seconds since the request came; 0 where the system does not say it.
    """
    if sys.platform == "linux":
        try:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
            state, waited = _INFO.unpack(info)
        except (OSError, struct.error):  # a Unix socket, or it is closed
            pass
        else:
            return state in (_CLOSE, _CLOSE_WAIT), waited / 1000
    return _is_gone(connection), 0.0


def _is_gone(connection: Any) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
