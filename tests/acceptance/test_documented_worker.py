"""The worker that docs/workers-and-tasks.md shows is run as it stands there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_python_api import call, tab_of
from tests.support.gateway import ROOT, SHORT, WORKER_KEY, Gateway, uvicorn
from tests.support.patience import PATIENCE


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with Django code in it, and the documented worker on its way to it."""
    page = (ROOT / "docs/workers-and-tasks.md").read_text()
    (program,) = [p for p in re.findall(r"```python\n(.*?)```", page, re.S) if "asyncio.run" in p]
    with uvicorn(tmp_path, "tests.acceptance.with_views:application", **SHORT) as gateway:
        address = f"ws://127.0.0.1:{gateway.client_port}/ws/worker/"
        environment = gateway.environment | {"WORKER_KEY": WORKER_KEY}
        command = [sys.executable, "-c", program.replace("ws://localhost:4001/", address)]
        with subprocess.Popen(command, env=environment) as worker:
            yield gateway
            worker.terminate()


async def test_the_documented_worker_does_its_task(site: Gateway) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (pools := await call(site, "worker_pools")):
            pass
    assert pools == [{"pool": "image.convert", "workers": 1, "capacity": 2, "held": 0}]
    tab = await tab_of(site, "42")
    task = await call(site, "assign_task", pool="image.convert", event="convert", user_id="42")
    assert task["state"] == "running"
    heard = [await tab.receive() for _ in range(3)]
    assert [frame["event"] for frame in heard] == ["task.progress", "task.progress", "task.done"]
    assert heard[2]["data"] == {"task": task["id"], "data": {"url": "/1.webp"}}
    ended = await call(site, "task", task_id=task["id"])
    assert (ended["state"], ended["result"]) == ("done", {"url": "/1.webp"})
