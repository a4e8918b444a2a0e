"""Messages of the Python API: what goes to everybody is never kept."""

from __future__ import annotations

import asyncio

import pytest

from sockets import api
from sockets.node.node import Node


async def test_a_durable_broadcast_is_a_mistake(node: Node) -> None:
    with pytest.raises(ValueError, match="use notify_users"):
        await api.abroadcast("e", durable=True)
    with pytest.raises(ValueError, match="use notify_users"):
        await asyncio.to_thread(api.broadcast, "e", durable=True)
    assert (await api.abroadcast("e", durable=False)).offset is None
