"""Faults of nodes and their databases, of clients and of the API server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from tests.search import disks
from tests.search.acts_base import Base
from tests.search.schedule import Fault
from tests.support.api_server import Answer, hang_up, silence, status
from tests.support.gateway import Gateway


class NodeActs(Base):
    """Each is a context manager: inside, the fault lasts."""

    # --- nodes

    def _node(self, fault: Fault) -> Gateway:
        return self._stage.nodes[fault.target]

    @asynccontextmanager
    async def freeze_node(self, fault: Fault) -> AsyncIterator[None]:
        node = self._node(fault)
        node.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            node.signal(signal.SIGCONT)

    @asynccontextmanager
    async def kill_node(self, fault: Fault) -> AsyncIterator[None]:
        node = self._node(fault)
        await asyncio.to_thread(node.kill)
        try:
            yield
        finally:
            await self._start(node)

    @asynccontextmanager
    async def drain(self, fault: Fault) -> AsyncIterator[None]:
        node = self._node(fault)
        node.signal(signal.SIGTERM)
        try:
            code = await asyncio.to_thread(node.wait, 30)
            if code:
                self._note("a drain ended badly", f"exit code {code}")
        except subprocess.TimeoutExpired:
            self._note("a drain did not end", "30 s after SIGTERM")
            await asyncio.to_thread(node.kill)
        try:
            yield
        finally:
            await self._start(node)

    async def _start(self, node: Gateway) -> None:
        """Another fault may keep it from starting; it has tries."""
        for _ in range(4):
            try:
                await asyncio.to_thread(node.start)
                return
            except AssertionError as error:
                await asyncio.to_thread(node.kill)
                why = str(error)[-300:]
                await asyncio.sleep(2)
        self._note("a node does not start", why)

    @asynccontextmanager
    async def clock(self, fault: Fault) -> AsyncIterator[None]:
        """Its clock goes wrong by up to ten minutes, to either side, and stays so."""
        seconds = round((fault.amount - 0.5) * 1200)
        self._stage.clock_file(fault.target).write_text(f"{seconds:+d}")
        yield

    @asynccontextmanager
    async def files(self, fault: Fault) -> AsyncIterator[None]:
        """It may open a few more files, and then none."""
        pid = self._node(fault).pid
        number = len(os.listdir(f"/proc/{pid}/fd")) + round(8 * fault.amount)
        before = await _prlimit(pid)
        await _prlimit(pid, number)
        try:
            yield
        finally:
            with suppress(subprocess.CalledProcessError):  # it was killed
                await _prlimit(pid, before)

    # --- the database of a node

    @asynccontextmanager
    async def database_locked(self, fault: Fault) -> AsyncIterator[None]:
        async with disks.locked(self._node(fault).data_dir / "gateway.sqlite3"):
            yield

    @asynccontextmanager
    async def database_full(self, fault: Fault) -> AsyncIterator[None]:
        async with disks.full(self._node(fault).data_dir):
            yield

    # --- clients, and the API server

    @asynccontextmanager
    async def client_rst(self, fault: Fault) -> AsyncIterator[None]:
        self._tabs[fault.target].drop()
        yield

    @asynccontextmanager
    async def client_move(self, fault: Fault) -> AsyncIterator[None]:
        tab = self._tabs[fault.target]
        tab.elsewhere()
        tab.drop()
        yield

    @asynccontextmanager
    async def client_pause(self, fault: Fault) -> AsyncIterator[None]:
        """It reads nothing."""
        tab = self._tabs[fault.target]
        tab.reads.clear()
        try:
            yield
        finally:
            tab.reads.set()

    @asynccontextmanager
    async def client_storm(self, fault: Fault) -> AsyncIterator[None]:
        for tab in self._tabs:
            if tab.node == fault.target:
                tab.drop()
        yield

    @asynccontextmanager
    async def _api(self, answer: Answer) -> AsyncIterator[None]:
        api = self._stage.api
        well, api.answer = api.answer, answer
        try:
            yield
        finally:
            api.answer = well

    def api_errors(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._api(status(500 if fault.amount > 0.5 else 429))

    def api_redirects(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._api(status(302, "Location: /login"))

    def api_silence(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._api(silence)

    def api_hangs_up(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._api(hang_up)


async def _prlimit(pid: int, number: int | None = None) -> int:
    """The soft limit of open files; set to `number` if that is given."""
    more = [f"--nofile={number}:"] if number is not None else ["--nofile", "--output=SOFT"]
    process = await asyncio.create_subprocess_exec(
        *("prlimit", "--pid", str(pid), "--noheadings", *more), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "prlimit")
    return int(out) if number is None else number
