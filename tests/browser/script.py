"""The browser's SDK against a socket that follows a script, on a page whose clock stands still."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest_asyncio
from playwright.async_api import Browser, Page, Route, WebSocketRoute

from tests.support.gateway import ROOT
from tests.support.patience import PATIENCE

PAGE, SOCKET = "http://sdk.test/", "ws://sdk.test/ws/client/"
HEARTBEAT = 25
# What the page's sockets have read, word for word.
READ = """() => {
  window.read = [];
  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => window.read.push(data));
    }
  };
}"""


class Script:
    """The server's end: `sockets` that were opened, `frames` that came, what `welcome` says."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sockets: list[WebSocketRoute] = []
        self.frames: list[dict[str, Any]] = []
        self.welcome: dict[str, Any] | None = {
            "type": "welcome", "epoch": "e1", "offset": 5, "recovered": None, "heartbeat": HEARTBEAT
        }  # fmt: skip

    def opened(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda text: self.frames.append(json.loads(text)))
        if self.welcome:
            self.say(**self.welcome)

    def say(self, on: int = -1, **frame: Any) -> None:
        """From a socket, by default the last."""
        self.sockets[on].send(json.dumps(frame))

    async def told(self, on: int = -1, **frame: Any) -> None:
        """Say it, and wait until the page has read it: what moves the clock next comes after."""
        self.say(on, **frame)
        await self.page.wait_for_function(
            "text => window.read.includes(text)", arg=json.dumps(frame), timeout=30_000
        )

    async def close(self, code: int, on: int = -1) -> None:
        await self.sockets[on].close(code=code, reason="test")

    def query(self) -> dict[str, str]:
        """Of the last handshake."""
        return {
            name: values[-1]
            for name, values in parse_qs(urlsplit(self.sockets[-1].url).query).items()
        }

    def sent(self, type: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["type"] == type]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            # What comes through Chromium sets no event of ours.
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def connect(self, options: str = "", url: str = SOCKET) -> None:
        """Make `window.gateway`; everything it says is kept in `window.heard`."""
        await self.page.evaluate(
            f"""async () => {{
              const sdk = await import("/gateway.js");
              window.tokens = 0;
              window.heard = {{ status: [], message: [], reset: [] }};
              window.gateway = new sdk.Gateway("{url}", {{
                getToken: async () => `token-${{++window.tokens}}`, {options} }});
              for (const [name, list] of Object.entries(window.heard))
                window.gateway.on(name, (detail) => list.push(structuredClone(detail)));
            }}"""
        )

    async def heard(self, name: str) -> Any:
        return await self.page.evaluate("name => window.heard[name]", name)

    async def becomes(self, state: str) -> dict[str, Any]:
        """Wait for a status; returns it."""
        await self.page.wait_for_function(
            "state => window.gateway.status.state === state", arg=state, timeout=30_000
        )
        status: dict[str, Any] = await self.page.evaluate("window.gateway.status")
        return status

    async def position(self) -> Any:
        return await self.page.evaluate("window.gateway.position")


async def serve(route: Route) -> None:
    if route.request.url.endswith("/gateway.js"):
        await route.fulfill(
            path=ROOT / "sockets" / "static" / "sockets" / "gateway.js",
            content_type="text/javascript",
        )
    else:
        await route.fulfill(body="<title>test</title>", content_type="text/html")


@pytest_asyncio.fixture(loop_scope="session")
async def script(browser: Browser) -> AsyncIterator[Script]:
    page = await browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # The page's clock stands still: only a test moves it.
    await page.clock.install(time=0)
    script = Script(page)
    await page.route("**/*", serve)
    await page.route_web_socket("**/ws/client/**", script.opened)
    await page.goto(PAGE)
    await page.evaluate(READ)
    await page.clock.pause_at(1_000_000_000)
    yield script
    assert errors == [], errors
