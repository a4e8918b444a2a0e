"""When the server gives up waiting for an application whose peer has gone."""

from __future__ import annotations

import subprocess
import sys

LOOKED_AT = """
import sockets.server.reactor
import daphne.server
from sockets.base.timetable import NOT_LISTED, Timetable
from sockets.server import daphne as ours

class Clocks:
    def __init__(self):
        self.wall, self.steady = 1_800_000_000.0, 100.0
    def time(self):
        return self.wall
    def monotonic(self):
        return self.steady

class Peer:
    slot = NOT_LISTED

class Application:
    cancelled = False
    def done(self):
        return False
    def cancel(self):
        self.cancelled = True

for set_by in (0, -3600, 3600):
    clocks, peer, application = Clocks(), Peer(), Application()
    ours.time = daphne.server.time = clocks
    server = object.__new__(ours.GatewayServer)
    server.application_close_timeout = 10
    server.timetable = Timetable(1, clocks.monotonic, clocks.time)
    server.connections = {peer: {"application_instance": application}}
    server.protocol_disconnected(peer)
    clocks.steady += 5
    clocks.wall += 5 + set_by
    server.protocol_disconnected(peer)  # which is no news
    server._look_at(peer)
    early = application.cancelled
    clocks.steady += 6
    clocks.wall += 6
    server._look_at(peer)
    print(early, application.cancelled)
"""


def test_an_application_gets_its_time_to_end_by_a_clock_that_nobody_sets() -> None:
    # In a process of its own: the server's reactor is installed before any other.
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_AT], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.splitlines() == ["False True"] * 3, done.stderr
