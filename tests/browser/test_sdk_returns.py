"""When static/sockets/gateway.js comes back, and what makes it hurry."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser

from tests.browser.script import PAGE, SOCKET, Script, serve

LOOK = {
    "visible": "document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))",
    "shown": "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
    "focused": "dispatchEvent(new FocusEvent('focus'))",
}
HIDE = "Object.defineProperty(document, 'visibilityState', { value: 'hidden' })"
HOUR = 3600


async def refused(script: Script, code: int = 1006, failures: int = 8) -> None:
    """Connect and lose it until the next attempt of its own is half a minute away."""
    await script.page.evaluate("Math.random = () => 1")
    script.welcome = None
    await script.connect()
    for attempt in range(1, failures + 1):
        await script.until(lambda attempt=attempt: len(script.sockets) == attempt)  # type: ignore[misc]
        await script.close(code if code != 1006 else 1012)
        await script.becomes("offline")
        if attempt < failures:
            await script.page.evaluate("gateway.connect()")


@pytest.mark.parametrize("code", [1000, 1005, 1008, 1009, 1014, 3000, 4000, 4499])
async def test_a_close_that_is_no_verdict_is_a_lost_line(script: Script, code: int) -> None:
    """Of the browser's own socket: what follows is decided in `onclose`, whoever closed."""
    await script.page.evaluate(
        """() => { const Real = WebSocket; window.WebSocket = class extends Real {
             constructor(...given) { super(...given); window.last = this; } } }"""
    )
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate(
        "code => last.onclose(new CloseEvent('close', { code, reason: 'of a proxy' }))", code
    )
    status = await script.becomes("offline")
    assert (status["code"], status["reason"]) == (code, "of a proxy")
    await script.page.clock.run_for(1000)
    await script.becomes("online")
    assert len(script.sockets) == 2


async def test_a_close_within_a_handler_of_connecting_is_final(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.close(1012)
    await script.becomes("offline")
    await script.page.evaluate(
        """() => { window.states = [];
             gateway.on("status", ({ state }) => {
               states.push(state);
               if (state === "connecting") gateway.close(); });
             gateway.connect(); }"""
    )
    await script.page.clock.run_for(60_000)
    assert await script.page.evaluate("states") == ["connecting", "closed"]
    assert len(script.sockets) == 1


async def test_a_page_without_storage_keeps_its_id_over_a_close(script: Script) -> None:
    await script.page.evaluate(
        """() => { Storage.prototype.setItem = Storage.prototype.getItem =
             () => { throw new Error("no"); } }"""
    )
    await script.connect()
    await script.becomes("online")
    before = await script.page.evaluate("gateway.clientId")
    await script.page.evaluate("gateway.close(); gateway.connect()")
    await script.becomes("online")
    assert await script.page.evaluate("gateway.clientId") == before


@pytest.mark.parametrize("how", LOOK)
async def test_a_page_that_is_looked_at_again_tries_at_once(script: Script, how: str) -> None:
    await refused(script)
    await script.page.evaluate(LOOK[how])
    await script.until(lambda: len(script.sockets) == 9)
    for again in LOOK.values():  # one is under way
        await script.page.evaluate(again)
    await script.close(1012)
    await script.becomes("offline")
    for again in LOOK.values():  # at most once in 2 s
        await script.page.evaluate(again)
    assert (await script.becomes("offline"))["state"] == "offline"
    await script.page.clock.run_for(2000)
    assert len(script.sockets) == 9
    await script.page.evaluate(LOOK[how])
    await script.until(lambda: len(script.sockets) == 10)


async def test_a_page_that_is_hidden_does_not_try(script: Script) -> None:
    await refused(script)
    await script.page.evaluate(HIDE)
    await script.page.evaluate(LOOK["visible"])
    assert await script.page.evaluate("gateway.status.state") == "offline"


async def test_no_look_brings_a_page_back_before_its_turn(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    script.say(type="closing", code=4000, reconnect_after=42)
    await script.close(4000)
    await script.becomes("offline")
    for seconds in (0, 20, 21):
        await script.page.clock.run_for(seconds * 1000)
        for look in LOOK.values():
            await script.page.evaluate(look)
        assert await script.page.evaluate("gateway.status.state") == "offline"
    await script.page.clock.run_for(1000)
    await script.becomes("online")
    assert len(script.sockets) == 2


async def test_a_turn_that_is_over_delays_no_look(script: Script) -> None:
    """After a node that drained came one that refuses."""
    await script.page.evaluate("Math.random = () => 1")
    await script.connect()
    await script.becomes("online")
    script.say(type="closing", code=4000, reconnect_after=3)
    script.welcome = None
    for attempt in range(1, 9):
        await script.until(lambda attempt=attempt: len(script.sockets) == attempt)  # type: ignore[misc]
        await script.close(1012)
        await script.becomes("offline")
        if attempt < 8:
            await script.page.clock.fast_forward(31_000)
    await script.page.evaluate(LOOK["focused"])
    await script.until(lambda: len(script.sockets) == 9)


@pytest.mark.parametrize("how", LOOK)
async def test_a_line_that_was_silent_is_asked(script: Script, how: str) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.clock.run_for(4900)
    await script.page.evaluate(LOOK[how])
    await script.page.clock.run_for(100)
    assert script.frames == [], "a frame came less than 5 s ago"
    for look in (how, *LOOK):
        await script.page.evaluate(LOOK[look])
    await script.until(lambda: bool(script.frames))
    [asked] = script.frames
    assert asked == {"type": "ack", "ref": asked["ref"], "epoch": "e1", "offset": 5}
    script.say(type="reply", ref=asked["ref"], ok=True)
    await script.page.clock.run_for(4500)
    assert (await script.becomes("online"))["state"] == "online"
    await script.page.clock.run_for(500)
    await script.page.evaluate(LOOK[how])
    await script.until(lambda: len(script.frames) == 2)
    await script.page.clock.fast_forward(4100)  # no answer
    assert (await script.heard("status"))[-1]["reason"] == "no answer"
    await script.page.clock.run_for(500)
    await script.becomes("online")


@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_a_step_of_the_clock_delays_nothing(script: Script, step: int) -> None:
    async def stepped() -> None:
        now = await script.page.evaluate("Date.now()")
        await script.page.clock.set_system_time(now / 1000 + step)

    await script.page.evaluate("Math.random = () => 1")
    await script.connect()
    await script.becomes("online")
    # What was planned stays planned.
    script.say(type="closing", code=4000, reconnect_after=10)
    await script.page.wait_for_function("true")
    await stepped()
    await script.close(4000)
    status = await script.becomes("offline")
    assert 0 < status["retryAt"] - await script.page.evaluate("Date.now()") <= 10_000
    await script.page.clock.run_for(9_000)
    assert len(script.sockets) == 1
    await script.page.clock.run_for(1_000)
    await script.becomes("online")
    # A connection that has lived counts as one, and one that has not does not.
    await script.page.clock.run_for(6_000)
    await stepped()
    await script.close(1012)
    status = await script.becomes("offline")
    assert status["retryAt"] - await script.page.evaluate("Date.now()") == 500
    await stepped()
    await script.page.clock.run_for(500)
    await script.becomes("online")
    await stepped()
    await script.close(1012)
    status = await script.becomes("offline")
    assert status["retryAt"] - await script.page.evaluate("Date.now()") == 1000
    # A look is not too early an hour long.
    await script.page.evaluate(LOOK["focused"])
    await script.becomes("online")
    await script.page.clock.run_for(3_000)
    await stepped()
    await script.close(1012)
    await script.becomes("offline")
    await script.page.evaluate(LOOK["focused"])
    await script.becomes("online")


async def test_a_machine_that_slept_is_asked(script: Script) -> None:
    """On many the ticks stand still meanwhile; the clock does not."""
    await script.connect()
    await script.becomes("online")
    now = await script.page.evaluate("Date.now()")
    await script.page.clock.set_system_time(now / 1000 + 60)
    await script.page.evaluate(LOOK["visible"])
    await script.until(lambda: bool(script.sent("ack")))


async def test_close_leaves_no_listener(browser: Browser) -> None:
    page = await browser.new_page()
    await page.route("**/*", serve)
    script = Script(page)
    await page.route_web_socket("**/ws/client/**", script.opened)
    await page.goto(PAGE)
    await page.evaluate(
        """() => { window.listening = [];
          for (const target of [window, document]) {
            const add = target.addEventListener, remove = target.removeEventListener;
            target.addEventListener = (...given) => {
              const ours = new Error().stack.includes("/gateway.js"); // Playwright listens, too
              if (ours) listening.push(given);
              add.apply(target, given); };
            target.removeEventListener = (...given) => {
              const same = ([name, way]) => name === given[0] && way === given[1];
              listening.splice(listening.findIndex(same), 1);
              remove.apply(target, given); };
          } }"""
    )
    for final in ("close", 4503):
        await script.connect()
        for _ in range(3):
            await script.becomes("online")
            assert await page.evaluate("listening.map(([name]) => name)") != []
            if final == "close":
                await page.evaluate("gateway.close()")
            else:
                await script.close(int(final))
            await script.becomes("closed")
            assert await page.evaluate("listening.map(([name]) => name)") == []
            await page.evaluate("gateway.connect()")
        await page.evaluate("gateway.close()")
        await script.becomes("closed")
    opened = len(script.sockets)
    for event in (*LOOK.values(), "dispatchEvent(new Event('online'))"):
        await page.evaluate(event)
    await page.evaluate("new Promise((resolve) => setTimeout(resolve))")
    assert len(script.sockets) == opened


async def test_whoever_closes_gives_the_tabs_id_to_the_next(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    first = script.query()["client_id"]
    made: list[Any] = await script.page.evaluate(
        f"""async () => {{
          const {{ Gateway }} = await import("/gateway.js");
          const other = new Gateway("{SOCKET}"), ids = [other.clientId];
          gateway.close();
          gateway.connect(); // nobody took it meanwhile
          ids.push(gateway.clientId);
          gateway.close();
          const third = new Gateway("{SOCKET}");
          gateway.connect(); // the third has it
          ids.push(third.clientId, gateway.clientId);
          return ids; }}"""
    )
    other, again, third, last = made
    assert again == third == first
    assert len({first, other, last}) == 3


async def test_whoever_closes_at_once_hears_no_more(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate(
        """void (globalThis.heard = [], gateway.close(),
        gateway.on("status", ({ state }) => heard.push(state)),
        gateway.on("status", ({ state }) => state === "online" && gateway.close()),
        gateway.on("welcome", () => heard.push("welcome")),
        gateway.on("reset", () => heard.push("reset")),
        gateway.connect())"""
    )
    await script.until(lambda: len(script.sockets) == 2)
    await script.becomes("closed")
    assert await script.page.evaluate("heard") == ["connecting", "online", "closed"]
