"""Attacks with real sockets, and what another user's notifications notice of them.

Each attack is made by a process of its own: the clock is read here, and the attacker's work must
not be in it. What is printed is the time from `notify` to the tab's receipt, quiet and attacked.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.support.gateway import ROOT, SHORT, Gateway, running, starved, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import Peer, client_at, http_get, worker
from tests.support.scale import SOAK, scaled

COUNT = {
    "half_open": scaled(500, 100),
    "drip": scaled(200, 50),
    "burst": scaled(5_000, 500),
    "huge": scaled(20, 5),
    "many_frames": scaled(20, 5),
    "pings": scaled(10, 3),
    "deaf": scaled(50, 10),
}
ATTACK = 10.0 if SOAK else 2.0
"""Seconds."""

RATE = 20
"""Notifications a second."""

BOUND = 1.0
"""Seconds within which 99 of 100 notifications must arrive, whatever the others do."""

LIMITS = SHORT | {
    "CLIENT_RATE": "50",
    "CLIENT_BURST": "200",
    "USER_RATE": "200",
    "CONNECT_RATE": "20",
    "CONNECT_BURST": "200",
    "NODE_CONNECT_RATE": "1000",
    "HANDSHAKE_TIMEOUT": "2",
    "MAX_PENDING": "300",
    "SESSIONS_PER_ADDRESS": "500",
    # A ping finds whoever is gone; here it must not hide that nothing else did.
    "HEARTBEAT": "200",
}


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("fortress"), **LIMITS) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log and "failed;" not in log, log[-5_000:]


class Victim:
    """A tab at another address, and a worker that notifies it."""

    def __init__(self, gateway: Gateway, tab: Peer, helper: Peer) -> None:
        self.gateway = gateway
        self.tab = tab
        self.helper = helper

    def clock(self) -> float:
        """Seconds, which stand still while the machine has other work for the cores.

        Too lenient, never too strict: where both processes waited at the same time that counts
        twice, and it does not matter whether the attacker took the core.
        """
        return time.perf_counter() - self.gateway.starved() - starved(os.getpid())

    async def latencies(self, seconds: float) -> list[float]:
        """Seconds from each notification to its receipt, ascending."""
        sent: dict[str, float] = {}
        found: list[float] = []
        count = int(seconds * RATE)

        async def receive() -> None:
            while len(found) < count:
                frame = await self.tab.receive(60)
                found.append(self.clock() - sent[frame["data"]])

        receiving = asyncio.ensure_future(receive())
        begin = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0, begin + number / RATE - time.perf_counter()))
            name = f"{number}"
            sent[name] = self.clock()
            await self.helper.send(type="notify", user="victim", event="e", data=name)
        await receiving
        return sorted(found)


@asynccontextmanager
async def victim(gateway: Gateway) -> AsyncIterator[Victim]:
    url = gateway.client_url(user_id="victim")
    tab = await client_at(url, local_addr=("127.0.0.250", 0))
    yield Victim(gateway, tab, await worker(gateway))
    await tab.close()


def percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def sessions(gateway: Gateway) -> float:
    text = http_get(gateway.worker_port, "/metrics")[1].decode()
    lines = [line for line in text.splitlines() if line.startswith("gateway_sessions{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.mark.timeout(scaled(300, 120))
@pytest.mark.parametrize("attack", list(COUNT))
async def test_others_are_served_meanwhile(fortress: Gateway, attack: str) -> None:
    async with victim(fortress) as served:
        quiet = await served.latencies(ATTACK / 2)
        size, files, live = fortress.rss(), descriptors(fortress), sessions(fortress)
        attacker = subprocess.Popen(  # noqa: ASYNC220 - a moment, before anything is measured
            [
                sys.executable,
                "-m",
                "tests.acceptance.attacker",
                attack,
                f"{fortress.client_port}",
                f"{COUNT[attack]}",
                f"{ATTACK}",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert attacker.stdout is not None
            await asyncio.to_thread(attacker.stdout.readline)  # it has begun
            hard = await served.latencies(ATTACK)
            peak = fortress.rss()
            told, _ = await asyncio.to_thread(attacker.communicate, timeout=60)
        finally:
            attacker.kill()
            attacker.wait()
        assert attacker.returncode == 0, told
        numbers = [percentile(values, 0.99) for values in (quiet, hard)]
        medians = [percentile(values, 0.5) for values in (quiet, hard)]
        print(  # noqa: T201
            f"\n{attack} x {COUNT[attack]}: "
            f"p50 {medians[0] * 1e3:.1f} -> {medians[1] * 1e3:.1f} ms, "
            f"p99 {numbers[0] * 1e3:.1f} -> {numbers[1] * 1e3:.1f} ms "
            f"(x{numbers[1] / numbers[0]:.1f}); +{(peak - size) / 2**20:.0f} MB; {told.strip()}"
        )
        assert numbers[1] < max(BOUND, 20 * numbers[0])
        assert peak - size < (100 + (COUNT[attack] / 10 if attack == "burst" else 0)) * 2**20
        # All of it is gone again.
        wait_for(lambda: sessions(fortress) <= live, "the attacker's sessions to end", PATIENCE)
        wait_for(lambda: descriptors(fortress) <= files + 3, "its sockets to be closed", PATIENCE)
        assert (await served.tab.ask(type="sessions"))["ok"]
