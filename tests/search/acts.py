"""How each fault is done, and undone. An act is a context manager: inside, the fault lasts."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from tests.acceptance.gateway import Gateway, wait_for
from tests.search import disks
from tests.search.schedule import Fault
from tests.search.stores import admin, ask
from tests.unit.api_server import Answer, hang_up, silence, status
from tests.valkey import Server

if TYPE_CHECKING:
    from tests.search.audience import Tab
    from tests.search.stage import Stage

Note = Callable[[str, str], None]
"""Takes the kind and the text of a violation."""


class Acts:
    """`act(fault)` is the fault, for as long as it is entered."""

    def __init__(self, stage: Stage, tabs: list[Tab], note: Note) -> None:
        self._stage = stage
        self._tabs = tabs
        self._note = note

    def act(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        name = fault.kind.replace("-", "_")
        found: Callable[[Fault], AbstractAsyncContextManager[None]] = getattr(self, name)
        return found(fault)

    # --- between a node and Redis

    @asynccontextmanager
    async def _cut(self, fault: Fault, *, with_rst: bool, every: float) -> AsyncIterator[None]:
        """Once, and then nobody comes through; or again and again."""
        link = self._stage.links[fault.target]

        async def again() -> None:
            while True:
                await asyncio.sleep(every)
                link.cut(with_rst=with_rst)

        link.shut = not every
        link.cut(with_rst=with_rst)
        storm = asyncio.create_task(again()) if every else None
        try:
            yield
        finally:
            link.shut = False
            if storm:
                storm.cancel()

    def cut(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._cut(fault, with_rst=False, every=0)

    def rst(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._cut(fault, with_rst=True, every=0)

    def rst_storm(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._cut(fault, with_rst=True, every=0.05 + 0.3 * fault.amount)

    @asynccontextmanager
    async def delay(self, fault: Fault) -> AsyncIterator[None]:
        link = self._stage.links[fault.target]
        link.delay = 0.02 + 0.4 * fault.amount
        try:
            yield
        finally:
            link.delay = 0

    @asynccontextmanager
    async def black_hole(self, fault: Fault) -> AsyncIterator[None]:
        link = self._stage.links[fault.target]
        link.open.clear()
        try:
            yield
        finally:
            link.open.set()

    @asynccontextmanager
    async def kill_clients(self, fault: Fault) -> AsyncIterator[None]:
        """Redis hangs up on all it knows."""
        server = self._redis(fault)
        for sort in ("NORMAL", "PUBSUB"):
            with suppress(RedisError):
                await asyncio.to_thread(ask, server, "CLIENT", "KILL", "TYPE", sort)
        yield

    # --- Redis

    def _redis(self, fault: Fault) -> Server:
        return self._stage.store.target(fault.target)

    @asynccontextmanager
    async def freeze_redis(self, fault: Fault) -> AsyncIterator[None]:
        server = self._redis(fault)
        server.freeze()
        try:
            yield
        finally:
            server.thaw()

    freeze_primary = freeze_redis

    @asynccontextmanager
    async def kill_redis(self, fault: Fault) -> AsyncIterator[None]:
        server = self._redis(fault)
        await asyncio.to_thread(server.kill)
        try:
            yield
        finally:
            await asyncio.to_thread(server.start)

    kill_primary = kill_redis  # Sentinel makes it a replica when it is back

    @asynccontextmanager
    async def rollback(self, fault: Fault) -> AsyncIterator[None]:
        """It is killed, and comes back with the append-only file of before."""
        server = self._redis(fault)
        data, copy = server.folder / "appendonlydir", server.folder / "copy"
        await asyncio.to_thread(shutil.copytree, data, copy, dirs_exist_ok=True)
        try:
            yield
        finally:
            await asyncio.to_thread(server.kill)
            shutil.rmtree(data)
            copy.rename(data)
            await asyncio.to_thread(server.start)

    @asynccontextmanager
    async def rollback_keys(self, fault: Fault) -> AsyncIterator[None]:
        """Some streams are put back to what they were, under the eyes of everybody."""
        with closing(admin(self._redis(fault))) as client:
            keys = sorted(
                key
                for part in (b"meta", b"stream")
                for key in await asyncio.to_thread(client.keys, b"gw:{u*}:" + part)  # type: ignore[union-attr]
            )
            share = keys if fault.amount > 0.5 else [k for k in keys if b"{u0}" in k]
            kept = {key: await asyncio.to_thread(client.dump, key) for key in share}
            try:
                yield
            finally:
                pipe = client.pipeline(transaction=True)
                for key, value in kept.items():
                    if value is not None:
                        pipe.restore(key, 0, value, replace=True)  # type: ignore[arg-type]
                await asyncio.to_thread(pipe.execute)

    @asynccontextmanager
    async def fail_over(self, fault: Fault) -> AsyncIterator[None]:
        store = self._stage.store
        assert store.sentinel is not None
        before = store.primary().port
        await asyncio.to_thread(
            wait_for, self._replica_is_there, "the replica to be in step before a fail-over", 30
        )
        with suppress(RedisError):
            await asyncio.to_thread(ask, store.sentinel, "SENTINEL", "FAILOVER", "m")
        await asyncio.to_thread(
            wait_for, lambda: store.primary().port != before, "the fail-over", 30
        )
        yield

    def _replica_is_there(self) -> bool:
        with suppress(OSError):
            return b"state=online" in self._stage.store.primary().ask(b"INFO replication")
        return False

    @asynccontextmanager
    async def _config(
        self, fault: Fault, on: dict[str, str], off: dict[str, str]
    ) -> AsyncIterator[None]:
        server = self._redis(fault)
        for name, value in on.items():
            await asyncio.to_thread(ask, server, "CONFIG", "SET", name, value)
        try:
            yield
        finally:
            await asyncio.to_thread(
                _surely, server, *(("CONFIG", "SET", n, v) for n, v in off.items())
            )

    def oom(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._config(fault, {"maxmemory": "1"}, {"maxmemory": "0"})

    @asynccontextmanager
    async def misconf(self, fault: Fault) -> AsyncIterator[None]:
        """Its last save failed, for the folder is gone, and so it takes no writes."""
        server = self._redis(fault)
        gone = server.folder / "gone"
        gone.mkdir()
        for words in (("dir", str(gone)), ("save", "3600 1000000")):
            await asyncio.to_thread(ask, server, "CONFIG", "SET", *words)
        gone.rmdir()
        with suppress(RedisError):
            await asyncio.to_thread(ask, server, "BGSAVE")
        try:
            yield
        finally:
            undo = (("CONFIG", "SET", "dir", str(server.folder)), ("CONFIG", "SET", "save", ""))
            await asyncio.to_thread(_surely, server, *undo)

    @asynccontextmanager
    async def _without(self, fault: Fault, right: str) -> AsyncIterator[None]:
        server = self._redis(fault)
        await asyncio.to_thread(ask, server, "ACL", "SETUSER", "app", f"-{right}")
        try:
            yield
        finally:
            await asyncio.to_thread(_surely, server, ("ACL", "SETUSER", "app", "+@all"))

    def no_publish(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._without(fault, "publish")

    def no_hset(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._without(fault, "hset")

    def no_zadd(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._without(fault, "zadd")

    def no_evalsha(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._without(fault, "evalsha")

    @asynccontextmanager
    async def flush(self, fault: Fault) -> AsyncIterator[None]:
        await asyncio.to_thread(ask, self._redis(fault), "FLUSHALL")
        yield

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
        api.answer = answer
        try:
            yield
        finally:
            api.answer = status(200)

    def api_errors(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        return self._api(status(500 if fault.amount > 0.5 else 429))

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


def _surely(server: Server, *commands: tuple[str, ...]) -> None:
    """Undo, whatever another fault does to the server: wait until it answers."""

    def done() -> bool:
        try:
            for words in commands:
                ask(server, *words)
        except (RedisError, OSError):
            return False
        return True

    wait_for(done, "the server to take back a setting", 30)
