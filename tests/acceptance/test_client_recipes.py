"""The recipes of docs/client-recipes.md, word by word: what was missed comes, a verdict is kept."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.gateway import API_KEY, ROOT, Gateway, running
from tests.support.patience import PATIENCE

PAGE = (ROOT / "docs" / "client-recipes.md").read_text()
PACKAGES = ("ws@8", "reconnecting-websocket@4.4.0")

RUN = """
import { listen } from "./recipe.mjs";
import WebSocket from "ws";
const [url, clientId] = process.argv.slice(2);
const say = (...words) => console.log(JSON.stringify(words));
listen(url, {
  clientId, WebSocket, token: () => process.env.TOKEN,
  onMessage: (event, data) => say(event, data), onReset: () => say("reset"),
});
process.stdin.on("end", () => process.exit(0)).resume();
setInterval(() => {}, 1000);
"""


def block(section: str) -> str:
    """The code of a section."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.search(r"```\w+\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def token_for(user: str) -> str:
    import time

    import jwt

    from tests.support.gateway import JWT_SECRET

    return jwt.encode({"sub": user, "exp": int(time.time()) + 600}, JWT_SECRET, "HS256")


def notify(gateway: Gateway, data: object, event: str = "e") -> None:
    url = f"http://127.0.0.1:{gateway.worker_port}/api/v1/users/42/messages"
    headers = {"Authorization": f"Bearer {API_KEY}"}
    httpx.post(url, json={"event": event, "data": data}, headers=headers).raise_for_status()


def disconnect(gateway: Gateway, code: int) -> None:
    url = f"http://127.0.0.1:{gateway.worker_port}/api/v1/users/42/sessions"
    headers = {"Authorization": f"Bearer {API_KEY}"}
    httpx.request("DELETE", url, params={"code": code}, headers=headers).raise_for_status()


class Heard(asyncio.Queue[Any]):
    async def next(self) -> Any:
        return await asyncio.wait_for(self.get(), PATIENCE)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    with running(tmp_path / "gateway", AUTH="jwt") as started:
        yield started


async def live(gateway: Gateway, sessions: int = 1) -> None:
    """Wait until so many are connected."""
    url = f"http://127.0.0.1:{gateway.worker_port}/api/v1/users/42"
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient() as http:
        for _ in range(300):
            found = (await http.get(url, headers=headers)).json()
            if len(found["sessions"]) == sessions:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("nobody has come")


async def goes_through(gateway: Gateway, heard: Heard) -> None:
    """What each recipe promises."""
    await live(gateway)
    notify(gateway, 1)
    assert await heard.next() == ["e", 1]
    await asyncio.to_thread(disconnect, gateway, 4000)  # a lost line
    notify(gateway, 2)
    notify(gateway, 3)
    assert [await heard.next(), await heard.next()] == [["e", 2], ["e", 3]]
    gateway.kill()
    gateway.start()
    assert await heard.next() == ["reset"]
    await live(gateway)
    await asyncio.to_thread(disconnect, gateway, 4504)  # a verdict
    await live(gateway, 0)
    await asyncio.sleep(2)
    await live(gateway, 0)
    assert heard.empty()


async def test_python(gateway: Gateway) -> None:
    names: dict[str, Any] = {}
    exec(compile(block("Python"), "client-recipes.md", "exec"), names)
    heard = Heard()

    async def on_message(event: str, data: Any) -> None:
        heard.put_nowait([event, data])

    async def on_reset() -> None:
        heard.put_nowait(["reset"])

    url = f"ws://127.0.0.1:{gateway.client_port}/"
    listening = asyncio.create_task(
        names["listen"](url, lambda: token_for("42"), on_message, on_reset)
    )
    await goes_through(gateway, heard)
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(listening, PATIENCE)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages that the recipes import."""
    folder = tmp_path_factory.mktemp("recipes")
    if shutil.which("npm") is None:
        pytest.skip("npm is not here")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", *PACKAGES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("section", ["Node, with `ws`", "`reconnecting-websocket`"])
async def test_node(gateway: Gateway, packages: Path, section: str) -> None:
    (packages / "recipe.mjs").write_text(block(section))
    (packages / "run.mjs").write_text(RUN)
    heard = Heard()
    process = await asyncio.create_subprocess_exec(
        *("node", "run.mjs", f"ws://127.0.0.1:{gateway.client_port}/"),
        "01JZ3N5Y3C8M4Q0T7V9X2B6D1F",
        cwd=packages,
        env={"PATH": os.environ["PATH"], "TOKEN": token_for("42")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            heard.put_nowait(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        await goes_through(gateway, heard)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        reading.cancel()
