"""Memory mode is one process: a file lock says so before two of them disagree in silence."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sockets.exceptions import AlreadyRunning


class MemoryLock:
    """An advisory lock that the kernel releases when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "memory.lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises AlreadyRunning."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise AlreadyRunning(
                f"process {holder or '?'} already runs in memory mode on {self._path.parent}, "
                "and memory mode is one process: stop it, set REDIS_URL for both, "
                "or give this one a DATA_DIR of its own"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
