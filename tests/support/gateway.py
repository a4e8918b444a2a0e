"""A real gateway process for tests: started on free ports, stopped by pid, its log kept."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.support import warm
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
JWT_SECRET = "test-jwt-secret-of-more-than-32-bytes"
WORKER_KEY = "test-worker-secret"
API_KEY = "test-api-secret"

SHORT = {
    "SLOW_TIMEOUT": "1",
    "CLOSE_TIMEOUT": "1",
    "SHUTDOWN_GRACE": "4",
    "DRAIN_SECONDS": "1",
    # Renewal repairs what a signal lost; here it must not hide that one was.
    "LEASE_RENEW": "100",
    "LEASE_TTL": "300",
}
"""Patience that a test can wait for."""

T = TypeVar("T")

_migrated: dict[Path, bytes] = {}
"""Databases with the tables of each checkout."""


def base_environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """What a gateway of the tests gets: nothing of this machine's settings, short patience."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "ENV_FILE": str(data_dir / "none.env"),
        "ENVIRONMENT": "test",
        "LOG_LEVEL": "info",
        "DATA_DIR": str(data_dir),
        "NODE_NAME": "test-node",
        "AUTH": "jwt,insecure",
        "JWT_SECRET": JWT_SECRET,
        "WORKER_KEYS": f"tester:{WORKER_KEY},other:other-worker-secret",
        "API_KEYS": f"backend:{API_KEY}",
        "RECORDER_INTERVAL": "0.1",
        "READY_LAG": "0",
        "CLIENT_RATE": "0",  # floods have tests of their own
        "WORKER_RATE": "0",
        "USER_RATE": "0",
        "CONNECT_RATE": "0",
        "NODE_CONNECT_RATE": "0",
        "SESSIONS_PER_ADDRESS": "0",
        "API_RATE": "0",
        "DRAIN_SECONDS": "0.3",
        "PYTHONWARNINGS": "default",
        **extra,
    }


def wait_for(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true value of `condition`; fails with `what` after a deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(0.02)
    return value


def starved(pid: int) -> float:
    """Return the seconds that a process' main thread was ready to run, and other work did."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def deprecations(log: str) -> list[str]:
    """What a process was told that our modules do in an old way (Django: with `stacklevel`)."""
    return re.findall(r"^.*/(?:sockets|gateway)/\S+\.py:\d+: \w*(?:Deprec|RemovedIn).*", log, re.M)


class Gateway:
    """One process. `command`: how it is started, `--client-port` and so on included."""

    folder = ROOT
    """The project's, where it is started."""

    may_be_warm = warm.WANTED
    """Whether `begin`, `start` and `manage` may begin with other packages imported."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / "none.env").touch()
        self.environment = base_environment(data_dir, **environment)
        self.log_path = data_dir / "gateway.log"
        self.process: warm.Process | None = None
        self.client_port = self.worker_port = 0

    # --- life

    def migrate(self) -> None:
        """Give it the tables: a copy of those that this checkout's first gateway made."""
        if "DATABASE_URL" in self.environment:
            self.manage("migrate", "--verbosity", "0")
            return
        file = self.data_dir / "gateway.sqlite3"
        if self.folder not in _migrated:
            self.manage("migrate", "--verbosity", "0")
            _migrated[self.folder] = file.read_bytes()  # its process is gone, so is the WAL
        elif not file.exists():
            file.write_bytes(_migrated[self.folder])

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return warm.python(
            ["manage.py", *arguments],
            self.folder,
            self.environment,
            check=check,
            may_be_warm=self.may_be_warm,
        )

    def spawn(self, *command: str) -> warm.Process:
        """Start `python …`, its output appended to the log."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process

    def begin(self, *command: str) -> None:
        """Start `python …` as `spawn` does, with other packages imported where it may."""
        if self._begins_warm():
            with self.log_path.open("ab") as log:
                self.process = warm.Forked(command, self.folder, self.environment, log, log)
        else:
            self.spawn(*command)

    def start(self) -> None:
        """`manage.py serve` on free ports, or on those it had before; returns when it is ready."""
        ports = self.data_dir / "ports.json"
        ports.unlink(missing_ok=True)
        command = (
            "manage.py",
            "serve",
            f"--client-port={self.client_port}",
            f"--worker-port={self.worker_port}",
            f"--ports-file={ports}",
        )
        self.begin(*command)
        wait_for(lambda: ports.exists() or self.ended(), "the gateway to listen", PATIENCE)
        assert ports.exists(), self.log()
        found = json.loads(ports.read_text())
        self.client_port, self.worker_port = found["client_port"], found["worker_port"]

    def _begins_warm(self) -> bool:
        return self.may_be_warm and warm.fits(self.environment)

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def listens(self) -> bool:
        """Whether the client port accepts."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.client_port)) == 0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if not self.ended():
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and not self.ended():
            self.signal(signal.SIGKILL)
            self.wait()

    # --- looking at it

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def rss(self) -> int:
        """Resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def starved(self) -> float:
        """Return the seconds that its event loop could have worked and had no core to do it on."""
        return starved(self.pid)

    def turned_away(self, why: str) -> float:
        """Return how many were refused before they were served, for this reason."""
        with urlopen(f"http://127.0.0.1:{self.worker_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        (line,) = [
            line for line in text.splitlines() if f'turned_away_total{{why="{why}"}}' in line
        ]
        return float(line.rpartition(" ")[2])

    def rows(self, where: str = "1 = 1", *values: object) -> list[dict[str, Any]]:
        """Session rows, oldest first."""
        with sqlite3.connect(self.data_dir / "gateway.sqlite3", timeout=20) as database:
            database.row_factory = sqlite3.Row
            found = database.execute(
                f"select * from sockets_session where {where} order by connected_at, id", values
            )
            return [dict(row) for row in found]

    # --- addresses

    def client_url(self, **params: str) -> str:
        return _url(self.client_port, params)

    def worker_url(self, **params: str) -> str:
        return _url(self.worker_port, params)

    def http(self, path: str, *, private: bool = False) -> str:
        return f"http://127.0.0.1:{self.worker_port if private else self.client_port}{path}"


def _url(port: int, params: dict[str, str]) -> str:
    return f"ws://127.0.0.1:{port}/?{urlencode(params)}"


@contextmanager
def running(data_dir: Path, **environment: str) -> Iterator[Gateway]:
    """A migrated gateway that is ready; on leaving it is stopped, by force if need be."""
    gateway = Gateway(data_dir, **environment)
    try:
        gateway.migrate()
        gateway.start()
        yield gateway
    finally:
        _end(gateway)
    assert not (old := deprecations(gateway.log())), old


@contextmanager
def uvicorn(
    data_dir: Path, application: str = "gateway.asgi:application", **environment: str
) -> Iterator[Gateway]:
    """The same application on uvicorn, both surfaces on one port (told apart by path)."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    environment |= {"SURFACE": "both", "CLIENT_SOCKET_URL": url, "WORKER_SOCKET_URL": url}
    with _other_server(
        data_dir,
        port,
        environment,
        "-m",
        "uvicorn",
        application,
        f"--port={port}",
        "--lifespan=on",
        "--no-access-log",
    ) as gateway:
        yield gateway


@contextmanager
def plain_daphne(data_dir: Path, **environment: str) -> Iterator[Gateway]:
    """The same application on stock daphne."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment |= {"SURFACE": "both"}
    with _other_server(
        data_dir, port, environment, "-m", "daphne", f"--port={port}", "gateway.asgi:application"
    ) as gateway:
        yield gateway


@contextmanager
def _other_server(
    data_dir: Path, port: int, environment: dict[str, str], *command: str
) -> Iterator[Gateway]:
    gateway = Gateway(data_dir, **environment)
    gateway.client_port = gateway.worker_port = port
    try:
        gateway.migrate()
        gateway.begin(*command)
        wait_for(lambda: gateway.ended() or gateway.listens(), "the server to listen", PATIENCE)
        assert not gateway.ended(), gateway.log()
        yield gateway
    finally:
        _end(gateway)


def _end(gateway: Gateway) -> None:
    if gateway.process is not None:
        if not gateway.ended():
            gateway.signal(signal.SIGTERM)
        try:
            gateway.wait(15)
        except subprocess.TimeoutExpired:
            gateway.kill()
