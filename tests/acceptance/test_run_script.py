"""`scripts/run`: what dies is started again or ends the whole, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import ROOT, base_environment, wait_for
from tests.support.patience import PATIENCE


class Run:
    """The script in a session of its own, as a terminal would have it."""

    def __init__(self, folder: Path) -> None:
        self.log_path = folder / "run.log"
        (folder / "data").mkdir()
        (folder / "data" / "none.env").touch()
        environment = base_environment(folder / "data", ENVIRONMENT="development")
        for name in ("AUTH", "WORKER_KEYS", "JWT_SECRET", "READY_LAG", "DRAIN_SECONDS"):
            del environment[name]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                ["scripts/run"],
                cwd=ROOT,
                env=environment | {"CLIENT_SOCKET_PORT": "0", "WORKER_SOCKET_PORT": "0"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def child(self, what: str) -> int:
        """The process id of a child with this in its command line; 0: there is none."""
        return next((pid for pid, line in self.children().items() if what in line), 0)

    def children(self) -> dict[int, str]:
        """Everything that was started in the script's session."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                line = (entry / "cmdline").read_text().replace("\0", " ")
            except (OSError, ValueError):
                continue
            if int(session) == self.process.pid != int(entry.name) and state != "Z":
                found[int(entry.name)] = line
        return found


GATEWAY, WORKER = "manage.py serve", "image_converter.worker"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    try:
        ended = made.process.poll
        wait_for(
            lambda: "connected to node" in made.log() or ended() is not None, "the worker", PATIENCE
        )
        assert ended() is None, made.log()
        yield made
    finally:
        for pid in made.children():
            os.kill(pid, signal.SIGKILL)
        made.process.kill()
        made.process.wait()


def test_a_worker_that_dies_is_started_again_and_the_gateways_end_is_the_workers(run: Run) -> None:
    gateway, worker = run.child(GATEWAY), run.child(WORKER)
    os.kill(worker, signal.SIGKILL)
    again = wait_for(
        lambda: run.child(WORKER) not in (0, worker) and run.child(WORKER), "another", PATIENCE
    )
    wait_for(lambda: run.log().count("connected to node") == 2, "it to connect", PATIENCE)
    assert run.child(GATEWAY) == gateway
    assert "worker has ended (137): it is started again in 1 s" in run.log()
    os.kill(again, signal.SIGKILL)
    wait_for(lambda: run.log().count("connected to node") == 3, "the third", PATIENCE)
    assert "started again in 2 s" in run.log(), "the pause grows"
    os.kill(gateway, signal.SIGKILL)
    assert run.process.wait(PATIENCE) == 1
    assert run.children() == {}


@pytest.mark.soak
def test_sigterm_ends_everything(run: Run) -> None:
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(PATIENCE) == 0
    assert run.children() == {}


def test_ctrl_c_ends_everything(run: Run) -> None:
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(PATIENCE) == 0
    assert run.children() == {}
    assert "SIGINT: shutting down" in run.log() and "draining" not in run.log()
    assert "Traceback" not in run.log()
