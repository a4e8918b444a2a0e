"""Fixtures for pytest and pytest-asyncio: `pytest_plugins = ["sockets.testing.fixtures"]`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from sockets.testing.gateway import RunningGateway, running_gateway


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    """A gateway that runs in this test's process, with memory for its store."""
    async with running_gateway() as running:
        yield running
