"""Processes that begin with other packages imported: `scripts/test` starts some hundred of them.

A gateway takes a second of CPU to import what it stands on. With WARM_STARTS=1 one process of a
test run imports the packages, and is forked for each start; the fork then does what Python does
with the command: the settings, Django's set-up and all of our own code that looks at one of the
two begin anew in each. Without it, as in `scripts/soak`, in `bench/` and wherever a test calls
`Gateway.spawn`, Python begins as well.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

from django.conf import settings
from django.utils.functional import empty

ROOT = Path(__file__).resolve().parents[2]
WANTED: Final = os.environ.get("WARM_STARTS") == "1"

PACKAGES: Final = (
    "asgiref.sync",
    "asgiref.typing",
    "autobahn.wamp.auth",
    "autobahn.websocket.protocol",
    "channels.generic.websocket",
    "channels.layers",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "django.contrib.admin.sites",
    "django.contrib.auth.hashers",
    "django.core.management",
    "django.core.servers.basehttp",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.autodetector",
    "django.test.client",
    "environ",
    "httpx",
    "jwt",
    "msgpack",
    "msgspec.inspect",
    "prometheus_client",
    "pydantic.json_schema",
    "pydantic.type_adapter",
    "redis.asyncio.sentinel",
    "rich.traceback",
    "servestatic.responders",
    "structlog",
    "twisted.internet.asyncioreactor",
    "twisted.internet.endpoints",
    "twisted.web.http",
    "ulid",
    "uvloop",
)
"""What may be imported without settings, and without installing Twisted's reactor."""

OURS: Final = (
    "ninja",
    "sockets.conf",
    "sockets.http.reports",
    "sockets.http.schemas",
    "sockets.protocol.grammar",
)
"""What of this checkout, and of what it stands on, takes long and is the same with any settings.

The fork of a command in another folder forgets it, for a project or an earlier release has its own;
so nothing of it may register itself elsewhere, as metrics do.
"""

UNLIKE: Final = ("PYTHON", "LD_")
"""Beginnings of variables that are heard when Python starts, and never again."""

HEARD: Final = {"PYTHONWARNINGS": "default"}
"""Those of the warm process. PYTHONPATH may name this checkout, where nothing begins by itself."""


class Process(Protocol):
    """What tests need of a process: `subprocess.Popen`, or one that was forked."""

    pid: int
    returncode: Any

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def kill(self) -> None:
        """Send SIGKILL."""


def python(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    *,
    check: bool = False,
    seconds: float = 60,
    may_be_warm: bool = WANTED,
) -> subprocess.CompletedProcess[str]:
    """Run `python COMMAND…` to its end and capture its output; forked where that may be so, and
    the command begins with a file or a module and no option of Python."""
    named = command[0] == "-m" or not command[0].startswith("-")
    if may_be_warm and named and fits(env):
        return run(command, cwd, env, check=check, seconds=seconds)
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=env,
        check=check,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def run(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    *,
    check: bool,
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Fork to run `python COMMAND…` to its end, like `subprocess.run` that captures its output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(command, cwd, env, out, err)
        try:
            code = process.wait(seconds)
        except BaseException:
            process.kill()
            raise
        told = []
        for file in (out, err):
            file.seek(0)
            told.append(file.read().decode())
    done = subprocess.CompletedProcess(list(command), code, *told)
    if check:
        done.check_returncode()
    return done


def fits(env: Mapping[str, str]) -> bool:
    """Return whether Python would begin alike in that environment."""
    heard = {name: value for name, value in env.items() if name.startswith(UNLIKE)}
    if heard.get("PYTHONPATH") == str(ROOT):
        del heard["PYTHONPATH"]
    return heard == HEARD


class Forked:
    """A process that was forked. Its parent tells on `_line` how it ended."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        out: IO[bytes],
        err: IO[bytes],
    ) -> None:
        self._command = list(command)
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(str(_warm()))
        request = json.dumps({"command": self._command, "cwd": str(cwd), "env": dict(env)}).encode()
        head = len(request).to_bytes(4, "big")
        socket.send_fds(self._line, [head], [out.fileno(), err.fileno()])
        self._line.sendall(request)
        self._told = b""
        self._lock = threading.Lock()
        self.returncode: int | None = None
        self.pid = self._number(None) or 0
        assert self.pid, "no process was forked"

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        self._look(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises subprocess.TimeoutExpired."""
        self._look(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._command, timeout or 0)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            # Between the two it may end by itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, within: float | None) -> None:
        # One thread may wait while another one asks.
        if not self._lock.acquire(timeout=-1 if within is None else within):
            return
        try:
            if self.returncode is None:
                self.returncode = self._number(within)
                if self.returncode is not None:
                    self._line.close()
        finally:
            self._lock.release()

    def _number(self, within: float | None) -> int | None:
        """The next line of its parent: the id first, then the exit code. None: not `within`
        seconds."""
        deadline = None if within is None else time.monotonic() + within
        while b"\n" not in self._told:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._line], [], [], left)[0]:
                return None
            if not (more := self._line.recv(64)):
                raise RuntimeError(f"whoever forked {self._command} has ended without a word")
            self._told += more
        line, _, self._told = self._told.partition(b"\n")
        return int(line)


_path: Path | None = None


def _warm() -> Path:
    """The socket of this run's warm process, which is started when it is first asked for."""
    global _path
    if _path is None:
        folder = Path(tempfile.mkdtemp(prefix="warm-"))
        address = folder / "socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(address))
            listening.listen(64)
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(listening.fileno())],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], **HEARD},
                stdin=subprocess.PIPE,
                pass_fds=[listening.fileno()],
            )
        _path = address
        atexit.register(_cool, process, address)
    return _path


def _cool(process: subprocess.Popen[bytes], address: Path) -> None:
    process.kill()
    process.wait()
    address.unlink()
    address.parent.rmdir()


# --- the warm process


def serve(listening: socket.socket) -> list[str]:
    """Fork for each start, until whoever began this is gone. Returns in the fork: the command."""
    # Nobody waits for the forks, but each fork for the process that was asked for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready = select.select([listening, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            os._exit(0)
        line, _ = listening.accept()
        with line:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                return _begin(line)


def _begin(line: socket.socket) -> list[str]:
    """Fork once more, and become there what was asked for. The parent tells how it ended."""
    head, files, _, _ = socket.recv_fds(line, 4, 2)
    with line.makefile("rb") as incoming:
        asked = json.loads(incoming.read(int.from_bytes(head, "big")))
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)
        line.sendall(b"%d\n" % pid)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # nobody wants to know any more
            line.sendall(b"%d\n" % ended)
        os._exit(0)
    line.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate([nothing, *files]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    if Path.cwd() != ROOT:
        forget_ours()
    command: list[str] = asked["command"]
    return command


def import_ours() -> None:
    """Import OURS. ninja wants settings; ours have none that are its."""
    settings.configure()
    for name in OURS:
        importlib.import_module(name)
    settings._wrapped = empty


def forget_ours() -> None:
    """Let OURS, and what of it they imported, be imported anew."""
    packages = {name.partition(".")[0] for name in OURS}
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def become(command: list[str]) -> None:
    """Do what `python COMMAND…` does."""
    sys.orig_argv = [sys.executable, *command]
    sys.path[0] = os.getcwd()
    if "PYTHONPATH" in os.environ:
        sys.path.insert(1, os.environ["PYTHONPATH"])
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    for package in PACKAGES:
        importlib.import_module(package)
    import_ours()
    if "twisted.internet.reactor" in sys.modules:
        sys.exit("a package of the list has imported the reactor")
    gc.freeze()  # so that a fork need not copy what it only looks at
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
