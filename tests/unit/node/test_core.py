"""What every process has: its addresses, its name, the tasks that it started."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from sockets.layers.groups import node_group
from sockets.node.node import Node
from tests.support.doubles import running_node, still_node


async def test_addresses_of_the_settings_go_before_ports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with running_node(
        monkeypatch, tmp_path, client_socket_url="wss://gw.example.com/"
    ) as node:
        assert node.addresses.client_socket_url == "wss://gw.example.com/"
        assert node.addresses.worker_socket_url == "ws://localhost:4001"


async def test_a_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    node = await still_node()

    async def fail() -> None:
        raise RuntimeError("a bug in a task")

    with caplog.at_level(logging.ERROR):
        await asyncio.wait({node.spawn(fail())})
        await asyncio.sleep(0)
    assert "a bug in a task" in caplog.text


async def test_tasks_end_with_the_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_node(monkeypatch, tmp_path) as node:
        forever = node.spawn(asyncio.Event().wait())  # type: ignore[arg-type]
    assert forever.cancelled()
    assert not caplog.records


async def test_another_name_is_listened_to_before_the_former_is_left() -> None:
    node, heard = await still_node(), list[str]()
    node.bus.handlers["test"] = lambda message: heard.append(message["to"])
    await node.rename("here~1234")
    for name in ("here", "here~1234"):
        await node.layer.group_send(node_group(name), {"type": "test.x", "to": name})
    assert heard == ["here~1234"] and node.name == node.bus.node == "here~1234"


async def test_a_stop_ends_what_was_started_and_what_never_ends_is_not_waited_for() -> None:
    node, ended = await still_node(), list[str]()

    async def works(name: str, *, stubborn: bool) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(name)
            if stubborn:
                await asyncio.Event().wait()
            raise

    node.spawn(works("meek", stubborn=False))
    node.spawn(works("stubborn", stubborn=True))
    await asyncio.sleep(0)
    await super(Node, node).stop(0.05)
    assert sorted(ended) == ["meek", "stubborn"] and len(node.at_work) == 1
    for task in node.at_work:
        task.cancel()
