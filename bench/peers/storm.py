"""A node dies under its clients: how long until all are back, and whether they missed anything.

10,000 clients, each of a user and from one of 500 addresses, are at one node; a second node is
empty. While every user is sent a durable message the first node is killed (kill -9). The clients
return as the browser client does, with their position and full jitter over a back-off that doubles
from half a second (`docs/reference/protocol.md`), to the other node, whose limits are the default.
A peer takes part as far as it can: its clients have no position, and what they miss is counted.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.peers.contestants import Contestant
from bench.peers.figures import Samples
from bench.peers.running import OF_A_COMMAND, SINCE_START, Service, loaded
from tests.support.valkey import Server

FIRST, LONGEST, HANDSHAKE = 500, 30_000, 15_000
"""Milliseconds of the back-off of `sockets/static/sockets/gateway.js`, and of its patience."""

RATE = 500
GIVEN_UP, GIVEN_UP_BY_PEERS = 120, 30
"""Seconds after which nobody waits any more for those who are not back, or for their message: at a
peer some never come."""


def storm(
    contestant: Contestant, program: Path, note: Samples, tally: Counter[str], clients: int
) -> None:
    """Measure one storm, with as many clients; `tally` counts as in a round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="peers-")))
        redis = Server()
        stack.callback(redis.stop)
        first, second = (Service(contestant, folder / name, redis) for name in "ab")
        stack.callback(first.kill)
        stack.callback(second.kill)
        load = stack.enter_context(loaded(contestant, program, folder, first, redis, 1))
        for _ in range(clients // 1000):
            began = time.monotonic()
            tally["failed"] += load.ask("open 1000 64", 60)["failed"]
            time.sleep(max(0, began + 1.1 - time.monotonic()))  # NODE_CONNECT_RATE is in force
        durable = "durable" in contestant.kinds
        patience = GIVEN_UP if durable else GIVEN_UP_BY_PEERS
        for name in ("patience", "deadline"):
            load.ask(f"number {name} {patience}")
        load.acknowledge(contestant.ack)
        load.ask(f"comeback {second.port} {FIRST} {LONGEST} {HANDSHAKE}")
        command = f"publish {contestant.kinds[0]} user {clients} {RATE}"
        load.begin(command)
        time.sleep(2)
        first.kill()
        answer = load.answer(command, patience + 60)
    tally.update(counted(answer, durable=durable))
    tally["failed"] += answer["away"]
    note["storm seconds"].append(math.inf if answer["away"] else answer["back_seconds"])
    note["storm missed"].append(answer["lost"])


def counted(answer: Mapping[str, int], *, durable: bool) -> dict[str, int]:
    """Return what an answer of the load generator counts as of a round.

    What was lost counts where it was `durable`: who promised nothing has done nothing wrong, and
    "storm missed" says how many they were.
    """
    told = (*OF_A_COMMAND, *SINCE_START)
    return {name: answer[name] for name in told if durable or name != "lost"}
