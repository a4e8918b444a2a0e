"""The processes of a run: nodes, their store, the links between them, the API server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

from tests.search.faults import ONE
from tests.search.link import Link, link
from tests.search.schedule import Setting
from tests.search.stores import Store
from tests.support.api_server import SECRET, ApiServer, Request, api_server, status
from tests.support.gateway import ROOT, Gateway

LEASE, RENEW, GRACE = 4.0, 1.0, 1.5
TASK_TIMEOUT = 8.0
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
PROVES = "X-Visitor"
"""The header of clients of whom the API server is asked; it names the user."""
SPACE = 6 << 20
"""Bytes of the small file system of a node."""

ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "tests.search.settings",
    "LEASE_TTL": f"{LEASE}",
    "LEASE_RENEW": f"{RENEW}",
    "PRESENCE_GRACE": f"{GRACE}",
    "HEARTBEAT": "4",
    "PONG_TIMEOUT": "4",
    "SLOW_TIMEOUT": "5",
    "CLOSE_TIMEOUT": "1",
    "SHUTDOWN_GRACE": "5",
    "DRAIN_SECONDS": "1",
    "READY_LAG": "0.5",
    "TASK_GRACE": "2",
    "TASK_ACCEPT_TIMEOUT": "1",
    "TASK_ASSIGN_TIMEOUT": "4",
    "TASK_TIMEOUT": f"{TASK_TIMEOUT}",
    "TASK_HISTORY": "100000",
    "IDEMPOTENCY_TTL": "300",
    "WEBHOOKS": "user_online,user_offline",
    "WEBHOOK_SECRET": SECRET,
    "WEBHOOK_TIMEOUT": "2",
    "AUTH": "proxy,insecure",
    "AUTH_PROXY_HEADERS": PROVES.lower(),
    "AUTH_PROXY_CACHE": "1",
    "AUTH_PROXY_TIMEOUT": "2",
}


def abilities() -> frozenset[str]:
    """What this machine can do of what a fault may need."""
    found = set()
    if LIBRARIES:
        found.add("faketime")
    if shutil.which("prlimit"):
        found.add("prlimit")
    if os.geteuid() == 0 and shutil.which("mount") and _can_mount():
        found.add("tmpfs")
    return frozenset(found)


def _can_mount() -> bool:
    folder = ROOT / "artifacts" / "search" / "mount"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _mount(folder)
    except subprocess.CalledProcessError:
        return False
    else:
        _unmount(folder)
        return True
    finally:
        folder.rmdir()


def _mount(folder: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
    """The API server's answer when it is well: it takes events, and knows its visitors."""
    body = json.dumps({"user": request.headers.get(PROVES.lower())}).encode()
    await status(200, body=body)(request, writer)


class Stage:
    """Enter it to start everything. `clock`, `small`: clocks can be moved, disks be filled."""

    def __init__(self, folder: Path, setting: Setting, *, clock: bool, small: bool) -> None:
        self.folder = folder
        self.setting = setting
        self._clock = clock
        self._small = small
        self._mounted: list[Path] = []
        self._open = AsyncExitStack()
        self.nodes: list[Gateway] = []
        self.links: list[Link] = []
        self.store: Store
        self.api: ApiServer

    async def __aenter__(self) -> Stage:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _begin(self) -> None:
        self.store = await asyncio.to_thread(Store, self.setting.store)
        self._open.callback(self.store.stop)
        self.api = await self._open.enter_async_context(api_server())
        self.api.answer = answer
        for number in range(self.setting.nodes + 1):
            if self.setting.store == ONE:
                port = self.store.servers[0].port
                self.links.append(await self._open.enter_async_context(link(port)))
            if number < self.setting.nodes:
                self.nodes.append(self._node(number))
        await asyncio.to_thread(self.nodes[0].migrate)
        for node in self.nodes[1:]:
            await asyncio.to_thread(node.migrate)
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in self.nodes))

    def _store(self, number: int) -> dict[str, str]:
        """The settings of the store, for the process of this number (the last is the backend)."""
        return self.store.variables(self.links[number].port if self.links else None)

    def _node(self, number: int) -> Gateway:
        folder = self.folder / f"node-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        if self._small:
            _mount(folder)
            self._mounted.append(folder)
        more = {
            **ENVIRONMENT,
            "NODE_NAME": f"n{number}",
            **self._store(number),
            "REDIS_DURABILITY": self.setting.durability,
            "API_SERVER_URL": f"http://127.0.0.1:{self.api.port}",
            "SEARCH_ENDED": str(self.ended(number)),
        }
        node = Gateway(folder, **more)
        node.log_path = self.folder / f"node-{number}.log"
        if self._clock:
            file = self.clock_file(number)
            file.write_text("+0")
            node.environment |= {
                "LD_PRELOAD": str(LIBRARIES[0]),
                "FAKETIME_TIMESTAMP_FILE": str(file),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_CACHE_DURATION": "1",
            }
        return node

    def ended(self, number: int) -> Path:
        """Where a node's receivers write down the ends of tasks."""
        return self.folder / f"ended-{number}.jsonl"

    def clock_file(self, number: int) -> Path:
        """Holds how far the clock of a node is off."""
        return self.folder / f"clock-{number}"

    @property
    def backend_environment(self) -> dict[str, str]:
        """For a process that uses the Python API, without sockets."""
        environment = {**self.nodes[0].environment, **self._store(self.setting.nodes)}
        environment["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
        for name in ("LD_PRELOAD", "NODE_NAME"):
            environment.pop(name, None)
        return {**environment, "NODE_NAME": "backend"}

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await asyncio.to_thread(node.kill)
        await self._open.aclose()
        for folder in self._mounted:
            _unmount(folder)
