"""The same, in a process that says how many tasks of asyncio it has."""

from __future__ import annotations

import asyncio.tasks
import os
import threading
import time
from pathlib import Path

from bench.peers.ours.production import *  # noqa: F403

_file = Path(os.environ["DATA_DIR"]) / "tasks"
_new = _file.with_suffix(".new")


def _count() -> None:
    while True:
        # The length of the set alone: to walk over it from another thread makes a process grow.
        known = vars(asyncio.tasks)  # "_scheduled_tasks" since Python 3.12
        _new.write_text(str(len(known.get("_scheduled_tasks", known.get("_all_tasks", ())))))
        _new.replace(_file)
        time.sleep(1)


threading.Thread(target=_count, daemon=True).start()
