"""Gateways that a project's tests start: real processes, on a Valkey that can be cut off."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

from sockets.testing import live
from sockets.testing.fixtures import live_gateway as live_gateway
from sockets.testing.fixtures import live_redis as live_redis
from sockets.testing.live import KEY, LiveGateway, LiveRedis
from tests.support import gateway as support
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import client_at


@pytest.fixture(autouse=True)
def without_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this project, whose settings read it."""
    monkeypatch.setenv("DEMO", "false")


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as made:
        yield made


async def notify(api: httpx.AsyncClient, gateway: LiveGateway, data: int) -> int:
    url = f"{gateway.api_url}/api/v1/users/42/messages"
    return (await api.post(url, json={"event": "e", "data": data})).status_code


async def test_in_memory_mode(live_gateway: LiveGateway, api: httpx.AsyncClient) -> None:
    page = await client_at(live_gateway.client_url("42"))
    assert await notify(api, live_gateway, 1) == 200
    assert (await page.receive())["data"] == 1
    stopping = asyncio.create_task(asyncio.to_thread(live_gateway.stop))
    assert (await page.receive())["type"] == "closing"
    assert (await page.closed())[0] == 4000 and await stopping == 0


def test_the_project_s_own_redis_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    with LiveGateway(tmp_path) as gateway:
        ready = httpx.get(f"{gateway.api_url}/readyz", trust_env=False)
        assert ready.status_code == 200, ready.text


class InVain(Exception):
    """Nobody waits for the start."""


def in_vain(*_: object) -> NoReturn:
    raise InVain


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started, while every start fails."""

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            processes.append(self)

    processes: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(subprocess, "Popen", Noted)
    monkeypatch.setattr(live, "_until", in_vain)
    monkeypatch.setattr(LiveGateway, "_run", lambda *_: None)
    monkeypatch.setattr(support, "wait_for", in_vain)
    monkeypatch.setattr(support.Gateway, "migrate", lambda _: None)
    monkeypatch.setattr(support.Gateway, "may_be_warm", False)
    return processes


@pytest.mark.parametrize(
    "start",
    [LiveRedis, LiveGateway, support.running, support.uvicorn, support.plain_daphne],
)
def test_a_start_that_fails_leaves_no_process(
    start: Callable[[Path], AbstractContextManager[object]],
    tmp_path: Path,
    started: list[subprocess.Popen[bytes]],
) -> None:
    with pytest.raises(InVain), start(tmp_path):
        pass
    assert [process.poll() is None for process in started] == [False]


async def test_a_node_is_killed_and_a_redis_is_cut(
    tmp_path: Path,
    live_redis: LiveRedis,
    api: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = LiveGateway(tmp_path, redis=live_redis, name="one")
    with one, LiveGateway(tmp_path, redis=live_redis, name="two") as two:
        page = await client_at(one.client_url("42"))
        place = page.welcome
        one.kill()
        assert await notify(api, two, 1) == 200
        at = {"client_id": place["client"], "epoch": place["epoch"], "offset": "0"}
        page = await client_at(two.client_url("42", **at))
        assert page.welcome["recovered"] and (await page.receive())["data"] == 1
        live_redis.cut()
        assert await notify(api, two, 2) == 503
        live_redis.mend()

        async with asyncio.timeout(PATIENCE):
            while await notify(api, two, 3) != 200:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.05)
        assert (await page.receive(20))["data"] == 3
        ran: list[str] = []
        monkeypatch.setattr(LiveGateway, "_run", lambda _, *command: ran.extend(command))
        await asyncio.to_thread(one.start)
        assert ran == [], "its tables are there"


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway:
        other = LiveGateway(tmp_path, name="other")
        other.client_port = gateway.client_port
        with pytest.raises(AssertionError, match=f"port {gateway.client_port} is in use"):
            other.start()
        wait_for(lambda: "Traceback" not in other.log(), "no traceback", 1)
