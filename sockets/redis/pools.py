"""Pools of connections to one server: a bounded number, for which more callers wait."""

from __future__ import annotations

import asyncio
import builtins
from contextlib import suppress
from typing import Any

from redis import BlockingConnectionPool as SyncBlockingConnectionPool
from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError, TimeoutError
from redis.sentinel import SentinelConnectionPool as SyncSentinelConnectionPool

from sockets.redis.errors import NotConnected


class Pool(BlockingConnectionPool):
    """Whoever has waited longest gets the next connection: redis-py gives it to whoever asks in
    that moment, and others wait until their time is up. Failures to connect are told apart: nothing
    was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._turns = asyncio.Semaphore(self.max_connections)

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(self.timeout):
                await self._turns.acquire()
        except builtins.TimeoutError as error:
            raise NotConnected("no connection is free") from error
        try:
            connection: Any = self.get_available_connection()
        except BaseException:
            self._turns.release()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException as error:
            await self.release(connection)
            if isinstance(error, ConnectionError | TimeoutError | OSError):
                raise NotConnected(str(error)) from error
            raise
        return connection

    async def release(self, connection: Any) -> None:
        try:
            await ConnectionPool.release(self, connection)
        finally:
            self._turns.release()


class SyncPool(SyncBlockingConnectionPool):
    """The same for threads, but for the order."""

    def get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            return super().get_connection(*args, **options)
        except (ConnectionError, TimeoutError, OSError) as error:
            raise NotConnected(str(error)) from error


class SentinelPool(SentinelConnectionPool, Pool):
    """To the primary that sentinels name."""


class SyncSentinelPool(SyncSentinelConnectionPool, SyncPool):
    """The same for threads."""

    def release(self, connection: Any) -> None:
        super().release(connection)
        if not self.owns_connection(connection):
            # It went to a former primary, and another one has its place: redis-py would keep it.
            with suppress(ValueError):
                self._connections.remove(connection)
