"""When static/sockets/gateway.js comes back, and what makes it hurry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.script import PAGE, SOCKET, Script, serve
from tests.browser.static import folder_served
from tests.support.gateway import API_KEY, running, wait_for

LOOK = {
    "visible": "document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))",
    "shown": "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
    "focused": "dispatchEvent(new FocusEvent('focus'))",
}
LEAVE = "dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))"
HIDE = "Object.defineProperty(document, 'visibilityState', { value: 'hidden' })"
HOUR = 3600
KEY = {"Authorization": f"Bearer {API_KEY}"}


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


@pytest.mark.parametrize(
    "code",
    [
        *(1000, 1008, 3000, 4499),
        *(pytest.param(code, marks=pytest.mark.soak) for code in (1005, 1009, 1014, 4000)),
    ],
)
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
    await script.told(type="reply", ref=asked["ref"], ok=True)
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
    await script.told(type="closing", code=4000, reconnect_after=10)
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


@pytest.mark.parametrize("persisted", ["true", "false"])
async def test_a_page_that_is_left_closes_its_socket(script: Script, persisted: str) -> None:
    closed: list[int | None] = []
    await script.connect()
    await script.becomes("online")
    script.sockets[0].on_close(lambda code, _: closed.append(code))
    await script.page.evaluate(
        "void gateway.send('x').catch(({ code }) => { window.answer = code; })"
    )
    await script.page.evaluate(LEAVE.replace("true", persisted))
    await script.until(lambda: closed == [1000])
    status = await script.becomes("offline")
    assert (status["code"], status["reason"]) == (1000, "the page was left")
    assert "retryAt" not in status
    assert await script.page.evaluate("window.answer") == "disconnected"
    await script.page.clock.fast_forward(120_000)
    assert len(script.sockets) == 1


async def test_a_page_that_back_shows_again_returns_at_once(script: Script) -> None:
    """With its client id and its position, as often as that happens."""
    await script.connect()
    await script.becomes("online")
    script.say(type="message", id="a", event="x", data=1, time=0, offset=6)
    await script.page.wait_for_function("gateway.position.offset === 6")
    first = script.query()["client_id"]
    for times in range(2, 5):
        await script.page.evaluate(LEAVE)
        await script.becomes("offline")
        assert script.welcome is not None
        script.welcome |= {"offset": 6, "recovered": True}
        await script.page.evaluate(LOOK["shown"])
        await script.becomes("online")
        assert len(script.sockets) == times
        assert script.query()["client_id"] == first
        assert (script.query()["epoch"], script.query()["offset"]) == ("e1", "6")
    assert await script.heard("reset") == []


async def test_a_page_that_is_left_while_it_connects_returns_too(script: Script) -> None:
    await script.connect("getToken: () => new Promise((resolve) => { window.give = resolve; })")
    await script.page.evaluate(LEAVE)
    await script.page.evaluate("give('late')")
    await script.page.clock.run_for(1000)
    assert (await script.becomes("offline"))["code"] == 1000
    assert script.sockets == []
    await script.page.evaluate(LOOK["shown"])
    await script.page.evaluate("give('anew')")
    await script.becomes("online")
    assert len(script.sockets) == 1


async def test_back_brings_no_page_before_its_turn(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    script.say(type="closing", code=4000, reconnect_after=42)
    await script.close(4000)
    await script.becomes("offline")
    await script.page.evaluate(LEAVE)
    await script.page.clock.run_for(20_000)
    await script.page.evaluate(LOOK["shown"])
    status = await script.becomes("offline")
    assert status["retryAt"] - await script.page.evaluate("Date.now()") == 22_000
    await script.page.clock.run_for(21_000)
    assert len(script.sockets) == 1
    await script.page.clock.run_for(1_000)
    await script.becomes("online")


async def test_a_page_that_was_closed_stays_closed(script: Script) -> None:
    await script.connect()
    await script.becomes("online")
    await script.page.evaluate("gateway.close()")
    for event in (LEAVE, LOOK["shown"]):
        await script.page.evaluate(event)
    await script.page.clock.run_for(60_000)
    assert await script.page.evaluate("gateway.status.state") == "closed"
    assert len(script.sockets) == 1


@pytest.mark.parametrize("back", [True, False])
async def test_chromium_lets_go_of_whoever_leaves(tmp_path: Path, back: bool) -> None:
    """The real thing, with the back-forward cache, which Playwright turns off otherwise."""
    folder = tmp_path / "page"
    folder.mkdir()
    unload = "" if back else "<script>onunload = () => {}; onbeforeunload = () => {}</script>"
    environment = {"ENVIRONMENT": "development", "AUTH": "insecure", "PRESENCE_GRACE": "0.2"}
    with running(tmp_path, **environment) as gateway, folder_served(folder) as url:
        at = f"localhost:{gateway.client_port}"
        (folder / "index.html").write_text(
            f"""<title>first</title>{unload}<script type="module">
            import {{ Gateway }} from "http://{at}/gateway.js";
            window.states = [];
            window.gateway = new Gateway("ws://{at}/", {{ query: {{ user_id: "42" }} }});
            gateway.on("status", ({{ state }}) => states.push(state));
            </script>"""
        )
        (folder / "next.html").write_text("<title>next</title>")

        def connected() -> bool:
            path = gateway.http("/api/v1/users/42", private=True)
            answer = httpx.get(path, headers=KEY, trust_env=False).json()
            return bool(answer["sessions"])

        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=FLAGS,
                ignore_default_args=["--disable-back-forward-cache"],
            )
            page = await chromium.new_page()
            await page.goto(url)
            await page.wait_for_function("gateway.status.state === 'online'")
            assert connected()
            await page.goto(f"{url}next.html")
            wait_for(lambda: not connected(), "the session to end", 20)  # no ping finds it so soon
            await page.go_back(wait_until="commit")  # no page is loaded anew
            await page.wait_for_function("gateway.status.state === 'online'")
            states = await page.evaluate("states")
            assert ("offline" in states) is back, states  # the page of before, or a new one
            assert connected()
            await chromium.close()
