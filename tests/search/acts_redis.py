"""Faults of Redis, and of the links to it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from redis.exceptions import RedisError

from tests.search.acts_base import Base
from tests.search.schedule import Fault
from tests.search.stores import ask
from tests.support.gateway import wait_for
from tests.support.valkey import Server

OURS = """
local parts = {meta = 1, stream = 1, collapse = 1, expiring = 1, idem = 1, own = 1}
local ours = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  if parts[string.match(key, '}:(%a+)')] then ours[#ours + 1] = key end
end
"""
"""Those of the users' keys that belong to streams."""

IMAGE = """
local image = {}
for _, key in ipairs(ours) do
  image[#image + 1] = key
  image[#image + 1] = redis.call('DUMP', key)
end
return image
"""

PUT_BACK = """
for _, key in ipairs(ours) do redis.call('DEL', key) end
for at = 2, #ARGV, 2 do redis.call('RESTORE', ARGV[at], 0, ARGV[at + 1]) end
"""


class RedisActs(Base):
    """Each is a context manager: inside, the fault lasts."""

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
        """Streams, of one user or of all, are put back to what they were, under everyone's eyes."""
        server = self._redis(fault)
        users = "gw:{u*}:*" if fault.amount > 0.5 else "gw:{u0}:*"
        kept = await asyncio.to_thread(ask, server, "EVAL", f"{OURS}{IMAGE}", 0, users)
        try:
            yield
        finally:
            await asyncio.to_thread(ask, server, "EVAL", f"{OURS}{PUT_BACK}", 0, users, *kept)

    @asynccontextmanager
    async def fail_over(self, fault: Fault) -> AsyncIterator[None]:
        store = self._stage.store
        assert store.sentinel is not None
        before = store.primary().port
        await asyncio.to_thread(
            wait_for, store.settled, "the replica to be in step before a fail-over", 30
        )
        with suppress(RedisError):
            await asyncio.to_thread(ask, store.sentinel, "SENTINEL", "FAILOVER", "m")
        await asyncio.to_thread(
            wait_for, lambda: store.primary().port != before, "the fail-over", 30
        )
        yield

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

    misconf_primary = misconf  # PING is refused too: Sentinel lets the replica take over

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
