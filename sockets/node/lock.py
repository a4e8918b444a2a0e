"""Two processes must not take each other's place: a file lock keeps the second one out.

In memory mode the place is the data directory, in Redis mode the node's name (its group, its rows).
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from typing import Final

from sockets.conf import Conf
from sockets.exceptions import AlreadyRunning

MOST_WORKERS: Final = 64
"""Processes of an ASGI server on one machine under one NODE_NAME."""


def place_among_workers(conf: Conf) -> tuple[Conf, NodeLock]:
    """For one of the processes that an ASGI server starts with the same settings: its own name,
    `<name>`, `<name>~2`, `<name>~3` and so on, and the lock of it, which is held.

    A process that is started again gets the place of the one that has ended. Raises AlreadyRunning:
    in memory mode for a second one, as memory mode is one process.
    """
    first: AlreadyRunning | None = None
    for number in range(1, MOST_WORKERS + 1 if conf.redis_url else 2):
        own = conf if number == 1 else replace(conf, node_name=f"{conf.node_name}~{number}")
        lock = NodeLock(own)
        try:
            lock.acquire()
        except AlreadyRunning as error:
            first = first or error
        else:
            return own, lock
    assert first is not None
    raise first


class NodeLock:
    """An advisory lock that the kernel releases when the process ends, however it ends."""

    def __init__(self, conf: Conf) -> None:
        self._name = conf.node_name if conf.redis_url else None
        file = "memory.lock" if self._name is None else f"node-{self._name}.lock"
        self._path = conf.data_dir / file
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises AlreadyRunning. Nothing where it is held already."""
        if self._fd is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise AlreadyRunning(self._taken_by(holder or "?")) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd

    def _taken_by(self, holder: str) -> str:
        if self._name is not None:
            return (
                f"process {holder} already runs as node {self._name!r}: stop it, "
                "or give this one a NODE_NAME of its own"
            )
        return (
            f"process {holder} already runs in memory mode on {self._path.parent}, "
            "and memory mode is one process: stop it, set REDIS_URL for both, "
            "or give this one a DATA_DIR of its own"
        )

    def release(self) -> None:
        """Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
