"""Signals: from the first moment, as process 1, ignored ones, and Ctrl-C in development."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateway import ROOT, SHORT, Gateway, running, wait_for
from tests.support.peers import RawClient, client, http_get

SERVE = ("manage.py", "serve", "--client-port=0", "--worker-port=0")
DELAYS = (0.0, 0.1, 0.3, 0.6, 0.9, 1.2, 1.5, 2.0, 3.0)
PATIENT = SHORT | {"READY_LAG": "40", "DRAIN_SECONDS": "40", "SHUTDOWN_GRACE": "40"}
"""Whoever drains is not done while a test runs."""

pytestmark = pytest.mark.usefixtures("from_the_very_start")


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


@contextmanager
def as_process_1(gateway: Gateway) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`serve` in a PID namespace of its own, and its process id out here."""
    with gateway.log_path.open("ab") as log:
        outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", sys.executable, *SERVE],
            cwd=ROOT,
            env=gateway.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    try:
        yield outer, int(wait_for(lambda: children.read_text().split(), "its child")[0])
    finally:
        outer.kill()
        outer.wait()


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="needs PID namespaces")
@pytest.mark.parametrize("delay", DELAYS)
def test_process_1_ends_whenever_it_is_told(tmp_path: Path, delay: float) -> None:
    """The kernel gives process 1 no signal without a handler: one sent before would be lost."""
    gateway = Gateway(tmp_path / "data", **SHORT)
    gateway.migrate()
    with as_process_1(gateway) as (outer, pid):
        wait_for(lambda: catches(pid, signal.SIGTERM), "a handler")
        assert "is ready" not in gateway.log()
        time.sleep(delay)  # what is tested
        os.kill(pid, signal.SIGTERM)
        assert outer.wait(15) == 0
    assert "Traceback" not in gateway.log(), gateway.log()


def test_it_listens_before_it_imports_django() -> None:
    script = (
        "import signal, sys, manage\n"
        "slow = [m for m in sys.modules if m.startswith(('django', 'twisted', 'asgiref'))]\n"
        "assert not slow, slow\n"
        "import django.core.management as commands\n"
        "commands.execute_from_command_line = lambda argv: None\n"
        "manage.main(['manage.py', 'serve'])\n"
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
        "    assert signal.getsignal(number).__module__ == 'sockets.server.early'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_node_that_waits_for_redis_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        gateway = Gateway(tmp_path / "data", **SHORT, REDIS_URL=url)
        gateway.migrate()
        gateway.spawn(*SERVE)
        try:
            silent.settimeout(30)
            connection, _ = silent.accept()  # the node starts
            gateway.signal(signal.SIGTERM)
            assert gateway.wait(15) == 0
            connection.close()
        finally:
            gateway.kill()
    assert "is ready" not in gateway.log() and "Traceback" not in gateway.log(), gateway.log()


async def test_sighup_drains(gateway: Gateway) -> None:
    peer = await client(gateway, "u")
    gateway.signal(signal.SIGHUP)
    assert (await peer.receive())["type"] == "closing"
    assert (await peer.closed())[0] == 4000
    assert await asyncio.to_thread(gateway.wait) == 0
    assert "SIGHUP: shutting down" in gateway.log()


async def test_sighup_stays_ignored(tmp_path: Path) -> None:
    """Under nohup: the terminal goes, the gateway stays."""
    gateway = Gateway(tmp_path / "data", **SHORT)
    gateway.migrate()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        gateway.start()  # inherits it
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        assert not catches(gateway.pid, signal.SIGHUP)
        gateway.signal(signal.SIGHUP)
        assert http_get(gateway.worker_port, "/readyz")[0] == 200
    finally:
        assert await asyncio.to_thread(gateway.stop) == 0
    assert "SIGHUP" not in gateway.log()


async def test_ctrl_c_in_development_waits_for_nobody(tmp_path: Path) -> None:
    with (
        running(tmp_path / "data", **PATIENT, ENVIRONMENT="development") as gateway,
        RawClient(gateway.client_port, "/?user_id=deaf") as deaf,
    ):
        deaf.read_frame()
        peer = await client(gateway, "u")
        gateway.signal(signal.SIGINT)
        assert await peer.closed() == (1012, "the server is shutting down")
        assert await asyncio.to_thread(gateway.wait, 15) == 0
        rows = gateway.rows()
        assert len(rows) == 2 and all(row["disconnected_at"] for row in rows)
    assert "Traceback" not in gateway.log(), gateway.log()


@pytest.mark.parametrize(
    ("environment", "number"), [("development", signal.SIGTERM), ("test", signal.SIGINT)]
)
async def test_other_ends_drain(tmp_path: Path, environment: str, number: int) -> None:
    patient = PATIENT | {"READY_LAG": "0"}
    with running(tmp_path / "data", **patient, ENVIRONMENT=environment) as gateway:
        peer = await client(gateway, "u")
        gateway.signal(number)
        frame = await peer.receive()
        assert (frame["type"], frame["code"]) == ("closing", 4000)
        gateway.signal(number)  # hurries
        assert (await peer.closed())[0] in (1012, 4000)
        assert await asyncio.to_thread(gateway.wait, 15) == 0
