"""A contestant that runs, alone on its core, with a Redis and a load generator on the others."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.peers.contestants import Contestant
from bench.peers.load import Load, LoadFailed
from bench.peers.machine import cores, cpu, die_with_us, memory, on
from tests.support.gateway import wait_for
from tests.support.valkey import Server

ADDRESSES = 500
"""Loopback addresses that clients come from: limits for one address are not in the way."""

WINDOW = 64
"""Handshakes, or requests, that are under way at a time."""

PATIENCE = 15
"""Seconds without any news after which what has not come counts as lost."""

MANY = 15_100
"""Users that get tokens: more than there are clients."""


class Service:
    """A process of a contestant. `kill` ends it as kill -9 does."""

    def __init__(self, contestant: Contestant, folder: Path, redis: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        folder.mkdir(parents=True)
        self.environment = contestant.environment(folder, redis.url, self.port)
        self._log = folder / "log"
        with on(cores()[0]), self._log.open("wb") as log:
            self._process = subprocess.Popen(
                contestant.command(self.port),
                cwd=contestant.working_folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_us,
            )
        self.pid = self._process.pid
        wait_for(self._listens, f"{contestant.title} to listen; it wrote: {self.log()}", 30)

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        """Return the end of what it wrote."""
        return self._log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Used:
    """What happened between two moments: seconds of CPU and of time, and the generator's answer."""

    node: float
    redis: float
    seconds: float
    answer: dict[str, Any]

    def each(self, count: int) -> tuple[float, float]:
        """Return microseconds of CPU of the service and of Redis, for each of so many."""
        return self.node / count * 1e6, self.redis / count * 1e6


class Running:
    """A contestant and its load. `tally` counts what went wrong, and what did not."""

    def __init__(self, contestant: Contestant, service: Service, redis: Server, load: Load) -> None:
        self.contestant, self.service, self.load = contestant, service, load
        assert redis.process is not None
        self._redis_pid = redis.process.pid
        self._since_start: dict[str, Any] = {}
        self._tally: Counter[str] = Counter()

    def do(self, command: str, seconds: float = 90) -> Used:
        """Carry out a command of the load generator, and measure what it costs. Raises LoadFailed
        where clients could not do what they should; wrong deliveries are only counted."""
        before = self._clocks()
        answer = self.load.ask(command, seconds)
        used = self._since(before, answer)
        self._count(answer)
        if answer["failed"]:
            title, why = self.contestant.title, answer["why"]
            raise LoadFailed(f"{title}: {answer['failed']} clients failed at {command!r}: {why}")
        return used

    def acknowledge(self, whether: bool) -> None:
        """Let clients acknowledge durable messages from now on, or not any more."""
        self.load.acknowledge(self.contestant.ack if whether else b"")

    def idle(self, seconds: float) -> Used:
        """Do nothing for so long; clients answer pings."""
        before = self._clocks()
        time.sleep(seconds)
        return self._since(before, {})

    def memory(self) -> float:
        """Return the KB that the service holds."""
        return memory(self.service.pid)

    def wait_for_late_ones(self) -> None:
        """Count what comes although everything has come."""
        self.idle(0.1)
        self.do("stats")

    @property
    def tally(self) -> Counter[str]:
        """Return how many deliveries were right, and how many were wrong in which way."""
        whole = self._tally.copy()
        whole.update({name: self._since_start.get(name, 0) for name in SINCE_START})
        return whole

    def _count(self, answer: dict[str, Any]) -> None:
        self._tally.update({name: answer[name] for name in OF_A_COMMAND})
        self._since_start = answer

    def _clocks(self) -> tuple[float, float, float]:
        return cpu(self.service.pid), cpu(self._redis_pid), time.monotonic()

    def _since(self, before: tuple[float, float, float], answer: dict[str, Any]) -> Used:
        node, redis, now = self._clocks()
        return Used(node - before[0], redis - before[1], now - before[2], answer)


OF_A_COMMAND = ("received", "lost", "failed")
SINCE_START = ("doubled", "misdirected", "stray", "dropped")


def wrong(tally: Counter[str]) -> bool:
    """Return whether any delivery was not right, or a client was lost."""
    return any(count for name, count in tally.items() if name != "received")


@contextmanager
def running(contestant: Contestant, program: Path, per_user: int) -> Iterator[Running]:
    """Start a contestant with an empty Redis; on leaving everything is gone.

    `program`: the load generator. `per_user`: the clients of one user.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="peers-")))
        redis = Server()
        stack.callback(redis.stop)
        service = Service(contestant, folder / "a", redis)
        stack.callback(service.kill)
        load = stack.enter_context(loaded(contestant, program, folder, service, redis, per_user))
        yield Running(contestant, service, redis, load)


@contextmanager
def loaded(
    contestant: Contestant,
    program: Path,
    folder: Path,
    service: Service,
    redis: Server,
    per_user: int,
) -> Iterator[Load]:
    """Start the load generator, and teach it the contestant's dialect."""
    publications = contestant.templates(redis.port, service.environment)
    numbers = {"port": service.port, "redis": redis.port, "per_user": per_user}
    numbers |= {"addresses": ADDRESSES, "patience": PATIENCE}
    templates = {**contestant.dialect, **publications}
    with Load(program, templates, **numbers) as load:
        if tokens := contestant.tokens(MANY):
            (folder / "tokens").write_text("\n".join(tokens) + "\n")
            load.ask(f"tokens {folder / 'tokens'}")
        yield load
