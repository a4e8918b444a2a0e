"""The node of this process: one at a time, and who may ask for it without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sockets.node import current
from sockets.node.core import Core
from tests.support.patience import PATIENCE


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(current, "_node", None)
    monkeypatch.setattr(current, "_look_at_keys", current._nobody)
    yield


def made(loop: asyncio.AbstractEventLoop | None = None) -> Any:
    return SimpleNamespace(loop=loop)


def test_it_is_there_from_its_beginning_to_its_end() -> None:
    assert current.current_node() is None
    node: Core = made()
    current.begin(node, list)
    assert current.current_node() is node
    current.end(made())
    assert current.current_node() is node, "another one's end"
    current.end(node)
    assert current.current_node() is None


async def test_it_looks_at_its_keys_on_its_loop() -> None:
    looked = asyncio.Event()
    current.keys_changed()  # there is no node, and nothing to do
    current.begin(made(asyncio.get_running_loop()), looked.set)
    await asyncio.to_thread(current.keys_changed)
    await asyncio.wait_for(looked.wait(), PATIENCE)


def test_a_node_that_has_just_ended_is_no_error() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    current.begin(made(loop), list)
    current.keys_changed()
