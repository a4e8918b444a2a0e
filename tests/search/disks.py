"""What happens to a node's database: locked by another process, or the disk is full."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PIECE = 4096


@asynccontextmanager
async def locked(file: Path) -> AsyncIterator[None]:
    """Somebody holds it, exclusively."""
    database = sqlite3.connect(file, timeout=5, check_same_thread=False, isolation_level=None)
    try:
        with suppress(sqlite3.OperationalError):  # the gateway holds it all the time
            await asyncio.to_thread(database.execute, "BEGIN EXCLUSIVE")
        yield
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
        database.close()


@asynccontextmanager
async def full(folder: Path) -> AsyncIterator[None]:
    """The file system of this folder has no byte left."""
    file = folder / "filling"
    try:
        await asyncio.to_thread(_fill, file)
        yield
    finally:
        file.unlink(missing_ok=True)


def _fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as out:
        while out.write(b"x" * PIECE):
            pass
