"""static/sockets/gateway.js in Chromium, against real gateways that end, die and are cut off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from playwright.async_api import Browser, Page, Route

from tests.browser.static import folder_served
from tests.support.gateway import API_KEY, JWT_SECRET, ROOT, Gateway, running
from tests.support.proxy import Proxy, proxy
from tests.support.releases import checkout_of_last_release
from tests.support.valkey import Server

KEY = {"Authorization": f"Bearer {API_KEY}"}
SETTINGS = {"ENVIRONMENT": "development", "AUTH": "insecure,jwt", "DRAIN_SECONDS": "1"}
USER = "42"

CONNECT = """async ([url, options]) => {
  const { Gateway } = await import(url.replace("ws:", "http:") + "gateway.js");
  window.heard = [];
  window.told = [];
  window.gateway = new Gateway(url, { query: { user_id: "42" }, ...eval(`(${options})`) });
  gateway.on("message", ({ data, offset }) => heard.push([data, offset ?? null]));
  for (const name of ["status", "reset", "missed", "error"])
    gateway.on(name, (detail) => told.push([name, detail.state ?? detail.code ?? 0]));
}"""


PATIENCE = 120_000
"""Milliseconds that a page may take on a machine that does much else."""

pytestmark = pytest.mark.timeout(600)


@dataclass
class Publisher:
    """Sends numbers to the user, durable ones and others, at whichever node is there."""

    nodes: list[Gateway]
    durable: list[int] = field(default_factory=list)
    ephemeral: list[int] = field(default_factory=list)
    is_over: bool = False

    async def run(self, pause: float = 0.01, size: int = 0) -> None:
        """Until it is told to stop: what is on its way then is noted too."""
        async with httpx.AsyncClient(headers=KEY, trust_env=False, timeout=5) as client:
            for number in takewhile(lambda _: not self.is_over, count()):
                await self._send(client, number, size)
                await asyncio.sleep(pause)

    async def _send(self, client: httpx.AsyncClient, number: int, size: int) -> None:
        is_durable = number % 2 == 0
        body = {
            "event": "number",
            "data": f"{number}{' ' * size}" if size else number,
            "durable": is_durable,
        }
        for node in self.nodes:
            path = node.http(f"/api/v1/users/{USER}/messages", private=True)
            with suppress(httpx.HTTPError):
                key = {"Idempotency-Key": f"n{number}"} if is_durable else {}
                answer = await client.post(path, json=body, headers=key)
                if answer.status_code == 200:
                    (self.durable if is_durable else self.ephemeral).append(number)
                    return

    async def state(self) -> dict[str, Any]:
        """What a page's `load` gives: the position, and after that what was sent."""
        async with httpx.AsyncClient(headers=KEY, trust_env=False, timeout=5) as client:
            path = self.nodes[-1].http(f"/api/v1/users/{USER}", private=True)
            position = (await client.get(path)).raise_for_status().json()["position"]
        return {"position": position, "data": list(self.durable)}


@contextmanager
def folder(tmp_path: Path) -> Iterator[str]:
    made = tmp_path / "page"
    made.mkdir()
    (made / "index.html").write_text("<title>page</title>")
    with folder_served(made) as url:
        yield url


@asynccontextmanager
async def publishing(publisher: Publisher, **how: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run(**how))
    try:
        yield
    finally:
        publisher.is_over = True
        await task


@pytest.fixture
def redis() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@contextmanager
def two_nodes(tmp_path: Path, redis: Server) -> Iterator[tuple[Gateway, Gateway]]:
    # A page that is kept from a core comes back before its old socket is closed.
    shared = {**SETTINGS, "REDIS_URL": redis.url, "DRAIN_SECONDS": "3"}
    with (
        running(tmp_path / "one", **shared, NODE_NAME="one") as one,
        running(tmp_path / "two", **shared, NODE_NAME="two") as two,
    ):
        yield one, two


async def connected(page: Page, at: Proxy, options: str = "{}") -> None:
    await page.evaluate(CONNECT, [f"ws://127.0.0.1:{at.port}/", options])
    await page.wait_for_function("gateway.status.state === 'online'")


async def heard(page: Page) -> tuple[list[int], list[int]]:
    """The durable numbers, and the others."""
    pairs = await page.evaluate("heard.map(([data, offset]) => [Number(data), offset])")
    return (
        [number for number, offset in pairs if offset is not None],
        [number for number, offset in pairs if offset is None],
    )


async def until_all_came(page: Page, publisher: Publisher) -> None:
    last = publisher.durable[-1]
    await page.wait_for_function(f"heard.some(([data]) => Number(data) === {last})")


async def told(page: Page, name: str) -> list[Any]:
    return [detail for what, detail in await page.evaluate("told") if what == name]


@pytest.mark.parametrize("how", ["drain", "kill -9"])
async def test_a_node_goes_and_another_is_there(
    browser: Browser, tmp_path: Path, redis: Server, how: str
) -> None:
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE)
    with two_nodes(tmp_path, redis) as (one, two), folder(tmp_path) as url:
        async with proxy(one.client_port) as balancer:
            await page.goto(url)
            await connected(page, balancer)
            publisher = Publisher([two])
            async with publishing(publisher):
                await page.wait_for_function("heard.length > 20")
                balancer.target = two.client_port
                if how == "drain":
                    assert await asyncio.to_thread(one.stop) == 0
                else:
                    one.kill()
                await page.wait_for_function("gateway.status.state === 'online'")
                seen = len(publisher.durable)
                while len(publisher.durable) < seen + 20:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await until_all_came(page, publisher)
            durable, ephemeral = await heard(page)
            assert durable == publisher.durable
            assert len(set(ephemeral)) == len(ephemeral)
            if how == "drain":  # the old socket lives until the new one is welcome
                # After the last durable one, some may still be on their way, or not be noted yet.
                due = [n for n in publisher.ephemeral if ephemeral[0] <= n < durable[-1]]
                assert due and set(due) <= set(ephemeral)
            assert await told(page, "reset") == []
            if how == "kill -9":
                one.start()  # to be ended as the other is


async def test_a_line_that_is_cut_and_held_up_in_mid_frame(
    browser: Browser, tmp_path: Path
) -> None:
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE)
    with running(tmp_path / "node", **SETTINGS) as node, folder(tmp_path) as url:
        async with proxy(node.client_port) as line:
            await page.goto(url)
            await connected(page, line)
            publisher = Publisher([node])
            async with publishing(publisher, pause=0.02, size=20_000):
                for round in range(8):
                    seen = await page.evaluate("heard.length")
                    await page.wait_for_function(f"heard.length > {seen + 5}")
                    losses = (await told(page, "status")).count("offline")
                    line.open.clear()
                    await asyncio.sleep(0.02 * round)
                    for writer in tuple(line.writers):
                        writer.transport.abort()
                    line.open.set()
                    # Before that it would be nothing to do, and its own attempt comes later.
                    await page.wait_for_function(
                        f"told.filter(([, detail]) => detail === 'offline').length > {losses}"
                    )
                    await page.evaluate("gateway.connect()")
            await until_all_came(page, publisher)
            durable, ephemeral = await heard(page)
            assert durable == publisher.durable
            assert len(set(ephemeral)) == len(ephemeral)
            assert line.connections > 5


async def test_a_state_that_is_loaded_goes_on_through_restarts(
    browser: Browser, tmp_path: Path
) -> None:
    """Each begins new streams. The page has in the end what was sent, whatever came between."""
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE)
    with running(tmp_path / "node", **SETTINGS) as node, folder(tmp_path) as url:
        async with proxy(node.client_port) as line:
            publisher = Publisher([node])
            asked = 0
            stale: dict[str, Any] = {}

            async def load() -> dict[str, Any]:
                """Fails now and then, takes its time, and once gives one from before the reset."""
                nonlocal asked, stale
                asked += 1
                if asked % 3 == 2:
                    raise RuntimeError("503")
                state = await publisher.state()
                if asked == 4:
                    return stale
                stale = stale or state
                await asyncio.sleep(0.05)
                return state

            await page.goto(url)
            await page.expose_function("state", load)
            options = """{ load: () => state(),
              apply: (numbers) => { window.heard = numbers.map((number) => [number, 0]); } }"""
            async with publishing(publisher):
                while not publisher.durable:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await connected(page, line, options)
                for how in (node.kill, node.stop):
                    seen = publisher.durable[-1]
                    await page.wait_for_function(f"heard.some(([data]) => data > {seen})")
                    resets = len(await told(page, "reset"))
                    await asyncio.to_thread(how)
                    await asyncio.to_thread(node.start)
                    line.target = node.client_port
                    await page.evaluate("gateway.connect()")
                    await page.wait_for_function(
                        f"told.filter(([name]) => name === 'reset').length > {resets}",
                    )
                seen = publisher.durable[-1]
                await page.wait_for_function(f"heard.some(([data]) => data > {seen})")
            await until_all_came(page, publisher)
            durable, _ = await heard(page)
            # A state that is read after its position may hold what follows that: applied twice.
            assert list(dict.fromkeys(durable)) == publisher.durable
            assert "load_failed" in await told(page, "error")


async def test_in_a_worker(browser: Browser, tmp_path: Path) -> None:
    """Which has no document, no storage and no page that could be left."""
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE)
    with running(tmp_path / "node", **SETTINGS) as node, folder(tmp_path) as url:
        (tmp_path / "page" / "worker.js").write_text(
            f"""import {{ Gateway }} from "{node.http("/gateway.js")}";
            const gateway = new Gateway("{node.client_url(user_id=USER)}");
            gateway.on("number", (data) => {{ postMessage(data); gateway.close(); }});"""
        )
        await page.goto(url)
        await page.evaluate(
            """() => { const worker = new Worker("worker.js", { type: "module" });
                 worker.onerror = ({ message }) => { window.heard = message; };
                 worker.onmessage = ({ data }) => { window.heard = data; }; }"""
        )
        async with publishing(Publisher([node])):
            await page.wait_for_function("window.heard !== undefined")
        assert isinstance(await page.evaluate("window.heard"), int)


@pytest.mark.parametrize("older", ["client", "server"])
async def test_the_last_release_at_either_end(browser: Browser, tmp_path: Path, older: str) -> None:
    """A page that was open during the change, and one that came from a node of tomorrow."""
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE)
    release = checkout_of_last_release(tmp_path / "release")
    node = Gateway(tmp_path / "node", **SETTINGS)
    node.folder = release if older == "server" else ROOT
    client = (release if older == "client" else ROOT) / "sockets/static/sockets/gateway.js"
    node.migrate()
    node.start()
    try:
        with folder(tmp_path) as url:
            async with proxy(node.client_port) as line:
                await page.route("**/gateway.js", lambda route: _fulfill(route, client))
                await page.goto(url)
                await connected(page, line)
                publisher = Publisher([node])
                async with publishing(publisher):
                    await page.wait_for_function("heard.length > 10")
                    for writer in tuple(line.writers):
                        writer.transport.abort()
                    await page.wait_for_function("gateway.status.state === 'online'")
                    await page.wait_for_function(f"heard.length > {len(publisher.durable) + 20}")
                await until_all_came(page, publisher)
                durable, _ = await heard(page)
                assert durable == publisher.durable
                assert await told(page, "reset") == []
    finally:
        node.kill()
    assert "Traceback" not in node.log(), node.log()


async def _fulfill(route: Route, file: Path) -> None:
    headers = {"Access-Control-Allow-Origin": "*"}
    await route.fulfill(path=file, content_type="text/javascript", headers=headers)


async def test_a_token_is_renewed_before_it_ends(browser: Browser, tmp_path: Path) -> None:
    """Of 12 seconds, without a grace: what is not renewed is closed (4003)."""
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE)
    tokens = 0

    async def token() -> str:
        nonlocal tokens
        tokens += 1
        claims = {"sub": USER, "exp": int(time.time()) + 12}
        return jwt.encode(claims, JWT_SECRET, algorithm="HS256")

    settings = {**SETTINGS, "AUTH": "jwt", "TOKEN_GRACE": "0", "JWT_LEEWAY": "0"}
    with running(tmp_path / "node", **settings) as node, folder(tmp_path) as url:
        async with proxy(node.client_port) as line:
            await page.goto(url)
            await page.expose_function("token", token)
            await connected(page, line, "{ getToken: () => token() }")
            await asyncio.sleep(14)
            assert await page.evaluate("gateway.status.state") == "online"
            assert line.connections == 2  # the module, and the one socket
            assert tokens == 2
            assert await told(page, "error") == []
