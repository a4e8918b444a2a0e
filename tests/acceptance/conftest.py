"""Fixtures of the acceptance tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.gateway import SHORT, Gateway, running
from tests.support.peers import Peer
from tests.support.valkey import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "acceptance" in item.path.parts:
            item.add_marker(pytest.mark.acceptance)


@pytest.fixture
def from_the_very_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process of the test begins as a user's does, with its imports."""
    monkeypatch.setattr(Gateway, "may_be_warm", False)


@pytest.fixture(scope="module")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for a module's tests that leave it as it was. Users are told apart by name."""
    with running(tmp_path_factory.mktemp("shared"), **SHORT) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of a test's own, to be stopped, killed or flooded."""
    with running(tmp_path / "data", **SHORT) as gateway:
        yield gateway
        log = gateway.log()
    assert "Traceback" not in log, log


@pytest.fixture
def redis() -> Iterator[Server]:
    """A Redis of a test's own, to be frozen, flushed or killed."""
    made = Server()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
async def close_peers() -> AsyncIterator[None]:
    """No test leaves a socket to the next one, whatever became of it."""
    yield
    while Peer.opened:
        await Peer.opened.pop().connection.close()
