"""What static/sockets/gateway.js makes of a stream and of its connections, in a real Chromium.

The cases one by one are `clients/conformance/`; here is that a browser's sockets, timers and
promises are what those take them for.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Route

from tests.browser.script import PAGE, Script, serve

LOADER = """load: () => new Promise((resolve, reject) => {
    window.loads = (window.loads ?? []).concat({ resolve, reject }); }),
  apply: (data) => { heard.message.push({ id: data }); },"""


pytestmark = pytest.mark.timeout(600)  # a page has its share of a busy machine


def message(id: str, offset: int | None = None, event: str = "x") -> dict[str, Any]:
    frame = {"type": "message", "id": id, "event": event, "data": id, "time": 0}
    return frame if offset is None else {**frame, "offset": offset}


async def ids(script: Script) -> list[str]:
    return [one["id"] for one in await script.heard("message")]


async def replaced(script: Script) -> None:
    """The node sends it away in 2 s, and it has its second connection."""
    await script.connect()
    await script.becomes("online")
    await script.told(type="closing", code=4000, reconnect_after=2)
    assert script.welcome is not None
    script.welcome |= {"recovered": True}
    await script.page.clock.run_for(2_000)
    await script.until(lambda: len(script.sockets) == 2)


async def test_the_new_connection_is_made_before_the_old_one_breaks(script: Script) -> None:
    await replaced(script)
    for frame in (message("a", 6), message("e"), message("f")):
        script.say(on=0, **frame)
    for frame in (message("a", 6), message("b", 7), message("f"), message("g")):
        script.say(on=1, **frame)
    await script.page.wait_for_function("heard.message.length === 5")
    await script.page.evaluate("void gateway.send('chat', 1).catch(() => {})")
    await script.until(lambda: bool(script.sent("send")))
    await script.close(4000, on=0)
    script.say(on=1, **message("c", 8))
    await script.page.wait_for_function("gateway.position.offset === 8")
    assert sorted(await ids(script)) == ["a", "b", "c", "e", "f", "g"]
    assert [status["state"] for status in await script.heard("status")] == ["online"]
    await script.page.clock.run_for(20_000)
    assert len(script.sockets) == 2


async def test_a_node_that_closes_the_old_one_at_once_is_as_good(script: Script) -> None:
    """As nodes of before do, with 4503 where it is another one's."""
    assert script.welcome is not None
    welcome = {**script.welcome, "recovered": True}
    await script.connect()
    await script.becomes("online")
    await script.told(type="closing", code=4000, reconnect_after=2)
    script.welcome = None
    await script.page.clock.run_for(2_000)
    await script.until(lambda: len(script.sockets) == 2)
    await script.close(4503, on=0)
    await script.becomes("connecting")
    script.say(on=1, **welcome)
    await script.becomes("online")
    await script.page.clock.run_for(20_000)
    assert len(script.sockets) == 2


async def test_what_came_while_the_state_was_loaded_follows_it(script: Script) -> None:
    await script.connect(LOADER)
    await script.becomes("online")
    for frame in (message("a", 6), message("e"), message("b", 7)):
        script.say(**frame)
    await script.page.evaluate(
        "loads[0].resolve({ position: { epoch: 'e1', offset: 6 }, data: 'S6' })"
    )
    await script.page.wait_for_function("gateway.position?.offset === 7")
    assert await ids(script) == ["S6", "e", "b"]
    script.say(type="reset", epoch="e2", offset=3)
    await script.page.wait_for_function("loads.length === 2")
    await script.page.evaluate("void gateway.on('error', ({ code }) => { window.failed = code; })")
    await script.page.evaluate("loads[1].reject(new Error('503'))")
    script.say(**message("c", 4))
    await script.page.wait_for_function("window.failed === 'load_failed'")
    await script.page.clock.run_for(500)
    await script.page.wait_for_function("loads.length === 3")
    await script.page.evaluate(
        "loads[2].resolve({ position: { epoch: 'e2', offset: 3 }, data: 'S3' })"
    )
    await script.page.wait_for_function("gateway.position?.offset === 4")
    assert await ids(script) == ["S6", "e", "b", "S3", "c"]


async def test_a_token_is_renewed_on_the_live_socket(script: Script) -> None:
    assert script.welcome is not None
    script.welcome |= {"expires_in": 60, "heartbeat": 0}
    await script.page.evaluate("Math.random = () => 0.5")  # after 80 % of it
    await script.connect()
    await script.becomes("online")
    await script.page.clock.run_for(47_000)
    assert script.sent("refresh") == []
    await script.page.clock.run_for(2_000)
    await script.until(lambda: bool(script.sent("refresh")))
    [asked] = script.sent("refresh")
    assert asked["token"] == "token-2"
    await script.told(type="reply", ref=asked["ref"], ok=True, expires_in=3_600)
    await script.page.clock.run_for(60_000)
    assert len(script.sent("refresh")) == 1 and len(script.sockets) == 1


async def test_a_token_that_ended_while_the_machine_slept_is_renewed_at_once(
    script: Script,
) -> None:
    assert script.welcome is not None
    script.welcome |= {"expires_in": 3_600, "heartbeat": 0}
    await script.connect()
    await script.becomes("online")
    now = await script.page.evaluate("Date.now()")
    await script.page.clock.set_system_time(now / 1000 + 3_500)
    await script.page.evaluate("dispatchEvent(new FocusEvent('focus'))")
    await script.until(lambda: bool(script.sent("refresh")))


async def test_events_by_name_and_one_by_one(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate(
        """() => { window.named = [];
          gateway.on("order.paid", (data, { id }) => named.push(["on", data, id]));
          gateway.once("order.paid", (data) => named.push(["once", data]));
          gateway.on("event:status", (data) => named.push(["status", data]));
          (async () => { for await (const { id } of gateway) named.push(["next", id]); })(); }"""
    )
    for frame in (message("a", 6, "order.paid"), message("b", 7, "order.paid")):
        script.say(**frame)
    script.say(**message("s", 8, "status"))
    await script.page.wait_for_function("named.length === 7")
    named = await script.page.evaluate("named")
    assert [one for one in named if one[0] != "next"] == [
        ["on", "a", "a"], ["once", "a"], ["on", "b", "b"], ["status", "s"]
    ]  # fmt: skip
    assert [one[1] for one in named if one[0] == "next"] == ["a", "b", "s"]
    assert [status["state"] for status in await script.heard("status")] == ["online"]


async def test_a_strict_policy_suffices(browser: Browser) -> None:
    """No code is made of text, no style or image is asked for: scripts and sockets are enough."""
    page = await browser.new_page()
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    script = Script(page)

    async def with_policy(route: Route) -> None:
        if route.request.url.endswith("/gateway.js"):
            await serve(route)
            return
        policy = "default-src 'none'; script-src 'self'; connect-src ws://sdk.test"
        body = '<link rel="icon" href="data:,"><script type="module" src="/page.js"></script>'
        if route.request.url.endswith("/page.js"):
            source = "import { Gateway } from '/gateway.js'; window.gateway = new Gateway('ws://sdk.test/ws/client/');"
            await route.fulfill(body=source, content_type="text/javascript")
        else:
            headers = {"Content-Security-Policy": policy}
            await route.fulfill(body=body, content_type="text/html", headers=headers)

    await page.route("**/*", with_policy)
    await page.route_web_socket("**/ws/client/**", script.opened)
    await page.goto(PAGE)
    await page.wait_for_function("gateway.status.state === 'online'")
    await page.evaluate("gateway.close()")
    assert [line for line in errors if "image" not in line] == []
